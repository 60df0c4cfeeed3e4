//! Where a listener listens.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

/// `host:port`, `[ipv6]:port`, or only `:port` or `port` for all IPv4 addresses of the machine.
/// With port 0 the system chooses one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct BindAddress {
    host: String,
    port: u16,
}

/// All IPv4 addresses.
const ANY_HOST: &str = "0.0.0.0";

impl BindAddress {
    /// The loopback interface's MQTT port.
    pub(crate) fn loopback() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 1883,
        }
    }

    /// The TCP port; 0 if the system shall choose.
    #[must_use]
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether only programs on this machine can connect.
    #[must_use]
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|host| host.contains(':'))?,
            None if host.is_empty() => ANY_HOST,
            None => host,
        };
        let is_address = host.parse::<IpAddr>().is_ok();
        let is_bracketed = text.starts_with('[');
        let is_name = host
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "-._".contains(character));
        let is_digits = port.chars().all(|character| character.is_ascii_digit());
        if !(is_digits && if is_bracketed { is_address } else { is_name }) {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl TryFrom<String> for BindAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("expected `host:port` such as `127.0.0.1:1883`, found {text:?}"))
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}
