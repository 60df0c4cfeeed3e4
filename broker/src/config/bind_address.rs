//! Where a listener listens.

use std::fmt;
use std::net::IpAddr;

use gateway::check_host;
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

    /// Whether it is all addresses of the machine, of one kind or of both.
    #[must_use]
    pub(crate) fn is_any(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        address.is_ok_and(|address| address.is_unspecified())
    }

    /// Whether only programs on this machine can connect.
    #[must_use]
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains("://") {
            return Err("there is no scheme here");
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = if host.is_empty() { ANY_HOST } else { host };
        if host == "*" {
            return Err("all addresses are 0.0.0.0");
        }
        let port = Some(port).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|it| it.parse().ok());
        let port = port.ok_or("the port is no number from 0 to 65535")?;
        check_host(host)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for BindAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|reason| {
            format!("expected `host:port` such as `127.0.0.1:1883`, found {text:?}: {reason}")
        })
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
