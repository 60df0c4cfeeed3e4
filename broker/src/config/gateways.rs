//! `gateways` and `bridges`: what is connected to the broker besides MQTT clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use bridges::{Bridge, Guarding};
use gateway::{ConfigError, Gateway};
use gateway_dds::DdsGateway;
use gateway_nng::NngGateway;
use gateway_zmq::ZmqGateway;
use serde::Deserialize;

use super::node::Step;
use super::notice::Notice;
use super::problem::Problem;

/// Gateways by protocol and name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateways {
    /// `ZeroMQ`.
    pub(crate) zmq: BTreeMap<String, gateway_zmq::Config>,
    /// NNG.
    pub(crate) nng: BTreeMap<String, gateway_nng::Config>,
    /// DDS.
    pub(crate) dds: BTreeMap<String, gateway_dds::Config>,
}

/// Bridges by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bridges {
    /// To upstream MQTT brokers.
    pub(crate) mqtt: BTreeMap<String, bridges::Config>,
    /// Whether each message is taken once, however bridges connect brokers. If absent: if what a
    /// bridge brings may leave through one again, and else once a bridge of another broker connects
    /// that is guarded, or any if there are bridges here too.
    pub(crate) loop_guard: Option<bridges::Flag>,
}

impl Bridges {
    /// When messages are guarded against loops and repetitions.
    pub(crate) fn guarding(&self) -> Guarding {
        match self.loop_guard {
            Some(flag) if flag.0 => Guarding::Always,
            Some(_) => Guarding::Never,
            None if bridges::may_return(self.enabled().map(|(_, it)| it)) => Guarding::Always,
            None if self.enabled().next().is_some() => Guarding::WhenMet,
            None => Guarding::WhenAsked,
        }
    }

    /// Whether bridges say to their hubs that messages are guarded.
    pub(crate) fn are_guarded(&self) -> bool {
        self.guarding() == Guarding::Always
    }

    /// Takes NanoMQ's cache of all bridges out, which stands among them; what is to be said of it.
    pub(super) fn take_cache(&mut self) -> Option<Notice> {
        const NAME: &str = "cache";
        let reason = self.mqtt.get(NAME)?.is_cache()?;
        self.mqtt.remove(NAME);
        Some(Notice::NoEffect {
            key: format!("bridges.mqtt.{NAME}"),
            reason,
        })
    }

    fn enabled(&self) -> impl Iterator<Item = (&String, &bridges::Config)> + Clone {
        self.mqtt.iter().filter(|(_, config)| config.enable)
    }
}

/// A gateway or bridge that can run, with its name, such as `zmq/plant` or `bridge/hub`.
pub(crate) type NamedGateway = (String, Arc<dyn Gateway>);

/// Makes everything that is configured and enabled; touches no socket.
pub(super) fn build(gateways: &Gateways, bridges: &Bridges) -> Result<Vec<NamedGateway>, Problem> {
    let enabled = bridges.enabled();
    check_names(bridges.mqtt.keys())?;
    check_client_ids(enabled.clone())?;
    let bridge = if bridges.are_guarded() {
        Bridge::guarded
    } else {
        Bridge::new
    };
    let kinds = [
        build_kind(["gateways", "zmq"], "zmq", &gateways.zmq, ZmqGateway::new)?,
        build_kind(["gateways", "nng"], "nng", &gateways.nng, NngGateway::new)?,
        build_kind(["gateways", "dds"], "dds", &gateways.dds, DdsGateway::new)?,
        build_kind(["bridges", "mqtt"], "bridge", enabled, bridge)?,
    ];
    let [_, _, _, made] = &kinds;
    check_notification_topics(made)?;
    Ok(kinds.into_iter().flatten().collect())
}

/// Reads the files that a gateway or bridge reads while it runs, as it does then. Blocks.
pub(super) fn check_files((name, gateway): &NamedGateway) -> Result<(), Problem> {
    let (kind, name) = name.split_once('/').unwrap_or_default();
    let section = match kind {
        "bridge" => ["bridges", "mqtt", name],
        kind => ["gateways", kind, name],
    };
    let checked = gateway.check_files();
    checked.map_err(|error| problem(&section, &error))
}

/// Refuses a bridge's name that cannot be a level of the topics of its state.
fn check_names<'c>(names: impl Iterator<Item = &'c String>) -> Result<(), Problem> {
    for name in names {
        let problem = if name.is_empty() {
            "the name of a bridge must not be empty"
        } else if name.contains(['/', '+', '#', '\0']) {
            "the name of a bridge is a level of topics: it must not contain `/`, `+`, `#` and null \
             characters"
        } else {
            continue;
        };
        return Err(Problem::at(&["bridges", "mqtt", name], problem));
    }
    Ok(())
}

/// Refuses a topic on which another bridge publishes its state: one would replace the other's.
fn check_notification_topics(bridges: &[NamedGateway]) -> Result<(), Problem> {
    let mut known = BTreeMap::new();
    for (name, bridge) in bridges {
        let name = name.trim_start_matches("bridge/");
        let topic = bridge.notification().map(|it| it.topic.as_str());
        let first = topic.and_then(|topic| known.insert(topic, name));
        if let Some(first) = first {
            let message = format!(
                "`bridges.mqtt.{first}` publishes its state there; put `${{gateway}}` into it"
            );
            let path = ["bridges", "mqtt", name, "notification_topic"];
            return Err(Problem::at(&path, &message));
        }
    }
    Ok(())
}

/// What is said of bridges that can run.
pub(super) fn notices(bridges: &Bridges) -> impl Iterator<Item = Notice> {
    let without_effect = bridges.mqtt.iter().flat_map(|(name, config)| {
        let keys = config.without_effect().into_iter();
        keys.map(move |(key, reason)| Notice::NoEffect {
            key: format!("bridges.mqtt.{name}.{key}"),
            reason,
        })
    });
    let is_guarded = bridges.are_guarded();
    let unguarded = bridges::nameless(bridges.enabled().filter(move |_| is_guarded));
    let unguarded = unguarded.map(|(name, config)| Notice::Unguarded {
        bridge: name.clone(),
        proto_ver: config.proto_ver,
    });
    let repeated = bridges.enabled().flat_map(|(name, config)| {
        let pairs = config.repeated_filters().into_iter();
        pairs.map(move |(first, again)| Notice::RepeatedFilter {
            key: format!("bridges.mqtt.{name}.subscription[{again}].remote_topic"),
            first,
        })
    });
    without_effect.chain(unguarded).chain(repeated)
}

/// Refuses a Client Identifier that another bridge to the same hub has: each connection would end
/// the other.
fn check_client_ids<'c>(
    bridges: impl Iterator<Item = (&'c String, &'c bridges::Config)>,
) -> Result<(), Problem> {
    let mut known = BTreeMap::new();
    for (name, config) in bridges {
        // With its name in it, that of each bridge is another.
        let client_id = config.clientid.as_ref();
        let Some(client_id) = client_id.filter(|it| !it.contains("${gateway}")) else {
            continue;
        };
        for (_, hub) in config.hubs() {
            let first = known.insert((hub, client_id), name);
            if let Some(first) = first.filter(|first| *first != name) {
                let message = format!("`bridges.mqtt.{first}` has this identifier at the same hub");
                let path = ["bridges", "mqtt", name, "clientid"];
                return Err(Problem::at(&path, &message));
            }
        }
    }
    Ok(())
}

fn build_kind<'c, C: Clone + 'c, G: Gateway>(
    section: [&str; 2],
    kind: &str,
    configs: impl IntoIterator<Item = (&'c String, &'c C)>,
    make: fn(&str, C) -> Result<G, ConfigError>,
) -> Result<Vec<NamedGateway>, Problem> {
    let configs = configs.into_iter();
    let made = configs.map(|(name, config)| match make(name, config.clone()) {
        Ok(gateway) => Ok((
            format!("{kind}/{name}"),
            Arc::new(gateway) as Arc<dyn Gateway>,
        )),
        Err(error) => Err(problem(&[section[0], section[1], name], &error)),
    });
    made.collect()
}

/// A problem at a key below a section, such as `to_mqtt[0].topic`.
fn problem(section: &[&str], error: &ConfigError) -> Problem {
    let steps = section.iter().map(|key| Step::Key((*key).to_owned()));
    let mut path: Vec<Step> = steps.collect();
    for part in error.key.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        path.push(Step::Key(name.to_owned()));
        let indices = indices
            .split('[')
            .filter_map(|it| it.trim_end_matches(']').parse().ok());
        path.extend(indices.map(Step::Index));
    }
    let ConfigError {
        key,
        problem,
        position,
    } = error;
    Problem {
        path,
        message: format!("`{}.{key}`: {problem}", section.join(".")),
        position: *position,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load_text;

    #[track_caller]
    fn check_table(table: &[(&str, &str)]) {
        for (text, expected) in table {
            let error = load_text(Path::new("t.conf"), text, []).err().unwrap();
            assert_eq!(error.to_string(), *expected);
        }
    }

    #[test]
    fn what_cannot_run_is_found_in_the_file() {
        let table = [
            (
                "gateways.dds.robot {\n  idl = \"struct S { long x; };\"\n  \
                 to_mqtt = [{ dds_topic = A, type = T }]\n}",
                "t.conf:3:38: `gateways.dds.robot.to_mqtt[0].type`: \
                 the IDL has no struct `T`; it has: S",
            ),
            (
                "gateways.dds.robot {\n  idl = \"\"\"\n    struct S {\n      lung x;\n    };\n  \
                 \"\"\"\n}",
                "t.conf:4:7: `gateways.dds.robot.idl`: unknown type `lung`",
            ),
            (
                "gateways.dds.robot { idl = \"\"\"struct S { lung x; };\"\"\" }",
                "t.conf:1:42: `gateways.dds.robot.idl`: unknown type `lung`",
            ),
            (
                "gateways.dds.robot { idl = \"struct S {\\n lung x; };\" }",
                "t.conf:1:28: `gateways.dds.robot.idl`: \
                 unknown type `lung`, at line 2, column 2 of the text",
            ),
            (
                "gateways.zmq.plant.to_mqtt = [{}]",
                "t.conf:1:14: `gateways.zmq.plant.sub`: \
                 has neither `connect` nor `bind`, so the rules of `to_mqtt` have no effect",
            ),
            (
                "gateways.zmq.plant {\n  sub { connect = [\"tcp://127.0.0.1:1\"] }\n  \
                 to_mqtt = [{ prefix = a, topic = \"a/+\" }]\n}",
                "t.conf:3:36: `gateways.zmq.plant.to_mqtt[0].topic`: \
                 a topic name must not contain the wildcards `+` and `#`",
            ),
            (
                "bridges.mqtt { a { server = hub, clientid = x, forwards = [{ local_topic = a }] }\n\
                 b { server = hub, clientid = x, forwards = [{ local_topic = b }] } }",
                "t.conf:2:30: `bridges.mqtt.b.clientid`: \
                 `bridges.mqtt.a` has this identifier at the same hub",
            ),
            (
                "bridges.mqtt.up { server = hub, proto_ver = 6 }",
                "t.conf:1:45: `bridges.mqtt.up.proto_ver`: \
                 is 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5)",
            ),
            (
                "bridges.mqtt.up { proto_ver = 5 }",
                "t.conf:1:17: `bridges.mqtt.up.server`: \
                 is missing; write the hub's URL, such as mqtt-tcp://host:port",
            ),
            (
                "bridges.mqtt { a { server = hub, clientid = x, forwards = [{ local_topic = a }] }\n\
                 b { servers = [other, hub], clientid = x, forwards = [{ local_topic = b }] } }",
                "t.conf:2:40: `bridges.mqtt.b.clientid`: \
                 `bridges.mqtt.a` has this identifier at the same hub",
            ),
        ];
        check_table(&table);
    }

    #[test]
    fn what_a_bridge_cannot_have_is_found_in_the_file() {
        let table = [
            (
                "bridges.mqtt.up { server = hub, clientid = \"a\\u0000\", \
                 forwards = [{ local_topic = a }] }",
                "t.conf:1:44: `bridges.mqtt.up.clientid`: must not contain a null character",
            ),
            (
                "bridges.mqtt.up { server = hub, dead_letter_topic = \"$SYS/foo\"\n\
                 forwards = [{ local_topic = a }] }",
                "t.conf:1:53: `bridges.mqtt.up.dead_letter_topic`: \
                 is below `$SYS`, where only the broker itself publishes",
            ),
            (
                "bridges.mqtt { a { server = hub, notification_topic = x, forwards = [{ local_topic = a }] }\n\
                 b { server = hub, notification_topic = x, forwards = [{ local_topic = b }] } }",
                "t.conf:2:40: `bridges.mqtt.b.notification_topic`: \
                 `bridges.mqtt.a` publishes its state there; put `${gateway}` into it",
            ),
            (
                "bridges.mqtt.\"\" { server = hub, forwards = [{ local_topic = a }] }",
                "t.conf:1:17: `bridges.mqtt.`: the name of a bridge must not be empty",
            ),
            (
                "bridges.mqtt.\"a/b\" { server = hub, forwards = [{ local_topic = a }] }",
                "t.conf:1:20: `bridges.mqtt.a/b`: the name of a bridge is a level of topics: \
                 it must not contain `/`, `+`, `#` and null characters",
            ),
        ];
        check_table(&table);
    }

    #[test]
    fn bridges_to_one_hub_are_told_apart_by_their_names() {
        let bridge = |name| {
            format!(
                "bridges.mqtt.{name} {{ server = hub, clientid = \"c-${{gateway}}\", \
                 forwards = [{{ local_topic = a }}] }}\n"
            )
        };
        let text = bridge("one") + &bridge("two");
        assert!(load_text(Path::new("t.conf"), &text, []).is_ok());
    }

    /// Every key of a bridge that NanoMQ's documentation has, but those of TLS and TCP.
    const NANOMQ: &str = r#"
        bridges.mqtt.emqx1 = {
          server = "mqtt-tcp://127.0.0.1:1883", proto_ver = 4, clientid = "bridge_client"
          keepalive = "60s", backoff_max = 60s, clean_start = false, retry_qos_0 = true
          username = "username", password = "passwd", enable = true
          no_local_v4 = true, transparent = true
          will = {
            topic = "will_topic", qos = 1, retain = false, payload = "will_message"
            properties = {
              payload_format_indicator = 0, message_expiry_interval = 0, content_type = ""
              response_topic = "", correlation_data = "", will_delay_interval = 0
              user_property = { key1 = "value1", key2 = "value2" }
            }
          }
          conn_properties = {
            maximum_packet_size = 1024, receive_maximum = 65535, topic_alias_maximum = 0
            request_problem_infomation = 1, request_response_infomation = 0
            session_expiry_interval = 0, user_property { key1 = "value1" }
          }
          sub_properties { identifier = 1, user_property { key1 = "value1" } }
          forwards = [{ remote_topic = "fwd/topic1", local_topic = "topic1", suffix = "/emqx", qos = 2 }]
          subscription = [
            { remote_topic = "cmd/topic1", local_topic = "topic3", qos = 1, retain = 2
              retain_as_published = 1, retain_handling = 2, nolocal = true, stream_id = 1 }
          ]
          hybrid_bridging = false, hybrid_servers = ["mqtt-quic://127.0.0.1:14567"]
          quic_keepalive = "120s", quic_idle_timeout = "120s", quic_discon_timeout = "20s"
          quic_handshake_timeout = "60s", quic_send_idle_timeout = "2s", quic_initial_rtt_ms = "800ms"
          quic_max_ack_delay_ms = "100ms", quic_multi_stream = false, quic_qos_priority = true
          quic_0rtt = true, max_parallel_processes = 2, max_send_queue_len = 32
          max_recv_queue_len = 128, resend_interval = 5000, resend_wait = 3000, cancel_timeout = 8000
        }"#;

    #[test]
    fn nanomqs_keys_are_taken_and_those_without_effect_are_named() {
        let loaded = load_text(Path::new("t.conf"), NANOMQ, []);
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        let notices = loaded.notices.iter().map(ToString::to_string);
        let notices: Vec<String> = notices.collect();
        let first = "`bridges.mqtt.emqx1.max_parallel_processes` has no effect: \
                     one connection keeps the order";
        assert_eq!(notices[0], first);
        assert_eq!(notices.len(), 16, "{notices:?}");
    }

    #[test]
    fn bridges_of_mqtt_3_that_the_guard_would_be_for_are_named() {
        let warned = |more: &str, apart: &str| {
            let text = format!(
                "bridges.mqtt {{ up {{ server = hub, forwards = [{{ local_topic = \"#\" }}] }}\n\
                 down {{ server = hub, proto_ver = 4, subscription = [{{ remote_topic = \"#\" }}]\n\
                 {more} }} }}\n{apart}"
            );
            let loaded = load_text(Path::new("t.conf"), &text, []);
            let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
            let notices = loaded.notices.iter().map(ToString::to_string);
            notices.collect::<Vec<_>>()
        };
        let expected = "`bridges.mqtt.down.proto_ver` is 4: MQTT 3 has no properties";
        let said = warned("", "");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(expected), "{said:?}");
        // Who turns the guard off has thought of it.
        for (more, apart) in [
            ("proto_ver = 5", ""),
            ("enable = false", ""),
            ("", "bridges.loop_guard = false"),
        ] {
            assert_eq!(warned(more, apart), [""; 0], "{more}{apart}");
        }
    }

    #[test]
    fn a_filter_with_two_rules_is_named() {
        let text = "bridges.mqtt.up { server = hub, subscription = [\n\
                    { remote_topic = \"a/#\" }, { remote_topic = b }\n\
                    { remote_topic = \"a/#\", prefix = \"x/\" }] }";
        let loaded = load_text(Path::new("t.conf"), text, []).ok().unwrap();
        let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        let expected = "`bridges.mqtt.up.subscription[2].remote_topic` is also that of \
                        `subscription[0]`: of what comes, the first of both rules counts";
        assert_eq!(notices, [expected]);
    }

    #[test]
    fn nanomqs_cache_is_no_bridge() {
        let cache = "bridges.mqtt.cache { disk_cache_size = 102400, mounted_file_path = \"/tmp/\"\n\
                     flush_mem_threshold = 100, resend_interval = 5000, enable = true }\n";
        let bridge = "bridges.mqtt.hub { server = hub, forwards = [{ local_topic = a }] }";
        let text = format!("{cache}{bridge}");
        let loaded = load_text(Path::new("t.conf"), &text, []);
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<&str> = loaded.gateways.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["bridge/hub"]);
        assert_eq!(loaded.config.bridges.mqtt.len(), 1);
        let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        let expected = "`bridges.mqtt.cache` has no effect: \
                        the outbox is in the store, and `store.max_messages` bounds it";
        assert_eq!(notices, [expected]);
        // A bridge may have this name.
        let bridge = bridge.replace("hub {", "cache {");
        let loaded = load_text(Path::new("t.conf"), &bridge, []).ok().unwrap();
        assert_eq!(loaded.gateways[0].0, "bridge/cache");
    }

    #[test]
    fn a_mistake_in_a_text_of_several_lines_has_its_own_line_in_toml_too() {
        let table = [
            ("'''\nstruct S {\n  lung x;\n};\n'''", "4:3: "),
            ("\"\"\"struct S {\n  lung x;\n};\"\"\"", "3:3: "),
            ("'''struct S { lung x; };'''", "2:21: "),
            (
                "\"\"\"\\tstruct S {\n lung x; };\"\"\"",
                "2:7: `gateways.dds.robot.idl`: unknown type `lung`, at line 2, ",
            ),
        ];
        for (idl, expected) in table {
            let text = format!("[gateways.dds.robot]\nidl = {idl}\n");
            let error = load_text(Path::new("t.toml"), &text, []).err().unwrap();
            let error = error.to_string();
            assert!(error.starts_with(&format!("t.toml:{expected}")), "{error}");
        }
    }
}
