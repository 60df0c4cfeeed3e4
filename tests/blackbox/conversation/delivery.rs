//! What is published arrives where it is subscribed to: all of it, in order, unchanged.

use tests::client::{Ability, Message, Stage};
use tests::wire::Version;

const COUNT: usize = 100;
const LARGE: usize = 200 << 10;

pub(super) fn every_qos_reaches_publisher_and_subscriber(stage: &Stage) {
    let (mut one, mut other) = (stage.connect("one"), stage.connect("other"));
    for granted in 0..=2 {
        let exact = format!("qos/{granted}/exact");
        let wild = format!("qos/{granted}/wild");
        for client in [&mut one, &mut other] {
            client.subscribe_all(&[&exact, &format!("{wild}/#")], granted);
        }
        for qos in 0..=2 {
            let topics = [exact.clone(), wild.clone(), format!("{wild}/a/b")];
            let topics = topics.iter().cycle().take(COUNT).enumerate();
            let sent = topics.map(|(number, topic)| Message::new(topic, number.to_string()));
            let sent: Vec<_> = sent.map(|it| it.qos(qos)).collect();
            one.publish_all(&sent);
            let expected = sent.into_iter().map(|it| it.qos(qos.min(granted)));
            let expected: Vec<_> = expected.collect();
            one.expect_all(&expected);
            other.expect_all(&expected);
        }
    }
    one.leave();
    other.leave();
}

pub(super) fn every_payload_passes(stage: &Stage) {
    let (mut one, mut other) = (stage.connect("one"), stage.connect("other"));
    one.subscribe("payload/+", 2);
    other.subscribe("payload/#", 2);
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(LARGE).collect();
    for qos in 0..=2 {
        for payload in [every_byte.as_slice(), b"", large.as_slice()] {
            let message = Message::new("payload/a", payload).qos(qos);
            one.publish(&message);
            one.expect(&message);
            other.expect(&message);
        }
    }
    one.leave();
    other.leave();
}

pub(super) fn wildcards_match_as_specified(stage: &Stage) {
    const TOPICS: [&str; 9] = [
        "a", "a/b", "a/b/c", "b/b", "/a", "a/", "$own/a", "A/b", "a/ü/漢",
    ];
    const MATCHES: [(&str, &[&str]); 12] = [
        (
            "#",
            &["a", "a/b", "a/b/c", "b/b", "/a", "a/", "A/b", "a/ü/漢"],
        ),
        ("a/#", &["a", "a/b", "a/b/c", "a/", "a/ü/漢"]),
        ("+", &["a"]),
        ("+/b", &["a/b", "b/b", "A/b"]),
        ("a/+", &["a/b", "a/"]),
        ("+/+", &["a/b", "b/b", "/a", "a/", "A/b"]),
        ("/+", &["/a"]),
        ("a/+/c", &["a/b/c"]),
        ("a/ü/+", &["a/ü/漢"]),
        ("$own/#", &["$own/a"]),
        ("$own/+", &["$own/a"]),
        ("+/a/#", &["/a"]),
    ];
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    let published: Vec<_> = TOPICS
        .iter()
        .map(|topic| Message::new(*topic, "x"))
        .collect();
    for (filter, expected) in MATCHES {
        subscriber.subscribe(filter, 1);
        publisher.publish_all(&published);
        subscriber.unsubscribe(filter);
        // All that came is there by now, and in order.
        let expected = published
            .iter()
            .filter(|it| expected.contains(&it.topic.as_str()));
        subscriber.expect_all(expected);
    }
    publisher.leave();
    subscriber.leave();
}

pub(super) fn unsubscribe_ends_a_subscription(stage: &Stage) {
    let (mut publisher, mut subscriber) = (stage.connect("publisher"), stage.connect("subscriber"));
    subscriber.subscribe_all(&["u/a", "u/+/c", "u/d"], 1);
    let messages = ["u/a", "u/b/c", "u/d"].map(|topic| Message::new(topic, "x"));
    publisher.publish_all(&messages);
    subscriber.expect_all(&messages);
    let has_codes = stage.version() == Version::V5 && stage.has(Ability::UnsubackReason);
    let codes = |code| if has_codes { vec![code] } else { Vec::new() };
    assert_eq!(subscriber.unsubscribe("u/a"), codes(0));
    assert_eq!(subscriber.unsubscribe("u/+/c"), codes(0));
    // No subscription existed.
    assert_eq!(subscriber.unsubscribe("u/never"), codes(0x11));
    publisher.publish_all(&messages);
    subscriber.expect(&messages[2]);
    publisher.leave();
    subscriber.leave();
}
