//! Mistakes, and what users are told of them: where they are, what is wrong, what would be right.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::super::sources::Sources;
use super::{Variables, check_error, check_toml_error, owned, parse};

#[test]
fn unknown_keys_get_suggestions() {
    check_error(
        "\nmqtt {\n    max_pakcet_size = 1KB\n}",
        "3:5: unknown key `max_pakcet_size` in `mqtt`; did you mean `max_packet_size`?",
    );
    check_error(
        "log.zzz = 1",
        "1:5: unknown key `zzz` in `log`; known keys: level, color",
    );
    check_error(
        "log { Level = info }",
        "1:7: unknown key `Level` in `log`; did you mean `level`?",
    );
    check_error(
        "\n  lissteners {}",
        "2:3: unknown key `lissteners` at the top level; did you mean `listeners`?",
    );
    check_error(
        "listeners.tcp { bnd = 1 }",
        "1:17: unknown key `bnd` in `listeners.tcp.default`; did you mean `bind`?",
    );
    check_error(
        "log { a.b.c = 1 }",
        "1:7: unknown key `a` in `log`; known keys: level, color",
    );
    check_error(
        "\"a.b\" = 1\n\"lo g\" = 2",
        "1:1: unknown key `a.b` at the top level; known keys: node_id, listeners, mqtt, retain, delayed, rewrite, auto_subscribe, preset, sys_topics, store, log, runtime, gateways, bridges",
    );
    check_toml_error(
        "[mqtt]\nrecieve_maximum = 5",
        "2:1: unknown key `recieve_maximum` in `mqtt`; did you mean `receive_maximum`?",
    );
}

#[test]
fn wrong_values() {
    check_error(
        "mqtt { receive_maximum = 70000 }",
        "1:26: `mqtt.receive_maximum`: expected a whole number from 0 to 65535, found 70000",
    );
    check_error(
        "mqtt.receive_maximum = 1.5",
        "1:24: `mqtt.receive_maximum`: expected a whole number from 0 to 65535, found 1.5",
    );
    check_error(
        "mqtt.receive_maximum = a lot",
        "1:24: `mqtt.receive_maximum`: expected a whole number from 0 to 65535, found the text \"a lot\"",
    );
    check_error(
        "store.enable = 2",
        "1:16: `store.enable`: expected true or false, found 2",
    );
    check_error(
        "store = on",
        "1:9: `store`: expected an object with keys, found the text \"on\"",
    );
    check_error(
        "log.level = [info]",
        "1:13: `log.level`: expected one of trace, debug, info, warn, error, found a list",
    );
    check_error(
        "log.level = inof",
        "1:13: `log.level`: unknown value `inof`; did you mean `info`?",
    );
    check_error(
        "log.level = 7",
        "1:13: `log.level`: expected one of trace, debug, info, warn, error, found 7",
    );
    check_error(
        "mqtt.connect_timeout = 10 parsecs",
        "1:24: `mqtt.connect_timeout`: expected a duration such as 500ms, 30s, 5m, 2h or 7d, \
         or a number of seconds, found the text \"10 parsecs\"",
    );
    check_error(
        "mqtt.max_packet_size = 1.5MB",
        "1:24: `mqtt.max_packet_size`: expected a size such as 512KB, 1MiB or 2G, \
         or a number of bytes, found the text \"1.5MB\"",
    );
    check_error(
        "x = 1\nmqtt.receive_maximum = null",
        "1:1: unknown key `x` at the top level; known keys: node_id, listeners, mqtt, retain, delayed, rewrite, auto_subscribe, preset, sys_topics, store, log, runtime, gateways, bridges",
    );
    check_toml_error(
        "[log]\nlevel = true",
        "2:9: `log.level`: expected one of trace, debug, info, warn, error, found true",
    );
    check_toml_error(
        "mqtt = [1]",
        "1:8: `mqtt`: expected an object with keys, found a list",
    );
}

#[test]
fn announcements_that_would_come_too_often() {
    check_error(
        "sys_topics.interval = 99ms",
        "1:23: `sys_topics.interval`: expected at least 100ms, or 0s for none",
    );
}

#[test]
fn values_out_of_range() {
    check_error(
        "mqtt { max_topic_levels = 129 }",
        "1:27: `mqtt.max_topic_levels`: expected a value from 1 to 128, found 129",
    );
    check_error(
        "mqtt.keepalive_multiplier = 0.5",
        "1:29: `mqtt.keepalive_multiplier`: expected a value from 1 to 10, found 0.5",
    );
    check_error(
        "mqtt.receive_maximum = 0",
        "1:24: `mqtt.receive_maximum`: expected more than 0",
    );
    check_error(
        "mqtt.max_packet_size = 1G",
        "1:24: `mqtt.max_packet_size`: expected a value from 1024 to 268435456, found 1073741824",
    );
    check_error(
        "store.max_total_size = 1000KB",
        "1:24: `store.max_total_size`: expected 0 for no limit or at least 1048576 bytes, found 1024000",
    );
    check_error(
        "store.min_free_space = -1",
        "1:24: `store.min_free_space`: expected a size such as 512KB, 1MiB or 2G, or a number of bytes, found -1",
    );
    check_error(
        "store.when_full = drop_newest",
        "1:19: `store.when_full`: unknown value `drop_newest`; did you mean `drop_oldest`?",
    );
    check_error(
        "store.commit_interval = 1m",
        "1:25: `store.commit_interval`: expected at most 10000ms, found 60000ms",
    );
    check_error(
        "store.max_messages = 0",
        "1:22: `store.max_messages`: expected more than 0",
    );
    check_error(
        "store.max_bytes = 1000",
        "1:19: `store.max_bytes`: expected a value from 1024 to 1152921504606846976, found 1000",
    );
    check_error(
        "store.lanes = [{ filter = \"a/#\", lane = 2 }, { filter = b, lane = 4 }]",
        "1:67: `store.lanes[1].lane`: expected a value from 0 to 3, found 4",
    );
    check_error(
        "store.lanes = [{ filter = \"$share/g/a\", lane = 2 }]",
        "1:27: `store.lanes[0].filter`: expected a filter of topics, found one of a Shared or exclusive subscription",
    );
    check_error(
        "store.latest_only = [\"a/#\", \"$exclusive/a\"]",
        "1:29: `store.latest_only[1]`: expected a filter of topics, found one of a Shared or exclusive subscription",
    );
    check_error(
        "store.latest_only = [\"a/#/b\"]",
        "1:22: `store.latest_only[0]`: `#` must stand alone in the last level of a topic filter",
    );
    check_error(
        "runtime.workers = 0",
        "1:19: `runtime.workers`: expected a value from 1 to 1024, found 0",
    );
    check_error(
        "runtime.memory_limit = 512K",
        "1:24: `runtime.memory_limit`: expected a value from 1048576 to 1099511627776, found 524288",
    );
    check_error(
        "listeners.tcp { a { bind = 1883 }\n b { bind = \"0.0.0.0:1883\" } }",
        "2:13: `listeners.tcp.b.bind`: `listeners.tcp.a.bind` listens on 0.0.0.0:1883 already",
    );
    let most = parse("t.conf", "mqtt.max_packet_size = 256MB", &[]).unwrap();
    assert_eq!(most.mqtt.max_packet_size.bytes(), 268_435_456);
}

#[test]
fn mistakes_of_syntax() {
    check_error(
        "mqtt {\n  a b\n}",
        "2:4: expected `=`, `:` or `{` after `a`",
    );
    for (text, place) in [
        ("a = 1\na = 2", "2:1: "),
        ("[mqtt]\nx = ", "2:5: "),
        ("é = 1", "1:1: "),
    ] {
        let error = parse("t.toml", text, &[]).unwrap_err();
        assert!(error.starts_with(&format!("t.toml:{place}")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let check = |name: &str, value: &str, expected: &str| {
        let result = parse("t.conf", "mqtt.receive_maximum = 5", &[(name, value)]);
        assert_eq!(
            result,
            Err(format!("environment variable {name}: {expected}"))
        );
    };
    check(
        "TIDEGATE_MQTT__RECEIVE_MAXIMUM",
        "many",
        "`mqtt.receive_maximum`: expected a whole number from 0 to 65535, found the text \"many\"",
    );
    check(
        "TIDEGATE_MQTT__RECEIVE_MAXIMUM",
        "0",
        "`mqtt.receive_maximum`: expected more than 0",
    );
    check(
        "TIDEGATE_MQTT__MAX_PAKCET_SIZE",
        "1",
        "unknown key `max_pakcet_size` in `mqtt`; did you mean `max_packet_size`?",
    );
    check(
        "TIDEGATE_STORE__PATH",
        "",
        "`store.path`: expected a folder, found an empty text; leave it out for the default",
    );
    check(
        "TIDEGATE_STORE__PATH",
        "~/data",
        "`store.path`: `~` means nothing here; write ${HOME} for the home directory",
    );
    check(
        "TIDEGATE_MQTT__",
        "1",
        "there is no key between two separators `__`",
    );
    check(
        "TIDEGATE_MQTT__RECEIVE_MAXIMUM__X",
        "1",
        "`mqtt.receive_maximum`: expected a whole number from 0 to 65535, found an object",
    );
    // The file's own mistake is still the file's.
    let result = parse(
        "t.conf",
        "log { zzz = 1 }",
        &[("TIDEGATE_LOG__LEVEL", "info")],
    );
    assert_eq!(
        result,
        Err("t.conf:1:7: unknown key `zzz` in `log`; known keys: level, color".to_owned())
    );
}

/// What gateways and bridges bring: rules in lists, in sections that users name.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Outer {
    bridges: BTreeMap<String, Bridge>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Bridge {
    server: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Rule {
    topic: Template,
    #[serde(default)]
    qos: u8,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
struct Template(String);

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains("{}") {
            return Err("a placeholder has no\nname".to_owned());
        }
        Ok(Self(text))
    }
}

#[test]
fn mistakes_in_lists_have_places() {
    let read = |text: &str, variables: Variables<'_>| {
        let mut sources = Sources::new(owned(variables));
        sources.add_text(Path::new("t.conf"), text)?;
        sources.add_environment()?;
        sources.deserialize::<Outer>()
    };
    let check = |text: &str, expected: &str| {
        let error = read(text, &[]).unwrap_err().to_string();
        assert_eq!(error, format!("t.conf:{expected}"), "{text}");
    };
    check(
        "bridges.up {\n server = h\n rules = [\n  { topic = a }\n  { topic = \"x/{}\" }\n ]\n}",
        "5:13: `bridges.up.rules[1].topic`: a placeholder has no\\nname",
    );
    check(
        "bridges.up { server = h, rules = [{ topic = a,\n tpic = b }] }",
        "2:2: unknown key `tpic` in `bridges.up.rules[0]`; did you mean `topic`?",
    );
    check(
        "bridges.up { server = h\n rules = [ { qos = 1 } ] }",
        "2:12: missing key `topic` in `bridges.up.rules[0]`",
    );
    check(
        "bridges {\n up { } }",
        "2:2: missing key `server` in `bridges.up`",
    );
    check(
        "bridges.up { server = h, rules = {} }",
        "1:34: `bridges.up.rules`: expected a list, found an object",
    );
    check(
        "bridges.up { server = h, rules = [a] }",
        "1:35: `bridges.up.rules[0]`: expected an object with keys, found the text \"a\"",
    );
    check(
        "bridges.up { server = [1] }",
        "1:23: `bridges.up.server`: expected a text, found a list",
    );
    check(
        "bridges.up = x",
        "1:14: `bridges.up`: expected an object with keys, found the text \"x\"",
    );
    assert_eq!(
        read("", &[]).unwrap_err().to_string(),
        "missing key `bridges` at the top level"
    );
    let good = read(
        "bridges.up { server = h, rules = [{topic = a, qos = \"1\"}] }",
        &[],
    )
    .unwrap();
    let qos = good.bridges["up"].rules[0].qos;
    assert_eq!(qos, 1);
    let error = read(
        "bridges.up { server = h }",
        &[("TIDEGATE_BRIDGES__UP__RULES", "x")],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable TIDEGATE_BRIDGES__UP__RULES: `bridges.up.rules`: expected a list, found the text \"x\""
    );
}

proptest! {
    #[test]
    fn any_toml_is_read_or_refused(text in "(\\[|\\]|\"|'|=|\\.|a|b|\n|\\{|\\}|,|1|é|#| ){0,80}") {
        if let Err(error) = parse("t.toml", &text, &[]) {
            prop_assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn any_variable_is_read_or_refused(name in "TIDEGATE_[A-Za-z_.\\[\\]é]{0,20}", value in "\\PC{0,10}") {
        let variables = [(name.as_str(), value.as_str())];
        if let Err(error) = parse("t.conf", "mqtt.max_mqueue_len = 1", &variables) {
            prop_assert_eq!(error.lines().count(), 1);
        }
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Numbers {
    count: Option<std::num::NonZeroU16>,
    small: u8,
}

#[test]
fn the_range_of_a_number_is_that_of_its_type() {
    let read = |text: &str| {
        let mut sources = Sources::new([]);
        sources.add_text(Path::new("t.conf"), text).unwrap();
        let read = sources.deserialize::<Numbers>();
        read.map_err(|error| error.to_string())
    };
    let expected = "t.conf:1:9: `count`: expected a whole number from 1 to 65535, found";
    for (value, found) in [
        ("0", "0"),
        ("-1", "-1"),
        ("70000", "70000"),
        ("x", "the text \"x\""),
    ] {
        let result = read(&format!("count = {value}"));
        assert_eq!(result, Err(format!("{expected} {found}")));
    }
    assert_eq!(read("count = 7").unwrap().count.unwrap().get(), 7);
    let expected = "t.conf:1:9: `small`: expected a whole number from 0 to 255, found 256";
    assert_eq!(read("small = 256"), Err(expected.to_owned()));
    assert_eq!(read("small = 0").unwrap().small, 0);
}
