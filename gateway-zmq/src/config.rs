//! What the operator writes under `gateways.zmq.<name>`.

use std::num::NonZeroU32;

use gateway::{ConfigError, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate};
use serde::Deserialize;

use crate::io::{self, Role};

/// Messages a socket queues unless the operator says otherwise.
const HIGH_WATER_MARK: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// The library reserves its queues at once; above this it ignores the number.
const HIGH_WATER_MARK_MAX: u32 = 1 << 20;
/// Bytes of one received message unless the operator says otherwise.
const MESSAGE_BYTES_MAX: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();
/// Said of rules that are missing.
const NO_RULE: &str = "is empty, so the gateway would do nothing here";

/// One `ZeroMQ` gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The SUB socket.
    #[serde(rename = "sub")]
    pub subscribe: Subscribe,
    /// The PUB socket.
    #[serde(rename = "pub")]
    pub publish: Publish,
    /// How received messages become MQTT messages. The first rule whose prefix fits is used.
    pub to_mqtt: Vec<ToMqtt>,
    /// Which MQTT messages are sent, and how. The first rule whose filter matches is used.
    pub from_mqtt: Vec<FromMqtt>,
    /// Largest message accepted from a peer, all frames together, plus some 50 bytes that the
    /// library adds for each frame. A peer that sends a larger one is disconnected.
    pub message_bytes_max: NonZeroU32,
}

/// The SUB socket of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    /// Endpoints of PUB sockets to connect to, such as `tcp://10.0.0.7:5556`.
    pub connect: Vec<String>,
    /// Endpoints at which PUB sockets connect to the gateway, such as `tcp://*:5556`.
    pub bind: Vec<String>,
    /// Messages queued per peer while the broker is busy; then TCP slows the peer.
    pub receive_high_water_mark: NonZeroU32,
}

/// The PUB socket of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Endpoints of SUB sockets (or an XSUB proxy) to connect to.
    pub connect: Vec<String>,
    /// Endpoints at which SUB sockets connect to the gateway.
    pub bind: Vec<String>,
    /// Messages queued per slow subscriber; further ones are lost to it.
    pub send_high_water_mark: NonZeroU32,
}

/// One rule from `ZeroMQ` to MQTT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToMqtt {
    /// What the first frame begins with; empty for everything.
    pub prefix: String,
    /// Splits a message of one frame into `${frame}` and payload.
    pub delimiter: Option<String>,
    /// The topic to publish to, from `${gateway}`, `${prefix}` and `${frame}`;
    /// `zmq/${gateway}/${frame}` if absent.
    pub topic: Option<ConfiguredTemplate>,
    /// The QoS to publish with.
    pub qos: ConfiguredQoS,
    /// Whether the broker is to retain the message.
    pub retain: bool,
    /// What becomes of several payload frames.
    pub multipart: Multipart,
}

/// What becomes of several payload frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multipart {
    /// One message: a JSON array of Base64 strings, content type `application/json`.
    #[default]
    Json,
    /// One message: the frames one after the other, their borders lost.
    Join,
    /// One message: the last frame.
    Last,
    /// A message for each frame.
    Each,
}

/// One rule from MQTT to `ZeroMQ`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromMqtt {
    /// What to receive from MQTT.
    pub filter: ConfiguredFilter,
    /// The topic frame, from `${topic}`, `${gateway}` and the filter's wildcards `$1`, `$2`;
    /// `${topic}` if absent.
    #[serde(default)]
    pub frame: Option<ConfiguredTemplate>,
    /// The highest QoS to receive with.
    #[serde(default)]
    pub qos: ConfiguredQoS,
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
            connect: Vec::new(),
            bind: Vec::new(),
            receive_high_water_mark: HIGH_WATER_MARK,
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            connect: Vec::new(),
            bind: Vec::new(),
            send_high_water_mark: HIGH_WATER_MARK,
        }
    }
}

impl Config {
    /// Checks what serde cannot; templates are checked where they are compiled.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (subscribe, publish) = (&self.subscribe, &self.publish);
        check_endpoints("sub", &subscribe.connect, &subscribe.bind)?;
        check_endpoints("pub", &publish.connect, &publish.bind)?;
        check_high_water_mark(
            "sub.receive_high_water_mark",
            subscribe.receive_high_water_mark,
        )?;
        check_high_water_mark("pub.send_high_water_mark", publish.send_high_water_mark)?;
        let has_sub = !subscribe.connect.is_empty() || !subscribe.bind.is_empty();
        let has_pub = !publish.connect.is_empty() || !publish.bind.is_empty();
        check_use("sub", has_sub, "to_mqtt", !self.to_mqtt.is_empty())?;
        check_use("pub", has_pub, "from_mqtt", !self.from_mqtt.is_empty())?;
        if !has_sub && !has_pub {
            return Err(ConfigError::new("to_mqtt", NO_RULE));
        }
        self.check_to_mqtt()
    }

    fn check_to_mqtt(&self) -> Result<(), ConfigError> {
        for (index, rule) in self.to_mqtt.iter().enumerate() {
            if rule.delimiter.as_deref() == Some("") {
                let key = format!("to_mqtt[{index}].delimiter");
                let problem = "must not be empty; leave it out to keep single frames whole";
                return Err(ConfigError::new(key, problem));
            }
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

fn check_endpoints(socket: &str, connect: &[String], bind: &[String]) -> Result<(), ConfigError> {
    for (key, role, endpoints) in [
        ("connect", Role::Connect, connect),
        ("bind", Role::Bind, bind),
    ] {
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

fn check_high_water_mark(key: &str, messages: NonZeroU32) -> Result<(), ConfigError> {
    if messages.get() > HIGH_WATER_MARK_MAX {
        let problem = format!("must not be more than {HIGH_WATER_MARK_MAX}");
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
                "has neither `connect` nor `bind`, so the rules of `{rules}` have no effect"
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
        let subscribed = r#"sub.connect = ["tcp://127.0.0.1:1"]"#;
        let published = r#"pub.bind = ["tcp://*:1"]"#;
        let table = [
            (format!("{subscribed}\nto_mqtt = [{{}}]"), None),
            (
                format!("{published}\nfrom_mqtt = [{{ filter = \"a/#\" }}]"),
                None,
            ),
            (String::new(), Some("to_mqtt")),
            (subscribed.to_owned(), Some("to_mqtt")),
            (published.to_owned(), Some("from_mqtt")),
            ("to_mqtt = [{}]".to_owned(), Some("sub")),
            ("from_mqtt = [{ filter = \"a\" }]".to_owned(), Some("pub")),
            (
                r#"sub.bind = ["tcp://*:1", "tcp://*:1"]"#.to_owned(),
                Some("sub.bind[1]"),
            ),
            (
                r#"sub.connect = ["tcp://*:1"]"#.to_owned(),
                Some("sub.connect[0]"),
            ),
            (
                r#"sub.connect = ["tcp://127.0.0.1:0"]"#.to_owned(),
                Some("sub.connect[0]"),
            ),
            (
                r#"sub.connect = ["tcp://10.0.0.256:1"]"#.to_owned(),
                Some("sub.connect[0]"),
            ),
            (
                r#"pub.connect = ["udp://127.0.0.1:1"]"#.to_owned(),
                Some("pub.connect[0]"),
            ),
            (
                r#"pub.bind = ["127.0.0.1:1"]"#.to_owned(),
                Some("pub.bind[0]"),
            ),
            (
                "sub.receive_high_water_mark = 9999999".to_owned(),
                Some("sub.receive_high_water_mark"),
            ),
            (
                format!("{subscribed}\nto_mqtt = [{{ delimiter = \"\" }}]"),
                Some("to_mqtt[0].delimiter"),
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
    fn unknown_keys_and_bad_values_are_refused() {
        let table = [
            "to_mqtt = [{ prefx = \"a\" }]",
            "to_mqtt = [{ qos = 3 }]",
            "to_mqtt = [{ topic = \"a/${b\" }]",
            "to_mqtt = [{ multipart = \"xml\" }]",
            "from_mqtt = [{ filter = \"a/#/b\" }]",
            "from_mqtt = [{ frame = \"a\" }]",
            "message_bytes_max = 0",
            "sub.listen = []",
        ];
        for text in table {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
    }
}
