//! What stands for keys of other brokers' bridges.

use super::Hint::{self, Is, Says};
use super::{BRIDGE, NOT_NEEDED};

const TOPICS: Hint = Says(
    "what goes to the hub is in `forwards = [{ local_topic = \"a/#\" }]`, what comes from it in \
     `subscription = [{ remote_topic = \"a/#\" }]`",
);
const NOT_VERIFIED: Hint = Says("it is `ssl.verify = false` here");
const NO_PSK: Hint = Says("there are no shared keys; `ssl` has `certfile` and `keyfile`");

/// Paths, with `*` for any one key, and what to say of each.
pub(super) const HINTS: &[(&str, Hint)] = &[
    ("bridges.mqtt.*.address", BRIDGE),
    (
        "bridges.aws",
        Says(
            "write `bridges.mqtt.<name>` with `server = \"tls+mqtt-tcp://ENDPOINT:8883\"`, and \
             `certfile` and `keyfile` in `ssl`; at port 443 also `ssl.alpn = [\"x-amzn-mqtt-ca\"]`",
        ),
    ),
    (
        "bridges.nng",
        Says("write `gateways.nng.<name>`, with `to_mqtt` and `from_mqtt`"),
    ),
    ("bridges.*", Says("a bridge is `bridges.mqtt.<name>`")),
    (
        "bridges.mqtt.*.bridge_tls_use_os_certs",
        Is("bridges.mqtt.<name>.ssl.use_os_certs"),
    ),
    (
        "bridges.mqtt.*.addresses",
        Is("bridges.mqtt.<name>.servers"),
    ),
    (
        "bridges.mqtt.*.connection",
        Says("the bridge's name is `<name>` in `bridges.mqtt.<name>`"),
    ),
    (
        "bridges.mqtt.*.connector",
        Says("its keys stand in `bridges.mqtt.<name>` itself"),
    ),
    (
        "bridges.mqtt.*.bridge_mode",
        Is("bridges.mqtt.<name>.enable"),
    ),
    (
        "bridges.mqtt.*.start_type",
        Is("bridges.mqtt.<name>.enable"),
    ),
    (
        "bridges.mqtt.*.remote_username",
        Is("bridges.mqtt.<name>.username"),
    ),
    (
        "bridges.mqtt.*.remote_password",
        Is("bridges.mqtt.<name>.password"),
    ),
    (
        "bridges.mqtt.*.remote_clientid",
        Is("bridges.mqtt.<name>.clientid"),
    ),
    ("bridges.mqtt.*.local_username", NOT_NEEDED),
    ("bridges.mqtt.*.local_password", NOT_NEEDED),
    ("bridges.mqtt.*.local_clientid", NOT_NEEDED),
    (
        "bridges.mqtt.*.local_cleansession",
        Says("the outbox outlasts every restart, leave it out"),
    ),
    (
        "bridges.mqtt.*.cleansession",
        Is("bridges.mqtt.<name>.clean_start"),
    ),
    (
        "bridges.mqtt.*.clean_session",
        Is("bridges.mqtt.<name>.clean_start"),
    ),
    (
        "bridges.mqtt.*.notifications",
        Is("bridges.mqtt.<name>.notification"),
    ),
    (
        "bridges.mqtt.*.notifications_local_only",
        Says("the state goes to the hub only if `forwards` has `notification_topic`"),
    ),
    (
        "bridges.mqtt.*.try_private",
        Is("bridges.mqtt.<name>.no_local_v4"),
    ),
    (
        "bridges.mqtt.*.bridge_protocol_version",
        Is("bridges.mqtt.<name>.proto_ver"),
    ),
    (
        "bridges.mqtt.*.protocol_version",
        Is("bridges.mqtt.<name>.proto_ver"),
    ),
    (
        "bridges.mqtt.*.keepalive_interval",
        Is("bridges.mqtt.<name>.keepalive"),
    ),
    (
        "bridges.mqtt.*.restart_timeout",
        Is("bridges.mqtt.<name>.backoff_max"),
    ),
    (
        "bridges.mqtt.*.reconnect_interval",
        Is("bridges.mqtt.<name>.backoff_max"),
    ),
    (
        "bridges.mqtt.*.idle_timeout",
        Says("bridges stay connected, leave it out"),
    ),
    (
        "bridges.mqtt.*.threshold",
        Says("bridges stay connected, leave it out"),
    ),
    (
        "bridges.mqtt.*.round_robin",
        Says("hubs are tried in the order of `servers`"),
    ),
    ("bridges.mqtt.*.topic", TOPICS),
    ("bridges.mqtt.*.topics", TOPICS),
    (
        "bridges.mqtt.*.qos",
        Says("rules have it, in `forwards` and `subscription`"),
    ),
    (
        "bridges.mqtt.*.retain",
        Says("rules have it, in `forwards` and `subscription`"),
    ),
    (
        "bridges.mqtt.*.mountpoint",
        Says("rules have `prefix`, in `forwards` and `subscription`"),
    ),
    (
        "bridges.mqtt.*.cache",
        Says("the outbox is in the store, and `store.max_messages` bounds it"),
    ),
    ("bridges.mqtt.*.tls", Is("bridges.mqtt.<name>.ssl")),
    (
        "bridges.mqtt.*.bridge_cafile",
        Is("bridges.mqtt.<name>.ssl.cacertfile"),
    ),
    (
        "bridges.mqtt.*.bridge_capath",
        Is("bridges.mqtt.<name>.ssl.cacertfile"),
    ),
    (
        "bridges.mqtt.*.bridge_certfile",
        Is("bridges.mqtt.<name>.ssl.certfile"),
    ),
    (
        "bridges.mqtt.*.bridge_keyfile",
        Is("bridges.mqtt.<name>.ssl.keyfile"),
    ),
    (
        "bridges.mqtt.*.bridge_alpn",
        Is("bridges.mqtt.<name>.ssl.alpn"),
    ),
    ("bridges.mqtt.*.bridge_insecure", NOT_VERIFIED),
    (
        "bridges.mqtt.*.bridge_tls_version",
        Says("TLS 1.2 and 1.3 are spoken, the later one if it can be"),
    ),
    ("bridges.mqtt.*.bridge_psk", NO_PSK),
    ("bridges.mqtt.*.bridge_identity", NO_PSK),
    (
        "bridges.mqtt.*.bridge_bind_address",
        Is("bridges.mqtt.<name>.tcp.bind_interface"),
    ),
    (
        "bridges.mqtt.*.bridge_max_packet_size",
        Is("bridges.mqtt.<name>.max_packet_size"),
    ),
    (
        "bridges.mqtt.*.bridge_max_topic_alias",
        Is("bridges.mqtt.<name>.conn_properties.topic_alias_maximum"),
    ),
    (
        "bridges.mqtt.*.bridge_outgoing_retain",
        Is("bridges.mqtt.<name>.forwards.retain"),
    ),
    ("bridges.mqtt.*.bridge_attempt_unsubscribe", NOT_NEEDED),
    (
        "bridges.mqtt.*.ssl.cafile",
        Is("bridges.mqtt.<name>.ssl.cacertfile"),
    ),
    (
        "bridges.mqtt.*.ssl.ca",
        Is("bridges.mqtt.<name>.ssl.cacertfile"),
    ),
    ("bridges.mqtt.*.ssl.insecure", NOT_VERIFIED),
    (
        "bridges.mqtt.*.ssl.verify_peer",
        Is("bridges.mqtt.<name>.ssl.verify"),
    ),
    (
        "bridges.mqtt.*.ssl.password",
        Is("bridges.mqtt.<name>.ssl.key_password"),
    ),
    (
        "bridges.mqtt.*.ssl.sni",
        Is("bridges.mqtt.<name>.ssl.server_name"),
    ),
    ("bridges.mqtt.*.forwards.direction", TOPICS),
    (
        "bridges.mqtt.*.forwards.remote_prefix",
        Is("bridges.mqtt.<name>.forwards.prefix"),
    ),
    (
        "bridges.mqtt.*.forwards.filter",
        Is("bridges.mqtt.<name>.forwards.local_topic"),
    ),
    (
        "bridges.mqtt.*.subscription.local_prefix",
        Is("bridges.mqtt.<name>.subscription.prefix"),
    ),
    (
        "bridges.mqtt.*.subscription.filter",
        Is("bridges.mqtt.<name>.subscription.remote_topic"),
    ),
    (
        "bridges.mqtt.*.forwards.topic",
        Is("bridges.mqtt.<name>.forwards.local_topic"),
    ),
    (
        "bridges.mqtt.*.subscription.topic",
        Is("bridges.mqtt.<name>.subscription.remote_topic"),
    ),
];

/// Values of another kind than is wanted, and what to write.
pub(super) const VALUES: &[(&str, &str)] = &[
    (
        "bridges.mqtt",
        "a name comes first: `bridges.mqtt.<name> { … }`",
    ),
    (
        "bridges.mqtt.*.server",
        "a list of hubs goes into `servers`",
    ),
    (
        "bridges.mqtt.*.servers",
        "write `[\"mqtt-tcp://host:port\"]`",
    ),
    (
        "bridges.mqtt.*.proto_ver",
        "write 5 for MQTT 5, 4 for MQTT 3.1.1",
    ),
    (
        "bridges.mqtt.*.proxy",
        "write `{ url = \"http://host:port\" }`",
    ),
    ("bridges.mqtt.*.tcp.keepalive", "the time is `keepidle`"),
    (
        "bridges.mqtt.*.forwards",
        "write `[{ local_topic = \"a/#\" }]`",
    ),
    (
        "bridges.mqtt.*.forwards.retain",
        "write 0 for off, 1 for on, 2 for as published",
    ),
    (
        "bridges.mqtt.*.subscription",
        "write `[{ remote_topic = \"a/#\" }]`",
    ),
    (
        "bridges.mqtt.*.subscription.retain",
        "write 0 for off, 1 for on, 2 for as published",
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load_text;

    #[test]
    fn mistakes_in_bridges_are_answered_with_what_to_write() {
        let rules = "forwards = [{ local_topic = \"a/#\" }]";
        let table = [
            (
                "topic = \"# both 2\"",
                "in `subscription = [{ remote_topic = \"a/#\" }]`",
            ),
            (
                "remote_username = u",
                "it is `bridges.mqtt.<name>.username` here",
            ),
            (
                "cleansession = true",
                "it is `bridges.mqtt.<name>.clean_start` here",
            ),
            (
                "try_private = true",
                "it is `bridges.mqtt.<name>.no_local_v4` here",
            ),
            (
                "bridge_cafile = x",
                "it is `bridges.mqtt.<name>.ssl.cacertfile` here",
            ),
            ("client_id = c", "did you mean `clientid`?"),
            ("servers = hub", "write `[\"mqtt-tcp://host:port\"]`"),
            ("proto_ver = mqttv5", "write 5 for MQTT 5, 4 for MQTT 3.1.1"),
            (
                "proxy = \"http://p:1\"",
                "write `{ url = \"http://host:port\" }`",
            ),
            ("tcp.keepalive = 5", "the time is `keepidle`"),
            (
                "subscription = \"a/#\"",
                "write `[{ remote_topic = \"a/#\" }]`",
            ),
            (
                "subscription = [\"a/#\"]",
                "write `[{ remote_topic = \"a/#\" }]`",
            ),
            (
                "subscription = [{ remote_topic = a, retain = true }]",
                "write 0 for off, 1 for on, 2 for as published",
            ),
            (
                "subscription = [{ remote_topic = a, qos = 3 }]",
                "QoS is 0, 1 or 2, not 3",
            ),
            (
                "subscription = [{ remote_topic = a, local_topic = \"b/+\" }]",
                "`remote_topic` has no wildcard, so there can be none here",
            ),
            (
                "username = \"u\" password = \"p\"",
                "a further key on the line a comma before it",
            ),
        ];
        for (text, expected) in table {
            let text = format!("bridges.mqtt.hub {{\n server = hub\n {rules}\n {text}\n}}");
            let error = load_text(Path::new("t.conf"), &text, []).err();
            let error = error.map(|it| it.to_string()).unwrap_or_default();
            assert!(error.ends_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_bridge_in_the_wrong_place_is_told_where_it_goes() {
        for (text, expected) in [
            (
                "bridges.mqtt = [{ server = hub }]",
                "`bridges.mqtt.<name> { … }`",
            ),
            (
                "bridges.hub { server = hub }",
                "a bridge is `bridges.mqtt.<name>`",
            ),
            (
                "bridges.aws.a { server = hub }",
                "`ssl.alpn = [\"x-amzn-mqtt-ca\"]`",
            ),
            (
                "bridges.mqtt.a { server = [hub] }",
                "a list of hubs goes into `servers`",
            ),
        ] {
            let error = load_text(Path::new("t.conf"), text, []).err();
            let error = error.map(|it| it.to_string()).unwrap_or_default();
            assert!(error.ends_with(expected), "{text}: {error}");
        }
    }
}
