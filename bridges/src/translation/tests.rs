use std::sync::Arc;

use gateway::DeliveryId;
use mqtt::packet::Property;

use super::*;

fn site() -> Site {
    Site {
        bridge: "up".to_owned(),
        host_name: "box7".to_owned(),
        vin: Some("V1".to_owned()),
    }
}

fn try_translation(text: &str) -> Result<Translation, ConfigError> {
    let config: Config = toml::from_str(&format!("server = \"hub\"\n{text}")).unwrap();
    config.check()?;
    Translation::new(&site(), &config)
}

fn translation(text: &str) -> Translation {
    try_translation(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn delivery(topic: &str, payload: &str) -> Delivery {
    let topic = TopicName::new(topic).unwrap();
    Delivery {
        id: DeliveryId(1),
        message: Arc::new(Message::new(topic, payload.to_owned())),
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
    }
}

fn forwarded(translation: &Translation, delivery: &Delivery) -> Vec<Forwarded> {
    let mut forwarded = Vec::new();
    let result = translation.forward(delivery, Timestamp::default(), &mut forwarded);
    assert_eq!(result, Ok(()));
    forwarded
}

/// The topics that one rule, or several, make of a topic on its way to the hub.
fn forwarded_topics(rules: &str, topic: &str) -> Vec<String> {
    let translation = translation(&format!("forwards = [{rules}]"));
    let mut forwarded = Vec::new();
    let now = Timestamp::default();
    match translation.forward(&delivery(topic, "x"), now, &mut forwarded) {
        Ok(()) | Err(Untranslated::NoRule) => {}
        Err(error) => panic!("{rules} on {topic}: {error}"),
    }
    let topics = forwarded.into_iter().map(|it| it.topic.to_string());
    topics.collect()
}

fn received(topic: &str) -> Received {
    Received {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"x"),
        qos: QoS::AtLeastOnce,
        retain: true,
        expiry_seconds: None,
        properties: ForwardedProperties::default(),
    }
}

/// The topic that the first rule makes of a topic on its way from the hub.
fn received_topic(rules: &str, topic: &str) -> Option<String> {
    let translation = translation(&format!("subscription = [{rules}]"));
    let message = translation.receive(received(topic), Timestamp::default());
    message.ok().map(|it| it.topic.to_string())
}

/// What NanoMQ's documentation says of forwards: rule, local topic, topic at the hub.
const NANOMQ_FORWARDS: [(&str, &str, &[&str]); 12] = [
    // An empty topic keeps the one of the message.
    (
        r#"{ local_topic = "topic1/#", remote_topic = "" }"#,
        "topic1/2/3",
        &["topic1/2/3"],
    ),
    // One without wildcards replaces the whole topic, also of many.
    (
        r#"{ local_topic = "topic1", remote_topic = "fwd/topic1" }"#,
        "topic1",
        &["fwd/topic1"],
    ),
    (
        r##"{ local_topic = "#", remote_topic = "ID4" }"##,
        "test/test",
        &["ID4"],
    ),
    // Prefix and suffix stand around what the topic has become.
    (
        r#"{ local_topic = "topic1", remote_topic = "fwd/topic1", suffix = "/emqx" }"#,
        "topic1",
        &["fwd/topic1/emqx"],
    ),
    (
        r#"{ local_topic = "topic2", remote_topic = "fwd/topic2", prefix = "emqx/" }"#,
        "topic2",
        &["emqx/fwd/topic2"],
    ),
    (
        r#"{ local_topic = "topic2", remote_topic = "", prefix = "emqx/", suffix = "/nanomq" }"#,
        "topic2",
        &["emqx/topic2/nanomq"],
    ),
    // With wildcards it is a part of the filter: levels before it are dropped,
    (
        r##"{ local_topic = "+/nanomq/#", remote_topic = "#" }"##,
        "cmd/nanomq/hello/world",
        &["hello/world"],
    ),
    (
        r#"{ local_topic = "a/zb/#", remote_topic = "zb/#" }"#,
        "a/zb/lamp",
        &["zb/lamp"],
    ),
    // and if something follows it in the filter, as many levels as it has are kept.
    (
        r#"{ local_topic = "a/zb/+/b/#", remote_topic = "zb/+" }"#,
        "a/zb/c/b/d",
        &["zb/c"],
    ),
    (
        r##"{ local_topic = "+/nanomq/#", remote_topic = "#", prefix = "cmd/", suffix = "/remote" }"##,
        "system/nanomq/start",
        &["cmd/start/remote"],
    ),
    // The Vehicle Identification Number.
    (
        r#"{ local_topic = "car/${VIN}/#", remote_topic = "fleet/${VIN}" }"#,
        "car/V1/speed",
        &["fleet/V1"],
    ),
    // What the broker says of itself stays.
    (
        r##"{ local_topic = "#", remote_topic = "" }"##,
        "$SYS/brokers/connected",
        &[],
    ),
];

/// What NanoMQ's documentation says of subscriptions: rule, topic at the hub, local topic.
const NANOMQ_SUBSCRIPTIONS: [(&str, &str, &str); 8] = [
    (
        r#"{ remote_topic = "recv/#", local_topic = "" }"#,
        "recv/1",
        "recv/1",
    ),
    (
        r#"{ remote_topic = "cmd/topic2", local_topic = "topic4" }"#,
        "cmd/topic2",
        "topic4",
    ),
    (
        r#"{ remote_topic = "cmd/topic1", local_topic = "topic3", suffix = "/emqx" }"#,
        "cmd/topic1",
        "topic3/emqx",
    ),
    (
        r#"{ remote_topic = "cmd/#", local_topic = "", prefix = "p/" }"#,
        "cmd/1",
        "p/cmd/1",
    ),
    (
        r##"{ remote_topic = "+/nanomq/#", local_topic = "#" }"##,
        "cmd/nanomq/hello/world",
        "hello/world",
    ),
    (
        r##"{ remote_topic = "+/nanomq/#", local_topic = "#", prefix = "cmd/", suffix = "/remote" }"##,
        "system/nanomq/start",
        "cmd/start/remote",
    ),
    (
        r#"{ remote_topic = "785f/zb/#", local_topic = "zb/#" }"#,
        "785f/zb/lamp",
        "zb/lamp",
    ),
    (
        r#"{ remote_topic = "fleet/${VIN}/#", local_topic = "" }, { remote_topic = "fleet/#", local_topic = "second" }"#,
        "fleet/V1/stop",
        "fleet/V1/stop",
    ),
];

#[test]
fn topics_are_mapped_as_nanomq_says() {
    for (rules, topic, expected) in NANOMQ_FORWARDS {
        assert_eq!(
            forwarded_topics(rules, topic),
            expected,
            "{rules} on {topic}"
        );
    }
    for (rules, topic, expected) in NANOMQ_SUBSCRIPTIONS {
        let topic = received_topic(rules, topic);
        assert_eq!(topic.as_deref(), Some(expected), "{rules}");
    }
}

#[test]
fn topics_are_mapped_by_placeholders() {
    let table: [(&str, &str, &[&str]); 9] = [
        (r#"{ local_topic = "a/#" }"#, "a/b", &["a/b"]),
        (
            r#"{ local_topic = "a/+/#", remote_topic = "$2/$1/${gateway}" }"#,
            "a/b/c/d",
            &["c/d/b/up"],
        ),
        (
            r#"{ local_topic = "modules/+/+/status", remote_topic = "devices/7/$1/$2/status" }"#,
            "modules/l1/l2/status",
            &["devices/7/l1/l2/status"],
        ),
        (
            r#"{ local_topic = "a/#", remote_topic = "${topic[3..]}/${topic[2]}", prefix = "${HOSTNAME}/$1/" }"#,
            "a/b/c/d",
            &["box7/b/c/d/c/d/b"],
        ),
        (
            r#"{ local_topic = "a/#" }, { local_topic = "+/b", prefix = "2/" }"#,
            "a/b",
            &["a/b", "2/a/b"],
        ),
        (r#"{ local_topic = "a/#" }"#, "b", &[]),
        (
            r#"{ local_topic = "$share/g/a/#", remote_topic = "$1" }"#,
            "a/b",
            &["b"],
        ),
        (
            r##"{ local_topic = "#", allow = ["a/#", "b"], deny = ["a/+/x", "${VIN}"] }"##,
            "a/b",
            &["a/b"],
        ),
        (
            r#"{ local_topic = "a/#", suffix = "/${topic}" }"#,
            "a/b",
            &["a/b/a/b"],
        ),
    ];
    for (rules, topic, expected) in table {
        assert_eq!(
            forwarded_topics(rules, topic),
            expected,
            "{rules} on {topic}"
        );
    }
}

#[test]
fn what_is_denied_or_not_allowed_stays_here_and_is_not_lost() {
    let rules = r##"forwards = [
        { local_topic = "#", allow = ["a/#", "V1"], deny = ["a/+/x", "${VIN}"] },
        { local_topic = "a/b/x", deny = ["a/#"] }]"##;
    let translation = translation(rules);
    for topic in ["b", "a/b/x", "V1"] {
        assert_eq!(
            forwarded(&translation, &delivery(topic, "x")),
            [],
            "{topic}"
        );
    }
    assert_eq!(forwarded(&translation, &delivery("a/b", "x")).len(), 1);
    let error = translation.forward(&delivery("$a", "x"), Timestamp::default(), &mut Vec::new());
    assert_eq!(error, Err(Untranslated::NoRule));
}

#[test]
fn qos_and_retain_are_as_published_unless_the_rule_says_otherwise() {
    use QoS::{AtLeastOnce, AtMostOnce};
    let table = [
        ("", AtMostOnce, false, AtLeastOnce, false),
        ("", AtLeastOnce, true, AtLeastOnce, true),
        (
            ", qos = 0, retain = 0",
            AtLeastOnce,
            true,
            AtMostOnce,
            false,
        ),
        (
            ", qos = 1, retain = 1",
            AtMostOnce,
            false,
            AtLeastOnce,
            true,
        ),
        (", retain = 2", AtMostOnce, true, AtLeastOnce, true),
    ];
    for (keys, qos, retain, expected_qos, expected_retain) in table {
        let translation = translation(&format!("forwards = [{{ local_topic = \"a\"{keys} }}]"));
        let mut delivery = delivery("a", "x");
        delivery.qos = qos;
        Arc::make_mut(&mut delivery.message).retain = retain;
        let sent = forwarded(&translation, &delivery);
        assert_eq!(
            (sent[0].qos, sent[0].retain),
            (expected_qos, expected_retain),
            "{keys}"
        );
    }
}

#[test]
fn payload_properties_and_expiry_are_passed_unless_the_rule_sets_them() {
    let mut delivery = delivery("a", "21");
    let message = Arc::make_mut(&mut delivery.message);
    message.properties = ForwardedProperties::from_properties([Property::UserProperty("k", "v")]);
    message.expires_at = Some(Timestamp::from_millis(9_000));
    let passed = &forwarded(
        &translation("forwards = [{ local_topic = \"a\" }]"),
        &delivery,
    )[0];
    assert_eq!(
        (passed.expiry_seconds, &*passed.payload),
        (Some(9), &b"21"[..])
    );
    assert_eq!(passed.properties, delivery.message.properties);
    // The same memory.
    assert_eq!(
        passed.topic.as_str().as_ptr(),
        delivery.message.topic.as_str().as_ptr()
    );
    assert_eq!(passed.payload.as_ptr(), delivery.message.payload.as_ptr());
    let rule = r#"forwards = [{ local_topic = "a", payload = '{"v":${payload}}',
        properties = { content_type = "json", message_expiry_interval = 5 } }]"#;
    let set = &forwarded(&translation(rule), &delivery)[0];
    assert_eq!(
        (set.expiry_seconds, &*set.payload),
        (Some(5), &b"{\"v\":21}"[..])
    );
    let expected = [
        Property::UserProperty("k", "v"),
        Property::ContentType("json"),
    ];
    assert_eq!(
        set.properties,
        ForwardedProperties::from_properties(expected)
    );
}

#[test]
fn one_rule_that_fails_does_not_keep_the_others_from_applying() {
    let translation = translation(
        r#"forwards = [{ local_topic = "a/#", payload = "${payload}" }, { local_topic = "a/#" },
            { local_topic = "a/b", deny = ["a/#"] }]"#,
    );
    let mut delivery = delivery("a/b", "");
    Arc::make_mut(&mut delivery.message).payload = Bytes::from_static(b"\xFF");
    let mut forwarded = Vec::new();
    let result = translation.forward(&delivery, Timestamp::default(), &mut forwarded);
    assert_eq!((result, forwarded.len()), (Err(Untranslated::NotText), 1));
    assert_eq!(Untranslated::NotText.reason(), DropReason::Untranslatable);
}

#[test]
fn topics_are_mapped_from_the_hub_by_the_first_rule() {
    let rules = r##"subscription = [
        { remote_topic = "cmd/up/#", local_topic = "cmd/$1", retain = 0 },
        { remote_topic = "#", prefix = "hub/" }]"##;
    let translation = translation(rules);
    let now = Timestamp::from_millis(1_000);
    let with_expiry = Received {
        expiry_seconds: Some(5),
        ..received("cmd/up/valve/1")
    };
    let message = translation.receive(with_expiry, now).unwrap();
    assert_eq!(message.topic.as_str(), "cmd/valve/1");
    assert!(!message.retain);
    assert_eq!(message.expires_at, Some(Timestamp::from_millis(6_000)));
    let message = translation.receive(received("news"), now).unwrap();
    assert_eq!((message.topic.as_str(), message.retain), ("hub/news", true));
    // `#` stands for no level too.
    let message = translation.receive(received("cmd/up"), now).unwrap();
    assert_eq!(message.topic.as_str(), "cmd/");
    let error = translation.receive(received("$SYS/x"), now).unwrap_err();
    assert_eq!(
        (error, error.reason()),
        (Untranslated::NoRule, DropReason::Unmapped)
    );
    let error = translation.receive(received("a/#"), now).unwrap_err();
    assert_eq!(error.reason(), DropReason::Unmapped);
}

#[test]
fn what_is_renamed_is_another_message_for_the_loop_guard() {
    let text = "server = \"hub\"\nforwards = [{ local_topic = \"a\" },\
                { local_topic = \"a\", prefix = \"x/\" }, { local_topic = \"a\", payload = \"p\" }]\n\
                subscription = [{ remote_topic = \"b\" }, { remote_topic = \"c\", prefix = \"x/\" }]";
    let config: Config = toml::from_str(text).unwrap();
    let translation = Translation::new(&site(), &config).unwrap();
    let named = ForwardedProperties::from_properties([
        Property::UserProperty("x-origin", "one"),
        Property::UserProperty("x-origin-seq", "one:1:1"),
    ]);
    let mut delivery = delivery("a", "x");
    Arc::make_mut(&mut delivery.message).properties = named.clone();
    let names = |it: &ForwardedProperties| {
        assert_eq!(it.user_property("x-origin"), Some("one"));
        it.user_property("x-origin-seq").is_some()
    };
    let sent = forwarded(&translation, &delivery);
    let sent: Vec<bool> = sent.iter().map(|it| names(&it.properties)).collect();
    assert_eq!(sent, [true, false, false]);
    for (topic, expected) in [("b", true), ("c", false)] {
        let received = Received {
            properties: named.clone(),
            ..received(topic)
        };
        let message = translation.receive(received, Timestamp::default());
        assert_eq!(names(&message.unwrap().properties), expected, "{topic}");
    }
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let forward = "forwards = [{ local_topic";
    let subscribe = "subscription = [{ remote_topic";
    let table = [
        (forward, r#""a", remote_topic = "$1""#, "remote_topic"),
        (forward, r#""a/#", remote_topic = "b/#""#, "remote_topic"),
        (
            forward,
            r#""a/#", remote_topic = "${nothing}""#,
            "remote_topic",
        ),
        (
            forward,
            r#""a/+", remote_topic = "${topic[3]}""#,
            "remote_topic",
        ),
        (forward, r#""a/#", prefix = "+/""#, "prefix"),
        (forward, r#""a/#", prefix = "${topics}/""#, "prefix"),
        (forward, r#""a/#", suffix = "/#""#, "suffix"),
        (forward, r#""$SYS/#""#, "local_topic"),
        (forward, r#""a/$1""#, "local_topic"),
        (forward, r#""a/#", deny = ["b", "$share/g/a"]"#, "deny[1]"),
        (forward, r#""a/#", allow = ["${topic}"]"#, "allow[0]"),
        (forward, r#""a/#", payload = "${payloads}""#, "payload"),
        (
            forward,
            r#""a/#", properties.user_property.a = "$1""#,
            "properties.user_property.a",
        ),
        (subscribe, r#""a/#", local_topic = "+""#, "local_topic"),
        (
            subscribe,
            r#""a/#", local_topic = "$SYS/$1""#,
            "local_topic",
        ),
        (subscribe, r#""$SYS/#""#, "local_topic"),
        (subscribe, r##""a", suffix = "#""##, "suffix"),
    ];
    for (list, rule, key) in table {
        let error = try_translation(&format!("{list} = {rule} }}]")).unwrap_err();
        assert!(
            error.key.ends_with(&format!("[0].{key}")),
            "{rule}: {error}"
        );
    }
}

#[test]
fn what_a_transparent_bridge_brings_keeps_its_topic_unless_a_rule_is_for_it() {
    let rule = r#"subscription = [{ remote_topic = "cmd/#", local_topic = "$1", retain = 0 }]"#;
    let translation = translation(&format!("transparent = true\n{rule}"));
    let now = Timestamp::default();
    let receive = |topic: &str| translation.receive(received(topic), now);
    let plain = receive("any/thing").unwrap();
    assert_eq!((plain.topic.as_str(), plain.retain), ("any/thing", true));
    let ruled = receive("cmd/a").unwrap();
    assert_eq!((ruled.topic.as_str(), ruled.retain), ("a", false));
    // A hub does not say what is below `$` here.
    assert_eq!(receive("$SYS/a"), Err(Untranslated::NoRule));
}
