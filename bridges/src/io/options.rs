//! What the way to the hub depends on besides its URL.

use std::time::Duration;

use gateway::ConfigError;

use super::tls;
use crate::config::{Endpoint, Proxy, Tcp, Tls, Transport};

/// How to connect to a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportOptions {
    /// How long all of it may take, from the lookup of the name on, at most a day.
    pub connect_timeout: Duration,
    /// `ssl{}`; the defaults of its keys if absent.
    pub tls: Option<Tls>,
    /// `tcp{}`. Over QUIC only `bind_interface` counts.
    pub tcp: Tcp,
    /// `proxy{}`.
    pub proxy: Option<Proxy>,
    /// Times of QUIC.
    pub quic: QuicOptions,
}

/// Times of a QUIC connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicOptions {
    /// `quic_keepalive`: how long a connection is silent before it is probed, at most half of
    /// the idle timeout; 0 never.
    pub keep_alive: Duration,
    /// `quic_idle_timeout`: the silence that ends a connection; 0 is none.
    pub idle_timeout: Duration,
    /// `quic_handshake_timeout`: how long the handshake may take with each address of the hub.
    pub handshake_timeout: Duration,
    /// `quic_initial_rtt_ms`: the time to the hub and back that a connection begins with.
    pub initial_rtt: Duration,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            tls: None,
            tcp: Tcp::default(),
            proxy: None,
            quic: QuicOptions::default(),
        }
    }
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(20),
            initial_rtt: Duration::from_millis(333),
        }
    }
}

impl TransportOptions {
    /// Checks the keys, and that they are of use for this hub; nothing is read.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        self.tcp.check()?;
        if let Some(tls) = self.tls.as_ref().filter(|it| it.enable) {
            if !endpoint.transport.is_encrypted() {
                let problem = "the server's URL asks for no TLS; write tls+mqtt-tcp://, wss:// or \
                     mqtt-quic://, or leave `ssl` out";
                return Err(ConfigError::new("ssl", problem));
            }
            tls.check()?;
        }
        if let Some(proxy) = &self.proxy {
            if endpoint.transport == Transport::Quic {
                let problem = "proxies carry no QUIC; write tls+mqtt-tcp:// or wss://";
                return Err(ConfigError::new("proxy", problem));
            }
            proxy.check()?;
        }
        Ok(())
    }

    /// Reads the files of `ssl{}` as a connect does. Blocks, with an encrypted key for up to a second.
    ///
    /// # Errors
    /// The first one that cannot be used, with its key.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        tls::check_files(&self.tls())
    }

    /// Whether the hub may be shown a certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        self.tls().certfile.is_some()
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls.clone().filter(|it| it.enable).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_use_for_the_hub_are_refused() {
        let tls = TransportOptions {
            tls: Some(Tls::default()),
            ..TransportOptions::default()
        };
        let off = TransportOptions {
            tls: Some(Tls {
                enable: false,
                keyfile: Some("key.pem".into()),
                ..Tls::default()
            }),
            ..TransportOptions::default()
        };
        let proxy: Proxy = toml::from_str("url = \"http://proxy:3128\"").unwrap();
        let proxied = TransportOptions {
            proxy: Some(proxy),
            ..TransportOptions::default()
        };
        let table = [
            (&tls, "tcp://hub", Some("ssl")),
            (&tls, "ws://hub", Some("ssl")),
            (&tls, "tls://hub", None),
            (&tls, "wss://hub", None),
            (&tls, "quic://hub", None),
            (&off, "tcp://hub", None),
            (&off, "tls://hub", None),
            (&proxied, "tcp://hub", None),
            (&proxied, "wss://hub", None),
            (&proxied, "quic://hub", Some("proxy")),
        ];
        for (options, server, key) in table {
            let result = options.check(&server.parse().unwrap());
            let found = result.as_ref().err().map(|error| error.key.as_str());
            assert_eq!(found, key, "{server}: {result:?}");
        }
    }
}
