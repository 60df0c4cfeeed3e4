//! What the operator writes under `gateways.nng.<name>`.

use std::num::{NonZeroU16, NonZeroU32};

use gateway::{ConfigError, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate};
use serde::Deserialize;

use crate::io::{self, Role};

/// Messages a socket queues unless the operator says otherwise, and at most: the library's own
/// defaults are 128 and 16, which any burst overflows.
const BUFFER_MESSAGES: NonZeroU16 = NonZeroU16::new(8192).unwrap();
/// Bytes of one received message unless the operator says otherwise.
const MESSAGE_BYTES_MAX: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();
/// Said of rules that are missing.
const NO_RULE: &str = "is empty, so the gateway would do nothing here";
/// What separates subject and payload unless the operator says otherwise.
const DELIMITER: &str = "/";

/// One NNG gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The sub0 socket.
    #[serde(rename = "sub")]
    pub subscribe: Subscribe,
    /// The pub0 socket.
    #[serde(rename = "pub")]
    pub publish: Publish,
    /// How received messages become MQTT messages. The first rule whose prefix fits is used.
    pub to_mqtt: Vec<ToMqtt>,
    /// Which MQTT messages are sent, and how. The first rule whose filter matches is used.
    pub from_mqtt: Vec<FromMqtt>,
    /// Bytes of the largest message accepted from a peer. A peer that sends a larger one is
    /// disconnected.
    pub message_bytes_max: NonZeroU32,
}

/// The sub0 socket of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    /// Endpoints of pub0 sockets to dial, such as `tcp://10.0.0.7:9900`.
    pub dial: Vec<String>,
    /// Endpoints at which pub0 sockets dial the gateway, such as `ipc:///run/line.ipc`.
    pub listen: Vec<String>,
    /// Messages queued in the library, and as many again in the gateway, while the broker is
    /// busy; 1 to 8192.
    pub receive_buffer_messages: NonZeroU16,
}

/// The pub0 socket of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Endpoints of sub0 sockets to dial.
    pub dial: Vec<String>,
    /// Endpoints at which sub0 sockets dial the gateway.
    pub listen: Vec<String>,
    /// Messages queued per slow subscriber, after which it loses the oldest; 1 to 8192.
    pub send_buffer_messages: NonZeroU16,
}

/// One rule from NNG to MQTT.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToMqtt {
    /// What the message begins with; empty for everything.
    pub prefix: String,
    /// What separates subject and payload. With `/`, the default, and with nothing, the subject is
    /// the rule's prefix, as `NanoMQ` has it; with anything else it ends at the first delimiter
    /// behind the prefix.
    pub delimiter: String,
    /// The topic to publish to, from `${gateway}`, `${prefix}` and `${subject}`;
    /// `nng/${gateway}/${subject}` if absent.
    pub topic: Option<ConfiguredTemplate>,
    /// The QoS to publish with.
    pub qos: ConfiguredQoS,
    /// Whether the broker is to retain the message.
    pub retain: bool,
}

/// One rule from MQTT to NNG.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromMqtt {
    /// What to receive from MQTT.
    pub filter: ConfiguredFilter,
    /// What the message begins with, from `${topic}`, `${gateway}` and the filter's wildcards
    /// `$1`, `$2`; `${topic}` if absent.
    #[serde(default)]
    pub prefix: Option<ConfiguredTemplate>,
    /// What separates prefix and payload.
    #[serde(default = "delimiter")]
    pub delimiter: String,
    /// The highest QoS to receive with.
    #[serde(default)]
    pub qos: ConfiguredQoS,
}

fn delimiter() -> String {
    DELIMITER.to_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subscribe: Subscribe::default(),
            publish: Publish::default(),
            to_mqtt: Vec::new(),
            from_mqtt: Vec::new(),
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

impl Default for Subscribe {
    fn default() -> Self {
        Self {
            dial: Vec::new(),
            listen: Vec::new(),
            receive_buffer_messages: BUFFER_MESSAGES,
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            dial: Vec::new(),
            listen: Vec::new(),
            send_buffer_messages: BUFFER_MESSAGES,
        }
    }
}

impl Default for ToMqtt {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            delimiter: delimiter(),
            topic: None,
            qos: ConfiguredQoS::default(),
            retain: false,
        }
    }
}

impl Config {
    /// Checks what serde cannot; templates are checked where they are compiled.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (subscribe, publish) = (&self.subscribe, &self.publish);
        check_endpoints("sub", &subscribe.dial, &subscribe.listen)?;
        check_endpoints("pub", &publish.dial, &publish.listen)?;
        check_buffer(
            "sub.receive_buffer_messages",
            subscribe.receive_buffer_messages,
        )?;
        check_buffer("pub.send_buffer_messages", publish.send_buffer_messages)?;
        let has_sub = !subscribe.dial.is_empty() || !subscribe.listen.is_empty();
        let has_pub = !publish.dial.is_empty() || !publish.listen.is_empty();
        check_use("sub", has_sub, "to_mqtt", !self.to_mqtt.is_empty())?;
        check_use("pub", has_pub, "from_mqtt", !self.from_mqtt.is_empty())?;
        if !has_sub && !has_pub {
            return Err(ConfigError::new("to_mqtt", NO_RULE));
        }
        self.check_to_mqtt()
    }

    fn check_to_mqtt(&self) -> Result<(), ConfigError> {
        for (index, rule) in self.to_mqtt.iter().enumerate() {
            let mut earlier = self.to_mqtt.iter().take(index);
            if let Some(first) = earlier.position(|other| rule.prefix.starts_with(&other.prefix)) {
                let key = format!("to_mqtt[{index}]");
                let problem = format!(
                    "is never used: `to_mqtt[{first}]` comes first and its prefix covers this one"
                );
                return Err(ConfigError::new(key, problem));
            }
        }
        Ok(())
    }
}

fn check_endpoints(socket: &str, dial: &[String], listen: &[String]) -> Result<(), ConfigError> {
    for (key, role, endpoints) in [("dial", Role::Dial, dial), ("listen", Role::Listen, listen)] {
        for (index, endpoint) in endpoints.iter().enumerate() {
            let key = format!("{socket}.{key}[{index}]");
            if endpoints.iter().take(index).any(|other| other == endpoint) {
                // Every message would come twice.
                let problem = format!("`{endpoint}` is listed twice");
                return Err(ConfigError::new(key, problem));
            }
            io::check_endpoint(endpoint, role).map_err(|cause| {
                ConfigError::new(key, format!("`{endpoint}` cannot be used here: {cause}"))
            })?;
        }
    }
    Ok(())
}

fn check_buffer(key: &str, messages: NonZeroU16) -> Result<(), ConfigError> {
    if messages > BUFFER_MESSAGES {
        let problem = format!("must not be more than {BUFFER_MESSAGES}");
        return Err(ConfigError::new(key, problem));
    }
    Ok(())
}

/// A socket and its rules come together or not at all.
fn check_use(
    socket: &str,
    has_endpoint: bool,
    rules: &str,
    has_rule: bool,
) -> Result<(), ConfigError> {
    match (has_endpoint, has_rule) {
        (true, false) => Err(ConfigError::new(rules, NO_RULE)),
        (false, true) => {
            let problem = format!(
                "has neither `dial` nor `listen`, so the rules of `{rules}` have no effect"
            );
            Err(ConfigError::new(socket, problem))
        }
        (true, true) | (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_checked() {
        let subscribed = r#"sub.dial = ["tcp://127.0.0.1:1"]"#;
        let published = r#"pub.listen = ["tcp://*:1"]"#;
        let table = [
            (format!("{subscribed}\nto_mqtt = [{{}}]"), None),
            (
                format!("{published}\nfrom_mqtt = [{{ filter = \"a/#\" }}]"),
                None,
            ),
            (
                "sub.listen = [\"ipc:///run/x\"]\nto_mqtt = [{}]".to_owned(),
                None,
            ),
            (
                "sub.dial = [\"tcp://[::1]:1\"]\nto_mqtt = [{}]".to_owned(),
                None,
            ),
            (String::new(), Some("to_mqtt")),
            (subscribed.to_owned(), Some("to_mqtt")),
            (published.to_owned(), Some("from_mqtt")),
            ("to_mqtt = [{}]".to_owned(), Some("sub")),
            ("from_mqtt = [{ filter = \"a\" }]".to_owned(), Some("pub")),
            (
                r#"sub.listen = ["tcp://*:1", "tcp://*:1"]"#.to_owned(),
                Some("sub.listen[1]"),
            ),
            (
                r#"sub.dial = ["tcp://*:1"]"#.to_owned(),
                Some("sub.dial[0]"),
            ),
            (r#"sub.dial = ["tcp://:1"]"#.to_owned(), Some("sub.dial[0]")),
            (
                r#"sub.dial = ["tcp://127.0.0.1:0"]"#.to_owned(),
                Some("sub.dial[0]"),
            ),
            (
                r#"pub.dial = ["ws://127.0.0.1:1"]"#.to_owned(),
                Some("pub.dial[0]"),
            ),
            (
                r#"pub.listen = ["tcp://127.0.0.1"]"#.to_owned(),
                Some("pub.listen[0]"),
            ),
            (
                r#"pub.listen = ["ipc://"]"#.to_owned(),
                Some("pub.listen[0]"),
            ),
            (
                "sub.receive_buffer_messages = 8193".to_owned(),
                Some("sub.receive_buffer_messages"),
            ),
            (
                "pub.send_buffer_messages = 8193".to_owned(),
                Some("pub.send_buffer_messages"),
            ),
            (
                format!("{subscribed}\nto_mqtt = [{{ prefix = \"a\" }}, {{ prefix = \"ab\" }}]"),
                Some("to_mqtt[1]"),
            ),
        ];
        for (text, expected) in table {
            let config: Config = toml::from_str(&text).unwrap();
            let key = config.check().err().map(|error| error.key);
            assert_eq!(key.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn hosts_are_checked() {
        for endpoint in [
            "sub.dial = [\"tcp://a b:1\"]",
            "sub.listen = [\"tcp://10.0.0.256:1\"]",
        ] {
            let config: Config = toml::from_str(endpoint).unwrap();
            let error = config.check().unwrap_err();
            assert!(error.problem.contains("the host is n"), "{error}");
        }
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        let table = [
            "to_mqtt = [{ prefx = \"a\" }]",
            "to_mqtt = [{ qos = 3 }]",
            "to_mqtt = [{ topic = \"a/${b\" }]",
            "from_mqtt = [{ filter = \"a/#/b\" }]",
            "from_mqtt = [{ prefix = \"a\" }]",
            "message_bytes_max = 0",
            "sub.receive_buffer_messages = 0",
            "sub.bind = []",
        ];
        for text in table {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
    }
}
