//! MQTT in one bidirectional stream of a QUIC connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, EndpointConfig, IdleTimeout, RecvStream, SendStream, StoppedError,
    TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::address::{first, resolve};
use super::deadline::Deadline;
use super::reason::quic_reason;
use super::tcp::bind_interface;
use super::tls::{client_config, server_name};
use super::{ConnectError, Phase, QuicOptions, TransportOptions};
use crate::config::{Endpoint, Tcp};

const ALPN: &str = "mqtt";
/// Longer pauses between probes count as this one: their end has to be a moment.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The stream, and what it needs to live.
pub(super) struct QuicStream {
    send: SendStream,
    receive: RecvStream,
    /// Becomes ready when the hub has all that was sent.
    received: Option<Received>,
    _connection: Connection,
    _endpoint: quinn::Endpoint,
}

type Received = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// Connects to the first address of a hub that accepts.
pub(super) async fn connect(
    endpoint: &Endpoint,
    options: &TransportOptions,
    deadline: Deadline,
) -> Result<QuicStream, ConnectError> {
    let mut tls = options.tls();
    if tls.alpn.is_empty() {
        tls.alpn.push(ALPN.to_owned());
    }
    let name = server_name(endpoint, &tls).to_owned();
    let crypto = client_config(tls, deadline).await?;
    let crypto = QuicClientConfig::try_from(crypto)
        .map_err(|error| ConnectError::new(Phase::Certificates, error))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(options.quic)?));
    let addresses = resolve(&endpoint.host, endpoint.port, deadline).await?;
    let (name, config) = (&name, &config);
    first(addresses, Phase::Quic, deadline, |address, share| {
        Box::pin(async move {
            let step = open(address, name, config, &options.tcp);
            let share = share.or_after(options.quic.handshake_timeout);
            share.within(Phase::Quic, step).await
        })
    })
    .await
}

async fn open(
    address: SocketAddr,
    name: &str,
    config: &ClientConfig,
    tcp: &Tcp,
) -> Result<QuicStream, ConnectError> {
    let error = |reason: String| ConnectError::new(Phase::Quic, reason);
    let socket = socket(address, tcp).map_err(|failed| error(failed.to_string()))?;
    let runtime = Arc::new(TokioRuntime);
    let endpoint = quinn::Endpoint::new(EndpointConfig::default(), None, socket, runtime)
        .map_err(|failed| error(failed.to_string()))?;
    let connection = endpoint
        .connect_with(config.clone(), address, name)
        .map_err(|failed| error(failed.to_string()))?
        .await
        .map_err(|failed| error(quic_reason(&failed)))?;
    let (send, receive) = connection
        .open_bi()
        .await
        .map_err(|failed| error(quic_reason(&failed)))?;
    Ok(QuicStream {
        send,
        receive,
        received: None,
        _connection: connection,
        _endpoint: endpoint,
    })
}

fn socket(peer: SocketAddr, tcp: &Tcp) -> io::Result<UdpSocket> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(peer), kind, Some(Protocol::UDP))?;
    bind_interface(&socket, tcp)?;
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket.into())
}

fn transport(options: QuicOptions) -> Result<TransportConfig, ConnectError> {
    let mut config = TransportConfig::default();
    let mut keep_alive = options.keep_alive.min(KEEP_ALIVE_MAX);
    let idle = options.idle_timeout;
    if idle.is_zero() {
        config.max_idle_timeout(None);
    } else {
        let idle_timeout = IdleTimeout::try_from(idle)
            .map_err(|error| ConnectError::new(Phase::Configuration, error))?;
        config.max_idle_timeout(Some(idle_timeout));
        keep_alive = keep_alive.min(idle / 2);
    }
    config
        .initial_rtt(options.initial_rtt)
        .keep_alive_interval((!keep_alive.is_zero()).then_some(keep_alive))
        // There is one stream, and the hub opens none.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Ok(config)
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, buffer)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    /// Waits until the hub has all that was sent: a connection that is dropped does not send
    /// what is left.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.received.is_none() {
            ready!(AsyncWrite::poll_shutdown(Pin::new(&mut self.send), context))?;
            let received = Box::pin(self.send.stopped());
            self.received = Some(received);
        }
        match &mut self.received {
            Some(received) => received
                .as_mut()
                .poll(context)
                .map(|result| result.map(drop).map_err(io::Error::from)),
            None => Poll::Ready(Ok(())),
        }
    }
}
