//! Topic Names and Topic Filters (§4.7).

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::subscription::{string, subscribe};
use tests::wire::{Version, packet};

/// A filter, a name, and whether the name belongs to the filter.
const MATCHES: [(&str, &str, bool); 58] = [
    // Without wildcards, character by character.
    ("a", "a", true),
    ("a", "A", false),
    ("a", "b", false),
    ("a", "a/b", false),
    ("a/b", "a", false),
    ("a", "/a", false),
    ("a", "a/", false),
    ("/a", "/a", true),
    ("a/", "a/", true),
    ("/", "/", true),
    ("/", "//", false),
    ("a//b", "a//b", true),
    ("a//b", "a/b", false),
    ("a b/ c", "a b/ c", true),
    ("a b", "ab", false),
    (" a", "a", false),
    ("a ", "a", false),
    (" ", " ", true),
    // `é` as one and as two code points; ligature; U+FEFF; a control character.
    ("\u{e9}", "\u{e9}", true),
    ("\u{e9}", "e\u{301}", false),
    ("\u{fb01}", "fi", false),
    ("\u{feff}a", "\u{feff}a", true),
    ("\u{feff}a", "a", false),
    ("a", "\u{feff}a", false),
    ("\u{1}", "\u{1}", true),
    ("\u{10ffff}\u{1f980}", "\u{10ffff}\u{1f980}", true),
    ("\u{df}", "SS", false),
    // `#`
    ("#", "a", true),
    ("#", "a/b/c", true),
    ("#", "/", true),
    ("#", "/a", true),
    ("a/#", "a", true),
    ("a/#", "a/", true),
    ("a/#", "a/b/c", true),
    ("a/#", "ab", false),
    ("a/#", "b/a", false),
    ("/#", "/a", true),
    ("/#", "a", false),
    ("a/b/#", "a", false),
    // `+`
    ("+", "a", true),
    ("+", "a/b", false),
    ("+", "/a", false),
    ("/+", "/a", true),
    ("+/+", "/a", true),
    ("+/+", "a", false),
    ("a/+", "a", false),
    ("a/+", "a/", true),
    ("a/+/c", "a//c", true),
    ("a/+/c", "a/b/b/c", false),
    ("+/b/#", "a/b", true),
    ("+/b/#", "/b/c/d", true),
    // `$`
    ("#", "$x/a", false),
    ("+/a", "$x/a", false),
    ("+", "$x", false),
    ("$x/#", "$x/a", true),
    ("$x/+", "$x/a", true),
    ("+/$x", "a/$x", true),
    ("a/#", "a/$x", true),
];

// Conforms: 5.0 [MQTT-1.5.4-3] [MQTT-3.3.2-3] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
// Conforms: 3.1.1 [MQTT-1.5.3-3] [MQTT-3.3.2-3] [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
// Conforms: 3.1 [MQTT31-13]
#[test]
fn names_are_matched_as_the_standard_says() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for (filter, name, is_match) in MATCHES {
            for filter in [filter, &format!("$share/g/{filter}")] {
                client.subscribe(filter, 1);
                publisher.publish(name, filter, 1);
                let messages = client.drain();
                let names: Vec<_> = messages.iter().map(|it| it.topic.as_str()).collect();
                let expected = if is_match { vec![name] } else { Vec::new() };
                assert_eq!(names, expected, "{filter:?}");
                client.unsubscribe(&[filter]);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
// Conforms: 3.1.1 [MQTT-3.3.1-6] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
#[test]
fn retained_names_are_matched_in_the_same_way() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for (filter, name, is_match) in MATCHES {
            client.retain(name, "x", 1);
            client.subscribe(filter, 1);
            let found = client.drain().iter().any(|it| it.topic == name);
            assert_eq!(found, is_match, "{filter:?} on {name:?}");
            client.unsubscribe(&[filter]);
            client.retain(name, "", 1);
        }
    }
}

// Conforms: 5.0 [MQTT-4.7.2-1]; 3.1.1 [MQTT-4.7.2-1]
#[test]
fn the_brokers_own_topics_are_only_for_those_who_name_them() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for filter in ["#", "+/#", "+/broker/#", "+/+/version"] {
            client.subscribe(filter, 0);
        }
        client.expect_silence();
        client.subscribe("$SYS/+/version", 0);
        assert_eq!(client.message().topic, "$SYS/broker/version");
    }
}

// Conforms: 5.0 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.8.0-1]
#[test]
fn malformed_filters_close_the_connection() {
    let daemon = Daemon::start("");
    let filters = [
        "",
        "a#",
        "a/b#",
        "#/a",
        "a/#/b",
        "##",
        "#a",
        "a/#/",
        "+a",
        "a+",
        "a/+b",
        "a/b+/c",
        "++",
        "+#",
        "#+",
        "a/+#",
        "$share/x",
        "$share/",
        "$share//t",
        "$share//",
        "$share/+/t",
        "$share/a+/t",
        "$share/#/t",
        "$share/a#/t",
        "$share/x/",
        "$share/x/a#",
        "$share/x/#/a",
        "$share/x/+a",
        "$exclusive/",
        "$exclusive/a#",
    ];
    for version in Version::ALL {
        for filter in filters {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.send(&subscribe(version, 1, &[], &[(filter, 0)]));
            client.expect_closed(0x8f);
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1]; 3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT-4.7.3-1]
#[test]
fn names_with_wildcards_and_without_characters_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for name in ["#", "+", "a/#", "a/+/b", "a+", "a#b", ""] {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.send_publish(name, "x", 0b010);
            // In MQTT 5 a Topic Alias could stand for an empty name, but here is none.
            client.expect_closed(if name.is_empty() { 0x82 } else { 0x90 });
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
// Conforms: 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
#[test]
fn what_is_no_utf_8_closes_the_connection() {
    let daemon = Daemon::start("");
    let table: [&[u8]; 12] = [
        b"\0",
        b"a\0b",
        b"\xff",
        b"a\x80",
        b"\xc3",
        // Overlong forms of `/` and of U+0000.
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xc0\x80",
        // U+D800, U+DFFF, both as a pair, and what is beyond U+10FFFF.
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
    ];
    for version in Version::ALL {
        for bytes in table {
            let no_properties = version.no_properties();
            let head = [b"\0\x01", no_properties].concat();
            let packets = [
                subscribe(version, 1, &[], &[(bytes, 0)]),
                packet(0xa2, &[&head, string(bytes).as_slice()].concat()),
                packet(0x30, &[&string(bytes), no_properties].concat()),
            ];
            for bytes in packets {
                let mut client = StrictClient::start(daemon.port(), version, "c");
                client.send(&bytes);
                client.expect_closed(0x81);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-4.7.3-3]; 3.1.1 [MQTT-4.7.3-3]
#[test]
fn topics_have_as_many_bytes_as_the_configuration_allows() {
    for (config, max) in [("", 1_024), ("mqtt { max_topic_len = 65535 }", 65_535)] {
        let daemon = Daemon::start(config);
        let topic = "t".repeat(max);
        for version in Version::ALL {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.subscribe(&topic, 1);
            client.publish(&topic, "x", 1);
            assert_eq!(client.message().topic, topic);
            if max < 65_535 {
                for length in [max + 1, 65_535] {
                    let codes = client.subscribe_all(&[("l".repeat(length), 1)]);
                    assert_eq!(codes, [refused(version)]);
                }
                client.send_publish(&"t".repeat(max + 1), "x", 0b010);
                client.expect_closed(0x90);
            }
        }
    }
}

#[test]
fn topics_have_as_many_levels_as_the_configuration_allows() {
    for (config, max) in [("", 64), ("mqtt { max_topic_levels = 128 }", 128)] {
        let daemon = Daemon::start(config);
        let levels = |count: usize| vec!["l"; count].join("/");
        let name = levels(max);
        let any = vec!["+"; max].join("/");
        for version in Version::ALL {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            // The group's name is no level of what is matched.
            for filter in [&name, &any, &format!("$share/g/{name}")] {
                client.subscribe(filter, 1);
                client.publish(&name, "x", 1);
                assert_eq!(client.drain().len(), 1, "{filter}");
                client.unsubscribe(&[filter]);
            }
            let filters = [
                levels(max + 1),
                format!("$share/g/{}", levels(max + 1)),
                levels(129),
                "/".repeat(max),
                "/".repeat(65_535),
                "+/".repeat(32_767),
            ];
            for filter in filters {
                let codes = client.subscribe_all(&[(&filter, 1)]);
                assert_eq!(codes, [refused(version)], "{} bytes", filter.len());
                client.unsubscribe(&[filter]);
            }
            client.expect_silence();
            client.send_publish(&levels(max + 1), "x", 0b010);
            client.expect_closed(0x90);
        }
    }
}

/// The code for a filter that is well formed and not accepted.
fn refused(version: Version) -> u8 {
    match version {
        Version::V5 => 0x8f,
        Version::V311 => 0x80,
        Version::V31 => 0,
    }
}
