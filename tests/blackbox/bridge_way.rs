//! A mosquitto as the hub, and the way to it over each transport, which can be broken.

use std::time::Duration;

use tests::certificates::Certificates;
use tests::fault_proxy::{FaultProxy, Flow};
use tests::hub::Hub;
use tests::quic_relay::QuicRelay;
use tests::reservation;
use tests::udp_proxy::{Fate, UdpProxy};

/// What a bridge speaks MQTT over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
    Quic,
}

/// A hub and the way to it.
///
/// ```text
/// bridge -> TCP proxy -> mosquitto
/// bridge -> UDP proxy -> QUIC relay -> TCP proxy -> mosquitto
/// ```
pub(crate) struct Way {
    pub(crate) hub: Hub,
    pub(crate) proxy: FaultProxy,
    transport: Transport,
    certificates: Certificates,
    quic: Option<Quic>,
}

struct Quic {
    proxy: UdpProxy,
    _relay: QuicRelay,
}

impl Transport {
    const fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt-tcp",
            Self::Tls => "tls+mqtt-tcp",
            Self::WebSocket => "ws",
            Self::SecureWebSocket => "wss",
            Self::Quic => "mqtt-quic",
        }
    }

    /// What the hub's listener for bridges has beside its port.
    fn listener(self, certificates: &Certificates) -> String {
        let [authority, certificate, key] =
            ["ca.pem", "hub.pem", "hub.key"].map(|it| certificates.path(it));
        let tls = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
            authority.display(),
            certificate.display(),
            key.display()
        );
        let websockets = "protocol websockets\n";
        match self {
            Self::Tcp | Self::Quic => String::new(),
            Self::Tls => tls,
            Self::WebSocket => websockets.to_owned(),
            Self::SecureWebSocket => tls + websockets,
        }
    }
}

impl Way {
    /// Starts a hub and a way that leads to it.
    #[track_caller]
    pub(crate) fn start(transport: Transport) -> Self {
        let certificates = Certificates::make();
        let port = reservation::port();
        let hub = Hub::start_with(&format!(
            "set_tcp_nodelay true\nlistener {port} 127.0.0.1\n{}",
            transport.listener(&certificates)
        ));
        let proxy = FaultProxy::start(port);
        let quic = (transport == Transport::Quic).then(|| {
            let relay = QuicRelay::start(proxy.port(), &certificates);
            Quic {
                proxy: UdpProxy::start(relay.port()),
                _relay: relay,
            }
        });
        Self {
            hub,
            proxy,
            transport,
            certificates,
            quic,
        }
    }

    /// A bridge this way: `line/#` goes up.
    pub(crate) fn bridge(&self, more: &str) -> String {
        let quic = self.quic.as_ref().map(|it| it.proxy.port());
        let port = quic.unwrap_or_else(|| self.proxy.port());
        let scheme = self.transport.scheme();
        let [authority, certificate, key] =
            ["ca.pem", "bridge.pem", "bridge.key"].map(|it| self.certificates.path(it));
        let ssl = match self.transport {
            Transport::Tcp | Transport::WebSocket => String::new(),
            Transport::Tls | Transport::SecureWebSocket | Transport::Quic => format!(
                "ssl {{ cacertfile = \"{}\", certfile = \"{}\", keyfile = \"{}\" }}",
                authority.display(),
                certificate.display(),
                key.display()
            ),
        };
        format!(
            "bridges.mqtt.up {{\n\
             server = \"{scheme}://127.0.0.1:{port}\"\n\
             clientid = \"edge\"\n\
             backoff_max = 200ms\n\
             connect_timeout = 2s\n\
             {ssl}\n\
             {more}\n\
             forwards = [{{ local_topic = \"line/#\" }}]\n\
             }}\n"
        )
    }

    /// Everything is lost, and nobody is told.
    pub(crate) fn black_hole(&self) {
        match &self.quic {
            Some(quic) => quic.proxy.set(Fate::Lose),
            None => self.proxy.black_hole(),
        }
    }

    /// What goes either way takes so long.
    pub(crate) fn delay(&self, time: Duration) {
        match &self.quic {
            Some(quic) => quic.proxy.set(Fate::Delay(time)),
            None => self.proxy.flow(Flow::Delay(time), Flow::Delay(time)),
        }
    }

    /// So many bytes reach the hub in a second.
    pub(crate) fn limit(&self, bytes: usize) {
        self.proxy.flow(Flow::Limit(bytes), Flow::Pass);
    }

    /// Everything goes through again.
    pub(crate) fn pass(&self) {
        self.proxy.pass();
        if let Some(quic) = &self.quic {
            quic.proxy.set(Fate::Pass);
        }
    }

    /// The way of datagrams.
    pub(crate) fn datagrams(&self) -> &UdpProxy {
        &self.quic.as_ref().unwrap().proxy
    }
}
