//! What MQTT 5 lets a message carry.

use tests::client::{Ability, Message, Payload, Properties, Stage};
use tests::wait::until;

fn all(stage: &Stage) -> Properties {
    let mut users = [("b", "1"), ("a", "2"), ("b", "3"), ("", "ü")];
    if !stage.has(Ability::UserPropertyOrder) {
        users.sort_by_key(|(name, _)| *name);
    }
    Properties {
        payload_format_indicator: Some(1),
        response_topic: Some("answers/1".to_owned()),
        correlation_data: Some(Payload((0..=255).collect())),
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        user_properties: users
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Properties::default()
    }
}

pub(super) fn properties_pass_unchanged(stage: &Stage) {
    let (mut one, mut other) = (stage.connect("one"), stage.connect("other"));
    one.subscribe("p/#", 2);
    other.subscribe("p/+", 2);
    for qos in 0..=2 {
        let plain = Message::new("p/plain", "x").qos(qos);
        let full = Message::new("p/full", "ü").qos(qos).with(all(stage));
        let bytes = Message::new("p/bytes", [0xff]).qos(qos).with(Properties {
            payload_format_indicator: Some(0),
            ..Properties::default()
        });
        for message in [plain, full, bytes] {
            one.publish(&message);
            one.expect(&message);
            other.expect(&message);
        }
    }
    // They are kept with retained messages too.
    let kept = Message::new("kept/a", "x").retain(true).with(all(stage));
    one.publish(&kept);
    other.subscribe("kept/a", 1);
    other.expect(&kept);
    one.leave();
    other.leave();
}

pub(super) fn a_will_has_properties(stage: &Stage) {
    let mut heir = stage.connect("heir");
    heir.subscribe("will/#", 1);
    let will = Message::new("will/full", "x").with(all(stage));
    drop(stage.connect_with_will("lost", will.clone()));
    heir.expect(&will);
    heir.leave();
}

pub(super) fn the_expiry_interval_is_counted_down(stage: &Stage) {
    const LONG: u32 = 600;
    let expiring = |topic, seconds| {
        Message::new(topic, "x").retain(true).with(Properties {
            message_expiry_interval: Some(seconds),
            ..Properties::default()
        })
    };
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    publisher.publish(&expiring("e/long", LONG));
    publisher.publish(&expiring("e/short", 1));
    // Every subscription brings what is retained and has not expired.
    let mut least = LONG;
    until(
        "one message expires, and the other has less time left",
        || {
            subscriber.subscribe("e/#", 1);
            publisher.publish(&Message::new("e/end", "x"));
            let mut topics = Vec::new();
            loop {
                let message = subscriber.receive();
                if message.topic == "e/end" {
                    break;
                }
                let left = message.properties.message_expiry_interval;
                if message.topic == "e/long" {
                    assert!(left.is_some_and(|it| (1..=least).contains(&it)), "{left:?}");
                    least = left.unwrap();
                }
                topics.push(message.topic);
            }
            assert!(topics.contains(&"e/long".to_owned()), "{topics:?}");
            least < LONG && topics.len() == 1
        },
    );
    publisher.leave();
    subscriber.leave();
}

pub(super) fn topic_aliases_stand_for_topics(stage: &Stage) {
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    subscriber.subscribe("alias/#", 2);
    let last = publisher.topic_alias_maximum;
    assert!(last > 1, "{last}");
    let aliased = |topic: &str, payload: &str, alias| {
        Message::new(topic, payload).with(Properties {
            topic_alias: Some(alias),
            ..Properties::default()
        })
    };
    for qos in 0..=2 {
        let said = [
            ("alias/first", "alias/first", 1),
            ("", "alias/first", 1),
            ("alias/last", "alias/last", last),
            ("", "alias/first", 1),
            ("", "alias/last", last),
            // An alias can get another topic.
            ("alias/other", "alias/other", 1),
            ("", "alias/other", 1),
        ];
        for (topic, meant, alias) in said {
            publisher.publish(&aliased(topic, meant, alias).qos(qos));
            subscriber.expect(&Message::new(meant, meant).qos(qos));
        }
    }
    publisher.leave();
    subscriber.leave();
}
