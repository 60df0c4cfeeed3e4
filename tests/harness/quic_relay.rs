//! MQTT over QUIC in front of a broker that has only TCP: each connection's stream becomes a TCP
//! connection to it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio::io::{copy_bidirectional, join};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::certificates::Certificates;
use crate::reservation;

/// A relay to a TCP port of the loopback interface.
#[derive(Debug)]
pub struct QuicRelay {
    port: u16,
    /// Dropped to end it.
    life: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl QuicRelay {
    /// Starts one that shows the hub's certificate.
    ///
    /// # Panics
    /// The system has no thread or port for it.
    #[must_use]
    pub fn start(target: u16, certificates: &Certificates) -> Self {
        let port = reservation::port();
        let config = server_config(certificates);
        let (life, end) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let address = ([127, 0, 0, 1], port).into();
                let endpoint = Endpoint::server(config, address).expect("the reserved port");
                tokio::select! {
                    () = serve(&endpoint, target) => {}
                    _ = end => {}
                }
            });
        });
        Self {
            port,
            life: Some(life),
            thread: Some(thread),
        }
    }

    /// The UDP port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for QuicRelay {
    fn drop(&mut self) {
        self.life = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn server_config(certificates: &Certificates) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(certificates.path("hub.pem"));
    let key = PrivateKeyDer::from_pem_file(certificates.path("hub.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("TLS 1.3");
    let chain = vec![certificate.expect("a certificate")];
    let config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key.expect("a key"));
    let mut config = config.expect("a certificate with its key");
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let config = QuicServerConfig::try_from(config).expect("a cipher suite for QUIC");
    ServerConfig::with_crypto(Arc::new(config))
}

async fn serve(endpoint: &Endpoint, target: u16) {
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(relay(incoming, target));
    }
}

/// One connection, until either side ends it.
async fn relay(incoming: Incoming, target: u16) {
    let Ok(connection) = incoming.await else {
        return;
    };
    if let Ok((send, receive)) = connection.accept_bi().await
        && let Ok(mut hub) = TcpStream::connect(("127.0.0.1", target)).await
    {
        hub.set_nodelay(true).ok();
        // Whatever ends it, both sides are told.
        copy_bidirectional(&mut join(receive, send), &mut hub)
            .await
            .ok();
    }
    connection.close(1_u32.into(), b"the hub is gone");
}
