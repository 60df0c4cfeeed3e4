//! The configuration of one DDS gateway, as it is written in the daemon's file.

use std::path::PathBuf;

use gateway::{ConfigError, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate};
use serde::Deserialize;

use crate::idl::{Idl, IdlError};
use crate::io::{DomainSettings, EndpointSettings, HISTORY_MAX};

/// One DDS gateway.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Config {
    /// The domain id, 0 to 232; default 0.
    #[serde(default)]
    pub domain: u32,
    /// The network interface, by name or address, such as `"lo"`; default is the DDS stack's
    /// choice, which is one interface that is not the loopback.
    #[serde(default)]
    pub interface: Option<String>,
    /// Whether peers are found by multicast; default true. If false, only this machine and the
    /// addresses in `peers` are tried.
    #[serde(default = "default_multicast")]
    pub multicast: bool,
    /// Addresses, each with an optional `:port`, to look for peers at.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Vendors whose type information is ignored; default `["1.15"]`, Fast DDS, whose 2.x sends a
    /// form that would make the DDS stack refuse its endpoints altogether.
    #[serde(default = "default_ignore_type_information")]
    pub ignore_type_information: Vec<String>,
    /// Bytes of the largest DDS sample in either direction, 1024 to 1073741824; default 1 MiB.
    /// Larger ones are dropped by the DDS stack, which says so in the log.
    #[serde(default = "default_sample_bytes_max")]
    pub sample_bytes_max: u32,
    /// The types, as IDL text; see [`crate::idl`] for the subset that is understood.
    #[serde(default)]
    pub idl: Option<String>,
    /// A file with the types, instead of `idl`. Read when the gateway is built.
    #[serde(default)]
    pub idl_file: Option<PathBuf>,
    /// What is received from DDS and published to MQTT.
    #[serde(default)]
    pub to_mqtt: Vec<ToMqttRule>,
    /// What is received from MQTT and written to DDS. The first rule whose filter matches is used.
    #[serde(default)]
    pub from_mqtt: Vec<FromMqttRule>,
}

/// Publishes the samples of one DDS topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct ToMqttRule {
    /// The DDS topic.
    pub dds_topic: String,
    /// The name of its type, such as `"Demo::Reading"`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The Topic Name to publish to; default `dds/${domain}/${dds_topic}`. Placeholders:
    /// `gateway`, `domain`, `dds_topic`, `type` and every top-level member of the type that is a
    /// number, a boolean, a character, a string or an enum.
    #[serde(default)]
    pub topic: Option<ConfiguredTemplate>,
    /// The QoS to publish with; default 1 for a reliable rule and 0 for a best effort one.
    #[serde(default)]
    pub qos: Option<ConfiguredQoS>,
    /// Whether the messages are retained; default false.
    #[serde(default)]
    pub retain: bool,
    /// Default `"reliable"`, which does not match a writer that is best effort.
    #[serde(default)]
    pub reliability: Reliability,
    /// Default `"volatile"`; `"transient_local"` also asks writers for what they wrote before,
    /// and does not match a writer that is volatile.
    #[serde(default)]
    pub durability: Durability,
    /// Samples that are kept of each instance until they are published, 1 to 16384; default is
    /// all of them, up to 16384 for the topic. When that is full a reliable writer has to wait,
    /// and samples of a best effort one are lost. A small depth is for data of which only the
    /// newest matters.
    #[serde(default)]
    pub history_depth: Option<u32>,
    /// Partitions to be in, wildcards allowed; default is the one without a name.
    #[serde(default)]
    pub partitions: Vec<String>,
}

/// Writes MQTT messages to one DDS topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct FromMqttRule {
    /// Which messages; their payload is the sample as JSON.
    pub filter: ConfiguredFilter,
    /// The DDS topic.
    pub dds_topic: String,
    /// The name of its type, such as `"Demo::Command"`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The highest QoS to receive with; default 1. With 1 or 2 what arrives while the gateway is
    /// down is kept for it.
    #[serde(default = "default_qos")]
    pub qos: ConfiguredQoS,
    /// Default `"reliable"`, which also serves readers that are best effort.
    #[serde(default)]
    pub reliability: Reliability,
    /// Default `"volatile"`; with `"transient_local"` readers that come later get the newest
    /// samples of each instance, as many as `history_depth`, or one.
    #[serde(default)]
    pub durability: Durability,
    /// Samples of each instance that are kept until all readers have them, 1 to 16384; default is
    /// all. With a depth, older ones are replaced when readers do not keep up.
    #[serde(default)]
    pub history_depth: Option<u32>,
    /// Partitions to be in; default is the one without a name.
    #[serde(default)]
    pub partitions: Vec<String>,
}

/// Whether lost samples are sent again.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Reliability {
    /// They are, until every reader has them.
    #[default]
    Reliable,
    /// They are not.
    BestEffort,
}

/// Whether readers that come late get what was written before.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// They do not.
    #[default]
    Volatile,
    /// They do, as long as the writer exists.
    TransientLocal,
}

const fn default_multicast() -> bool {
    true
}

fn default_ignore_type_information() -> Vec<String> {
    DomainSettings::default().ignore_type_information
}

fn default_sample_bytes_max() -> u32 {
    DomainSettings::default().sample_bytes_max
}

const fn default_qos() -> ConfiguredQoS {
    ConfiguredQoS(mqtt::QoS::AtLeastOnce)
}

impl Config {
    /// Where and how the gateway looks for peers.
    #[must_use]
    pub fn domain_settings(&self) -> DomainSettings {
        DomainSettings {
            domain: self.domain,
            interface: self.interface.clone(),
            multicast: self.multicast,
            peers: self.peers.clone(),
            ignore_type_information: self.ignore_type_information.clone(),
            sample_bytes_max: self.sample_bytes_max,
        }
    }

    /// The types, from the configuration itself or from the file.
    pub(crate) fn types(&self) -> Result<Idl, ConfigError> {
        match (&self.idl, &self.idl_file) {
            (Some(_), Some(_)) => {
                let problem = "`idl` and `idl_file` exclude each other";
                Err(ConfigError::new("idl_file", problem))
            }
            (Some(text), None) => Idl::parse(text).map_err(|error| {
                ConfigError::within("idl", error.line, error.column, error.detail)
            }),
            (None, Some(path)) => {
                let file = path.display();
                let error = |problem| ConfigError::new("idl_file", problem);
                let text = std::fs::read_to_string(path)
                    .map_err(|cause| error(format!("{file} cannot be read: {cause}")))?;
                Idl::parse(&text).map_err(|cause| {
                    let IdlError {
                        line,
                        column,
                        detail,
                    } = cause;
                    error(format!("{file}:{line}:{column}: {detail}"))
                })
            }
            (None, None) => {
                let problem = "`idl` or `idl_file` is missing: it describes the types";
                Err(ConfigError::new("idl", problem))
            }
        }
    }
}

impl ToMqttRule {
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            reliability: self.reliability,
            durability: self.durability,
            history_depth: self.history_depth,
            partitions: self.partitions.clone(),
        }
    }
}

impl FromMqttRule {
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            reliability: self.reliability,
            durability: self.durability,
            history_depth: self.history_depth,
            partitions: self.partitions.clone(),
        }
    }
}

/// Checks what the DDS stack would refuse without saying why, in the rule at `place`.
pub(crate) fn check_endpoint(
    place: &str,
    dds_topic: &str,
    endpoint: &EndpointSettings,
) -> Result<(), ConfigError> {
    let topic_error = |problem| Err(ConfigError::new(format!("{place}.dds_topic"), problem));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*?[]\"'#$".contains(&byte);
    if dds_topic.is_empty() || !dds_topic.bytes().all(is_plain) {
        return topic_error(format!(
            "{dds_topic:?} is not the name of a DDS topic: it has characters other than \
             printable ASCII without spaces and *?[]\"'#$"
        ));
    }
    if dds_topic.starts_with("DCPS") {
        return topic_error(format!(
            "{dds_topic:?} is reserved: names beginning with `DCPS` belong to DDS itself"
        ));
    }
    let depth = endpoint.history_depth;
    if depth.is_some_and(|depth| !(1..=HISTORY_MAX).contains(&depth)) {
        let problem = format!("must be from 1 to {HISTORY_MAX}");
        return Err(ConfigError::new(format!("{place}.history_depth"), problem));
    }
    Ok(())
}
