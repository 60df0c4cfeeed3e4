//! What MQTT 5 lets a subscription ask for.

use tests::client::{Ability, Client, Message, Properties, Stage, Subscription};

fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: filter.to_owned(),
        qos: 1,
        ..Subscription::default()
    }
}

/// Waits until all that was published before has come.
#[track_caller]
fn expect_no_more(client: &mut Client<'_>, publisher: &mut Client<'_>) {
    client.subscribe("end", 1);
    let end = Message::new("end", "");
    publisher.publish(&end);
    client.expect(&end);
    client.unsubscribe("end");
}

pub(super) fn subscription_identifiers_come_with_messages(stage: &Stage) {
    const LARGEST: u32 = 268_435_455;
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    let with = |message: &Message, identifiers: &[u32]| {
        message.clone().with(Properties {
            subscription_identifiers: identifiers.to_owned(),
            ..Properties::default()
        })
    };
    let kept = Message::new("id/kept", "x").retain(true);
    publisher.publish(&kept);
    subscriber.subscribe_with(subscription("id/+"), Some(7));
    subscriber.expect(&with(&kept, &[7]));
    subscriber.subscribe_with(subscription("other/+"), Some(LARGEST));
    subscriber.subscribe("none/+", 1);
    let [one, other, none] = ["id/a", "other/a", "none/a"].map(|it| Message::new(it, "x"));
    publisher.publish_all(&[one.clone(), other.clone(), none.clone()]);
    subscriber.expect_all(&[with(&one, &[7]), with(&other, &[LARGEST]), none]);
    if stage.has(Ability::SubscriptionIdentifiers) {
        subscriber.subscribe_with(subscription("id/both"), Some(1));
        let both = Message::new("id/both", "x");
        publisher.publish(&both);
        let mut found = subscriber.receive();
        found.properties.subscription_identifiers.sort_unstable();
        assert_eq!(found, with(&both, &[1, 7]));
        // A subscription that is made again has the identifier that it is made with.
        subscriber.subscribe_with(subscription("id/both"), None);
        publisher.publish(&both);
        subscriber.expect(&with(&both, &[7]));
    }
    publisher.leave();
    subscriber.leave();
}

pub(super) fn no_local_keeps_own_messages_away(stage: &Stage) {
    let (mut one, mut other) = (stage.connect("one"), stage.connect("other"));
    for client in [&mut one, &mut other] {
        let no_local = Subscription {
            no_local: true,
            ..subscription("local/+")
        };
        client.subscribe_with(no_local, None);
    }
    let [of_one, of_other] = ["one", "other"].map(|it| Message::new("local/a", it));
    one.publish(&of_one);
    other.publish(&of_other);
    one.expect(&of_other);
    other.expect(&of_one);
    expect_no_more(&mut one, &mut other);
    expect_no_more(&mut other, &mut one);
    one.leave();
    other.leave();
}

pub(super) fn retain_as_published_keeps_the_flag(stage: &Stage) {
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    let as_published = Subscription {
        retain_as_published: true,
        ..subscription("rap/kept")
    };
    subscriber.subscribe_with(as_published, None);
    subscriber.subscribe("rap/cleared", 1);
    for topic in ["rap/kept", "rap/cleared"] {
        for (payload, retain) in [("a", true), ("b", false), ("", true)] {
            let message = Message::new(topic, payload).retain(retain);
            publisher.publish(&message);
            subscriber.expect(&message.retain(retain && topic == "rap/kept"));
        }
    }
    publisher.leave();
    subscriber.leave();
}

pub(super) fn retain_handling_decides_on_retained_messages(stage: &Stage) {
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    let kept = Message::new("rh/a", "x").retain(true);
    publisher.publish(&kept);
    // 0: always; 1: to a new subscription; 2: never.
    for (retain_handling, is_new, is_sent) in [
        (0, true, true),
        (0, false, true),
        (1, true, true),
        (1, false, false),
        (2, true, false),
        (2, false, false),
    ] {
        if is_new {
            subscriber.unsubscribe("rh/+");
        }
        let handled = Subscription {
            retain_handling,
            ..subscription("rh/+")
        };
        subscriber.subscribe_with(handled, None);
        if is_sent {
            subscriber.expect(&kept);
        }
        expect_no_more(&mut subscriber, &mut publisher);
    }
    publisher.leave();
    subscriber.leave();
}
