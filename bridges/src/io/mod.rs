//! The way of the bytes to the hub: the only place of a bridge that has sockets.
//!
//! | URL | layers, the outermost last |
//! |---|---|
//! | `mqtt-tcp://` | TCP |
//! | `tls+mqtt-tcp://` | TCP, TLS |
//! | `ws://` | TCP, WebSocket |
//! | `wss://` | TCP, TLS, WebSocket |
//! | `mqtt-quic://` | UDP, QUIC, one bidirectional stream |
//!
//! Where there is TCP, it may lead through a proxy. Certificates, keys and names are read and
//! looked up anew at every connect. Dropping a connect or a stream closes everything below it.

mod address;
mod deadline;
mod error;
mod options;
mod pem;
mod proxy;
mod quic;
mod reason;
mod tcp;
mod tls;
mod websocket;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::{Endpoint, Transport};
use deadline::Deadline;
pub use error::{ConnectError, Phase};
pub use options::{QuicOptions, TransportOptions};
pub use pem::{PemError, certificates, private_key};
pub use reason::reason;

/// A connected stream of bytes. What is written may wait until it is flushed.
pub type Stream = Box<dyn ByteStream>;

/// What can be a [`Stream`].
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Connects to a hub, as far as its bytes can be MQTT.
///
/// All addresses of a name are tried in turn, each for its share of the time that is left. Cancel
/// safe: dropping the future closes what has been opened. Needs a runtime of tokio.
///
/// # Errors
/// What failed and why; at the latest after [`TransportOptions::connect_timeout`].
pub async fn connect(
    endpoint: &Endpoint,
    options: &TransportOptions,
) -> Result<Stream, ConnectError> {
    options
        .check(endpoint)
        .map_err(|error| ConnectError::new(Phase::Configuration, error))?;
    let deadline = Deadline::after(options.connect_timeout);
    Ok(match endpoint.transport {
        Transport::Tcp => Box::new(open_tcp(endpoint, options, deadline).await?),
        Transport::Tls => open_tls(endpoint, options, deadline).await?,
        Transport::WebSocket => {
            let tcp = Box::new(open_tcp(endpoint, options, deadline).await?);
            Box::new(websocket::connect(tcp, endpoint, deadline).await?)
        }
        Transport::SecureWebSocket => {
            let tls = open_tls(endpoint, options, deadline).await?;
            Box::new(websocket::connect(tls, endpoint, deadline).await?)
        }
        Transport::Quic => Box::new(quic::connect(endpoint, options, deadline).await?),
    })
}

async fn open_tls(
    endpoint: &Endpoint,
    options: &TransportOptions,
    deadline: Deadline,
) -> Result<Stream, ConnectError> {
    let tls = options.tls();
    let name = tls::server_name(endpoint, &tls).to_owned();
    let name = name
        .try_into()
        .map_err(|error| ConnectError::new(Phase::Tls, error))?;
    // First, so that a file that cannot be used is told while the hub is away, too.
    let config = tls::client_config(tls, deadline).await?;
    let tcp = open_tcp(endpoint, options, deadline).await?;
    Ok(Box::new(tls::connect(tcp, name, config, deadline).await?))
}

/// A TCP connection that leads to the hub.
async fn open_tcp(
    endpoint: &Endpoint,
    options: &TransportOptions,
    deadline: Deadline,
) -> Result<TcpStream, ConnectError> {
    match &options.proxy {
        Some(proxy) => proxy::connect(endpoint, proxy, &options.tcp, deadline).await,
        None => tcp::connect(&endpoint.host, endpoint.port, &options.tcp, deadline).await,
    }
}

#[cfg(test)]
mod tests;
