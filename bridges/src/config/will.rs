//! `will`: what the hub says of the bridge when it is lost.

use gateway::{ConfigError, ConfiguredQoS};
use serde::Deserialize;

use super::{Flag, Properties};

/// The Will Message (MQTT 5.0 §3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Will {
    /// Its topic at the hub, from `${gateway}`, `${HOSTNAME}` and `${VIN}`.
    pub topic: String,
    /// Its payload, which may be empty.
    pub payload: String,
    /// The QoS that the hub publishes it with; 0 if absent.
    #[serde(default)]
    pub qos: ConfiguredQoS,
    /// Whether the hub retains it; false if absent.
    #[serde(default)]
    pub retain: Flag,
    /// Its properties; MQTT 3 has none.
    #[serde(default)]
    pub properties: Properties,
}

impl Will {
    /// Checks what a single value cannot show.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.payload.len() > usize::from(u16::MAX) {
            let problem = "must not be longer than 65535 bytes";
            return Err(ConfigError::new("will.payload", problem));
        }
        self.properties.check("will.properties")
    }
}
