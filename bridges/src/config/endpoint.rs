//! Where the hub is: its URL.

use std::fmt;
use std::str::FromStr;

use gateway::check_host;
use serde::Deserialize;

/// A hub's address and how it is spoken to.
///
/// ```
/// use bridges::{Endpoint, Transport};
///
/// let hub: Endpoint = "wss://hub.example/mqtt".parse()?;
/// assert_eq!((hub.transport, hub.port), (Transport::SecureWebSocket, 443));
/// # Ok::<(), bridges::InvalidEndpoint>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    /// What carries MQTT.
    pub transport: Transport,
    /// A name or an IP address, that of IPv6 without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
    /// The path and query of a WebSocket, from its first `/`; otherwise empty.
    pub path: String,
}

/// What carries MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// MQTT directly over TCP.
    Tcp,
    /// Over TLS.
    Tls,
    /// In the binary messages of a WebSocket.
    WebSocket,
    /// The same over TLS.
    SecureWebSocket,
    /// In one bidirectional stream of a QUIC connection.
    Quic,
}

/// A URL that is no address of a hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; write {advice}")]
pub struct InvalidEndpoint {
    problem: String,
    advice: &'static str,
}

/// The schemes of NanoMQ, and those of EMQX, Mosquitto and their clients.
const SCHEMES: [(&str, Transport); 12] = [
    ("mqtt-tcp", Transport::Tcp),
    ("mqtt+tcp", Transport::Tcp),
    ("mqtt", Transport::Tcp),
    ("tcp", Transport::Tcp),
    ("tls+mqtt-tcp", Transport::Tls),
    ("mqtts", Transport::Tls),
    ("ssl", Transport::Tls),
    ("tls", Transport::Tls),
    ("ws", Transport::WebSocket),
    ("wss", Transport::SecureWebSocket),
    ("mqtt-quic", Transport::Quic),
    ("quic", Transport::Quic),
];
const WEBSOCKET_PATH: &str = "/mqtt";
const SCHEME_ADVICE: &str = "mqtt-tcp://, tls+mqtt-tcp://, mqtt-quic://, ws:// or wss://";

impl Transport {
    /// The port where a URL names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::WebSocket => 80,
            Self::SecureWebSocket => 443,
            Self::Quic => 14567,
        }
    }

    /// Whether what is sent is encrypted, and the hub has a certificate.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        match self {
            Self::Tls | Self::SecureWebSocket | Self::Quic => true,
            Self::Tcp | Self::WebSocket => false,
        }
    }

    const fn has_path(self) -> bool {
        matches!(self, Self::WebSocket | Self::SecureWebSocket)
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt-tcp://host:port",
            Self::Tls => "tls+mqtt-tcp://host:port",
            Self::WebSocket => "ws://host:port/path",
            Self::SecureWebSocket => "wss://host:port/path",
            Self::Quic => "mqtt-quic://host:port",
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let (transport, rest) = split_scheme(text)?;
        let error = |problem: &str| InvalidEndpoint {
            problem: format!("`{text}`: {problem}"),
            advice: transport.advice(),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            // The text is not repeated, because it may have a password.
            return Err(InvalidEndpoint {
                problem: "credentials go into `username` and `password`".to_owned(),
                advice: transport.advice(),
            });
        }
        if let Some(problem) = slip(text) {
            return Err(error(problem));
        }
        let (host, port) = split_port(authority, Some(transport.default_port())).map_err(error)?;
        Ok(Self {
            transport,
            host: host.to_owned(),
            port,
            path: check_path(path, transport).map_err(error)?,
        })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}

/// The host and the port, as they stand in a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_authority(formatter, &self.host, self.port)
    }
}

/// Writes a host and a port, with the brackets of IPv6.
pub(crate) fn write_authority(
    formatter: &mut fmt::Formatter<'_>,
    host: &str,
    port: u16,
) -> fmt::Result {
    if host.contains(':') {
        write!(formatter, "[{host}]:{port}")
    } else {
        write!(formatter, "{host}:{port}")
    }
}

fn split_scheme(text: &str) -> Result<(Transport, &str), InvalidEndpoint> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((Transport::Tcp, text));
    };
    let known = SCHEMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(scheme));
    let (_, transport) = known.ok_or_else(|| InvalidEndpoint {
        problem: if scheme.starts_with('\'') {
            "single quotes are part of the text".to_owned()
        } else {
            format!("bridges do not speak `{scheme}://`")
        },
        advice: SCHEME_ADVICE,
    })?;
    Ok((*transport, rest))
}

/// What is often written in place of a URL, and is none.
fn slip(text: &str) -> Option<&'static str> {
    let is_scheme = |text: &str| {
        SCHEMES
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(text))
    };
    let (begin, rest) = text.split_once([':', '/']).unwrap_or((text, ""));
    // A host may have such a name, with a port.
    let is_port = rest.bytes().all(|byte| byte.is_ascii_digit());
    if text.contains(',') || text.matches("://").count() > 1 {
        Some("there is one hub here, further ones are in the list `servers`")
    } else if !text.contains("://") && is_scheme(begin) && !is_port {
        Some("`://` is missing behind the scheme")
    } else {
        None
    }
}

/// Splits `host:port`, where IPv6 is in brackets, which the result has not.
pub(super) fn split_port(
    authority: &str,
    default: Option<u16>,
) -> Result<(&str, u16), &'static str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    check_host(host)?;
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or("the port is no number from 1 to 65535")?,
        None => default.ok_or("the port is missing")?,
    };
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

fn check_path(path: &str, transport: Transport) -> Result<String, &'static str> {
    if !transport.has_path() {
        return if path.is_empty() || path == "/" {
            Ok(String::new())
        } else {
            Err("only WebSockets have a path")
        };
    }
    if path.contains('#') || !path.chars().all(|character| character.is_ascii_graphic()) {
        return Err("a path has only printable ASCII, without spaces and `#`");
    }
    Ok(match path.as_bytes().first() {
        None => WEBSOCKET_PATH.to_owned(),
        Some(b'/') => path.to_owned(),
        Some(_) => format!("{WEBSOCKET_PATH}{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        use Transport::{Quic, SecureWebSocket, Tcp, Tls, WebSocket};
        let table = [
            ("mqtt-tcp://hub.example:1884", Tcp, "hub.example", 1884, ""),
            ("mqtt+tcp://hub", Tcp, "hub", 1883, ""),
            ("mqtt://10.0.0.1", Tcp, "10.0.0.1", 1883, ""),
            ("tcp://localhost:1", Tcp, "localhost", 1, ""),
            ("TCP://localhost:1", Tcp, "localhost", 1, ""),
            ("hub:1883", Tcp, "hub", 1883, ""),
            ("hub.example", Tcp, "hub.example", 1883, ""),
            ("mqtt-tcp://[::1]:1884", Tcp, "::1", 1884, ""),
            ("mqtt-tcp://[::1]", Tcp, "::1", 1883, ""),
            ("tls+mqtt-tcp://hub", Tls, "hub", 8883, ""),
            ("mqtts://hub:443", Tls, "hub", 443, ""),
            ("ssl://hub", Tls, "hub", 8883, ""),
            ("tls://[fe80::1]:8884", Tls, "fe80::1", 8884, ""),
            ("ws://hub", WebSocket, "hub", 80, "/mqtt"),
            ("ws://hub:8083/", WebSocket, "hub", 8083, "/"),
            ("ws://hub?token=a", WebSocket, "hub", 80, "/mqtt?token=a"),
            ("wss://[::1]/a@b:1", SecureWebSocket, "::1", 443, "/a@b:1"),
            ("mqtt-quic://hub", Quic, "hub", 14567, ""),
            ("mqtt-tcp://hub:1884/", Tcp, "hub", 1884, ""),
            ("mqtt:1884", Tcp, "mqtt", 1884, ""),
            ("quic://hub:443", Quic, "hub", 443, ""),
        ];
        for (text, transport, host, port, path) in table {
            let expected = Endpoint {
                transport,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_advice() {
        let table = [
            ("http://hub", "`http://`; write mqtt-tcp://, tls+mqtt-tcp:"),
            ("unix:///run/hub", "do not speak `unix://`"),
            (
                "hub:port",
                "no number from 1 to 65535; write mqtt-tcp://host",
            ),
            ("hub:", "the port is no number"),
            ("mqtt-tcp//hub:1883", "`://` is missing behind the scheme"),
            ("mqtt-tcp:hub:1883", "`://` is missing behind the scheme"),
            ("mqtt-tcp://a,mqtt-tcp://b", "in the list `servers`"),
            ("tcp://a tcp://b", "in the list `servers`"),
            ("'tcp://a'", "single quotes are part of the text"),
            ("tls://hub:0", "the port is no number"),
            ("hub:65536", "the port is no number"),
            ("hub:1883/path", "only WebSockets have a path"),
            ("quic://hub/a", "path; write mqtt-quic://host:port"),
            ("ws://hub/a b", "without spaces"),
            ("wss://hub/mqtt#a", "without spaces and `#`"),
            ("hub example:1883", "neither a name nor an address"),
            ("10.0.0.256:1883", "no IPv4 address"),
            ("::1:1883", "in brackets, as in [::1]"),
            ("tls://[::1:1883", "between brackets"),
            (":1883", "the host is missing"),
            ("", "the host is missing"),
            ("ws:///mqtt", "missing; write ws://host:port/path"),
            ("user:secret@hub:1883", "into `username` and `password`"),
        ];
        for (text, expected) in table {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn it_is_written_as_host_and_port() {
        for text in ["hub:1", "[::1]:8883", "10.0.0.1:443"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }
}
