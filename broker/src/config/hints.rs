//! Keys of Mosquitto, NanoMQ and EMQX: what stands for them here.

mod bridge;

use super::node::Step;

/// What to say of a key that somebody knows from another broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// It has another name.
    Is(&'static str),
    /// Nothing stands for it.
    Says(&'static str),
}

use Hint::{Is, Says};

const BIND: Hint = Is("listeners.tcp.default.bind");
const BRIDGE: Hint = Is("bridges.mqtt.<name>.server");
const TCP_ONLY: Hint = Says("listeners speak MQTT over TCP; a proxy can add TLS or WebSocket");
const NO_TLS: Hint = Says("there is no TLS here; a proxy can add it");
const NO_USERS: Hint = Says("there are no users and access lists, see `mqtt.allow_anonymous`");
const NO_HTTP: Hint = Says("there is no HTTP interface; the broker's state is below `$SYS/broker`");
const NO_RULES: Hint = Says("there are no rules; gateways, bridges and `rewrite` do some of that");
const STDERR: Hint = Says("the log goes to standard error, for the service manager to keep");
const TOPICS: Hint =
    Says("`forwards` has what goes out and `subscription` what comes in, see etc/bridges.md");
const NOT_NEEDED: Hint = Says("nothing needs it here, leave it out");
const QOS_2: Hint = Says("`mqtt.receive_maximum` limits them, and they wait without an end");

/// Paths, with `*` for any one key, and what to say of each.
const HINTS: &[(&str, Hint)] = &[
    // The outermost keys of NanoMQ and EMQX.
    ("http_server", NO_HTTP),
    ("dashboard", NO_HTTP),
    ("api", NO_HTTP),
    ("prometheus", NO_HTTP),
    ("auth", NO_USERS),
    ("authentication", NO_USERS),
    ("authorization", NO_USERS),
    ("webhook", NO_RULES),
    ("web_hook", NO_RULES),
    ("rules", NO_RULES),
    ("rule_engine", NO_RULES),
    ("actions", NO_RULES),
    ("sqlite", Is("store")),
    ("system", Is("runtime.workers")),
    ("retainer", Is("retain")),
    (
        "node",
        Says("nodes have no names here; the data directory is `store.path`"),
    ),
    ("dds", Is("gateways.dds.<name>.domain")),
    ("forward_rules", Is("gateways.dds.<name>.to_mqtt")),
    (
        "cluster",
        Says("there are no clusters; `bridges.mqtt` connects brokers"),
    ),
    ("gateway", Is("gateways.zmq.<name>")),
    ("sysmon", NOT_NEEDED),
    ("license", NOT_NEEDED),
    // Mosquitto's options.
    ("listener", BIND),
    ("port", BIND),
    ("bind", BIND),
    ("bind_address", BIND),
    ("url", BIND),
    ("allow_anonymous", Is("mqtt.allow_anonymous")),
    ("password_file", NO_USERS),
    ("acl_file", NO_USERS),
    ("psk_file", NO_USERS),
    ("plugin", NO_USERS),
    ("cafile", NO_TLS),
    ("capath", NO_TLS),
    ("certfile", NO_TLS),
    ("keyfile", NO_TLS),
    ("protocol", TCP_ONLY),
    ("persistence", Is("store.enable")),
    ("persistence_location", Is("store.path")),
    ("persistence_file", Is("store.path")),
    ("autosave_interval", Is("store.commit_interval")),
    (
        "persistent_client_expiration",
        Is("mqtt.max_session_expiry_interval"),
    ),
    ("max_packet_size", Is("mqtt.max_packet_size")),
    ("message_size_limit", Is("mqtt.max_packet_size")),
    (
        "max_connections",
        Is("listeners.tcp.default.max_connections"),
    ),
    ("max_inflight_messages", Is("mqtt.max_inflight_window")),
    ("max_queued_messages", Is("mqtt.max_mqueue_len")),
    ("max_queued_bytes", Is("mqtt.max_queue_bytes")),
    ("memory_limit", Is("runtime.memory_limit")),
    ("max_inflight_bytes", Is("mqtt.max_queue_bytes")),
    ("max_keepalive", Is("mqtt.server_keepalive")),
    ("max_topic_alias", Is("mqtt.max_topic_alias")),
    ("max_qos", Is("mqtt.max_qos_allowed")),
    ("retain_available", Is("mqtt.retain_available")),
    ("sys_interval", Is("sys_topics.interval")),
    ("log_type", Is("log.level")),
    ("log_dest", STDERR),
    ("pid_file", NOT_NEEDED),
    ("user", NOT_NEEDED),
    ("per_listener_settings", NOT_NEEDED),
    (
        "include_dir",
        Says("write `include \"file\"` for each file"),
    ),
    ("topic", TOPICS),
    ("connection", BRIDGE),
    ("address", BRIDGE),
    // Sections that are here too.
    ("listeners.ssl", TCP_ONLY),
    ("listeners.ws", TCP_ONLY),
    ("listeners.wss", TCP_ONLY),
    ("listeners.quic", TCP_ONLY),
    ("listeners.tcp.*.url", BIND),
    ("listeners.tcp.*.port", BIND),
    ("listeners.tcp.*.address", BIND),
    ("listeners.tcp.*.acceptors", NOT_NEEDED),
    ("listeners.tcp.*.mountpoint", Is("rewrite")),
    (
        "mqtt.property_size",
        Says("`mqtt.max_user_properties` and `mqtt.max_packet_size` limit properties"),
    ),
    ("mqtt.max_message_size", Is("mqtt.max_packet_size")),
    (
        "mqtt.retry_interval",
        Says("MQTT 5 forbids to send again while a connection lasts"),
    ),
    ("mqtt.max_awaiting_rel", QOS_2),
    ("mqtt.await_rel_timeout", QOS_2),
    ("mqtt.idle_timeout", Is("mqtt.connect_timeout")),
    ("mqtt.keepalive_backoff", Is("mqtt.keepalive_multiplier")),
    (
        "mqtt.session_expiry_interval",
        Is("mqtt.max_session_expiry_interval"),
    ),
    (
        "mqtt.mqueue_store_qos0",
        Says("QoS 0 waits for nobody who is away"),
    ),
    ("log.to", STDERR),
    ("log.file", STDERR),
    ("log.dir", STDERR),
    ("log.console", Is("log.level")),
    ("log.rotation", STDERR),
    (
        "gateways.zmq.*.sub_address",
        Is("gateways.zmq.<name>.sub.connect"),
    ),
    (
        "gateways.zmq.*.pub_address",
        Is("gateways.zmq.<name>.pub.connect"),
    ),
    (
        "gateways.zmq.*.sub_pre",
        Is("gateways.zmq.<name>.to_mqtt.prefix"),
    ),
    (
        "gateways.zmq.*.pub_pre",
        Is("gateways.zmq.<name>.from_mqtt.frame"),
    ),
    // A section whose gateway has no name is taken for a gateway.
    (
        "gateways.zmq.sub.connect",
        Is("gateways.zmq.<name>.sub.connect"),
    ),
    ("gateways.zmq.sub.bind", Is("gateways.zmq.<name>.sub.bind")),
    (
        "gateways.zmq.pub.connect",
        Is("gateways.zmq.<name>.pub.connect"),
    ),
    ("gateways.zmq.pub.bind", Is("gateways.zmq.<name>.pub.bind")),
    ("gateways.nng.sub.dial", Is("gateways.nng.<name>.sub.dial")),
    (
        "gateways.nng.sub.listen",
        Is("gateways.nng.<name>.sub.listen"),
    ),
    ("gateways.nng.pub.dial", Is("gateways.nng.<name>.pub.dial")),
    (
        "gateways.nng.pub.listen",
        Is("gateways.nng.<name>.pub.listen"),
    ),
    ("sys_topics.sys_msg_interval", Is("sys_topics.interval")),
];

/// What to say of an unknown key, if it is known from another broker.
pub(super) fn find(path: &[Step]) -> Option<String> {
    let mut hints = HINTS.iter().chain(bridge::HINTS);
    let (_, hint) = hints.find(|(pattern, _)| fits(pattern, path))?;
    Some(match hint {
        Is(name) => format!("it is `{name}` here"),
        Says(sentence) => (*sentence).to_owned(),
    })
}

/// What to write in place of a value of another kind.
pub(super) fn of_value(path: &[Step]) -> Option<String> {
    let (_, advice) = bridge::VALUES
        .iter()
        .find(|(pattern, _)| fits(pattern, path))?;
    Some(format!("; {advice}"))
}

/// Whether the keys of a path are those of a pattern.
fn fits(pattern: &str, path: &[Step]) -> bool {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let wanted = pattern.split('.');
    let mut pairs = wanted.clone().zip(keys.clone());
    wanted.count() == keys.count() && pairs.all(|(want, key)| want == "*" || want == key)
}

/// What to say of a key where the name of a gateway or bridge has to be.
pub(super) fn missing_name(path: &[Step]) -> Option<String> {
    let [Step::Key(section), Step::Key(kind), Step::Key(key)] = path else {
        return None;
    };
    let named = [
        ("gateways", "zmq"),
        ("gateways", "nng"),
        ("gateways", "dds"),
        ("bridges", "mqtt"),
    ];
    let is_named = named.contains(&(section.as_str(), kind.as_str()));
    is_named.then(|| format!("; a name comes first: `{section}.{kind}.<name>.{key}`"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    const LISTS: [&str; 4] = ["forwards", "subscription", "to_mqtt", "from_mqtt"];

    /// What is said of a file that has only this key.
    fn complaint(path: &str) -> String {
        // Lists of rules have their keys in an element.
        let text = match path.rsplit_once('.') {
            Some((list, key)) if LISTS.iter().any(|it| list.ends_with(it)) => {
                format!("{list} = [{{ {key} = 1 }}]")
            }
            _ => format!("{path} = 1"),
        };
        let text = match path.strip_prefix("bridges.") {
            Some(_) if !path.ends_with(".server") => {
                format!("bridges.mqtt.name.server = hub\n{text}")
            }
            _ => text,
        };
        let error = load_text(Path::new("t.conf"), &text, []).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_hint_is_about_a_key_that_there_is_not_and_leads_to_one_that_there_is() {
        for (pattern, hint) in HINTS.iter().chain(bridge::HINTS) {
            let complaint_about = complaint(&pattern.replace('*', "name"));
            assert!(
                complaint_about.contains("unknown key"),
                "remove the hint about {pattern}: {complaint_about}"
            );
            let expected = match hint {
                Is(name) => {
                    let target = complaint(&name.replace("<name>", "name"));
                    assert!(!target.contains("unknown key"), "{name}: {target}");
                    format!("it is `{name}` here")
                }
                Says(sentence) => (*sentence).to_owned(),
            };
            assert!(
                complaint_about.ends_with(&format!("; {expected}")),
                "{complaint_about}"
            );
        }
    }

    #[test]
    fn a_section_without_a_name_is_told_where_the_name_goes() {
        for path in ["bridges.mqtt.server", "gateways.dds.domain"] {
            let (section, key) = path.rsplit_once('.').unwrap();
            let expected = format!("; a name comes first: `{section}.<name>.{key}`");
            let complaint = complaint(path);
            assert!(complaint.ends_with(&expected), "{complaint}");
        }
    }
}
