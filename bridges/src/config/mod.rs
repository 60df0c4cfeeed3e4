//! What the operator writes under `bridges.mqtt.<name>`; the key names are NanoMQ's.

mod endpoint;
mod properties;
mod proxy;
mod rule;
mod tcp;
mod tls;

use std::time::Duration;

use gateway::{ConfigError, ConfiguredDuration};
use serde::Deserialize;

pub(crate) use endpoint::write_authority;
pub use self::properties::Properties;
pub use self::rule::{Forward, Subscription};
use crate::site::Site;
pub use endpoint::{Endpoint, InvalidEndpoint, Transport};
pub use proxy::{InvalidProxyUrl, Proxy, ProxyProtocol, ProxyUrl};
pub use tcp::Tcp;
pub use tls::Tls;

/// One bridge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// False leaves the bridge out; its outbox stays.
    #[serde(default = "enabled")]
    pub enable: bool,
    /// The hub: `mqtt-tcp://host:port`, `mqtt://host`, `tcp://host` or `host:port`; the port is
    /// 1883 if absent.
    pub server: String,
    /// The protocol version, 5.
    #[serde(default = "protocol_version")]
    pub proto_ver: u8,
    /// The Client Identifier at the hub, from `${gateway}` (the bridge's name), `${HOSTNAME}` and
    /// `${VIN}`; `${HOSTNAME}-${gateway}` if absent. If there is a VIN it stands at the end, unless
    /// it stands elsewhere. It names the session that the hub keeps, so it must stay the same.
    pub clientid: Option<String>,
    /// The user name at the hub, from the same placeholders.
    pub username: Option<String>,
    /// The password at the hub.
    pub password: Option<String>,
    /// The Keep Alive towards the hub, 5 to 65,535 seconds.
    #[serde(default = "keep_alive")]
    pub keepalive: ConfiguredDuration,
    /// True makes the hub forget the bridge's session at every connect.
    #[serde(default)]
    pub clean_start: bool,
    /// How long the hub is asked to keep the bridge's session.
    #[serde(default = "session_expiry")]
    pub session_expiry_interval: ConfiguredDuration,
    /// The longest pause between two attempts to connect.
    #[serde(default = "backoff_max")]
    pub backoff_max: ConfiguredDuration,
    /// How long an attempt to connect may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: ConfiguredDuration,
    /// Messages that may be unacknowledged in each direction, 1 to 4,096.
    #[serde(default = "max_inflight")]
    pub max_inflight: u16,
    /// Bytes of the largest packet from or to the hub.
    #[serde(default = "max_packet_size")]
    pub max_packet_size: u32,
    /// What goes to the hub. All rules that match a message apply.
    #[serde(default)]
    pub forwards: Vec<Forward>,
    /// What comes from the hub. The first rule that matches a message applies.
    #[serde(default)]
    pub subscription: Vec<Subscription>,
}

const fn enabled() -> bool {
    true
}

const fn protocol_version() -> u8 {
    5
}

const fn keep_alive() -> ConfiguredDuration {
    ConfiguredDuration::from_secs(30)
}

const fn session_expiry() -> ConfiguredDuration {
    ConfiguredDuration::from_secs(24 * 3_600)
}

const fn backoff_max() -> ConfiguredDuration {
    ConfiguredDuration::from_secs(60)
}

const fn connect_timeout() -> ConfiguredDuration {
    ConfiguredDuration::from_secs(10)
}

const fn max_inflight() -> u16 {
    256
}

const fn max_packet_size() -> u32 {
    1 << 20
}

impl Config {
    /// Checks what a single value cannot show.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.proto_ver != 5 {
            let problem = "bridges speak MQTT 5 only, so this must be 5";
            return Err(ConfigError::new("proto_ver", problem));
        }
        let seconds = self.keepalive.0;
        if seconds < Duration::from_secs(5) || seconds > Duration::from_secs(u16::MAX.into()) {
            return Err(ConfigError::new("keepalive", "must be from 5s to 65535s"));
        }
        if !(1..=4_096).contains(&self.max_inflight) {
            return Err(ConfigError::new("max_inflight", "must be from 1 to 4096"));
        }
        if self.forwards.is_empty() && self.subscription.is_empty() {
            let problem = "is empty and so is `subscription`: the bridge would do nothing";
            return Err(ConfigError::new("forwards", problem));
        }
        let mut forwards = self.forwards.iter().enumerate();
        forwards.try_for_each(|(at, rule)| rule.check(&format!("forwards[{at}]")))?;
        let mut subscription = self.subscription.iter().enumerate();
        subscription.try_for_each(|(at, rule)| rule.check(&format!("subscription[{at}]")))?;
        self.address().map(drop)
    }

    /// Puts the values of the site into what is said to the hub of the bridge itself.
    pub(crate) fn placed(mut self, site: &Site) -> Result<Self, ConfigError> {
        self.clientid = Some(site.client_id(self.clientid.as_deref())?);
        if let Some(username) = &mut self.username {
            *username = site.text("username", username)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let rule = "forwards = [{ local_topic = \"a/#\"";
        let table = [
            (format!("{rule} }}]\nproto_ver = 4"), "proto_ver"),
            (format!("{rule} }}]\nkeepalive = 1"), "keepalive"),
            (format!("{rule} }}]\nmax_inflight = 0"), "max_inflight"),
            (format!("{rule}, qos = 2 }}]"), "forwards[0].qos"),
            (format!("{rule}, retain = 3 }}]"), "forwards[0].retain"),
            (String::new(), "forwards"),
        ];
        for (text, key) in table {
            let error = config(&format!("server = \"hub\"\n{text}"))
                .check()
                .unwrap_err();
            assert_eq!(error.key, key, "{error}");
        }
    }
}
