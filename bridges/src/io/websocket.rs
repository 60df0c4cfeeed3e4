//! MQTT in the binary messages of a WebSocket (MQTT 5.0, 6; RFC 6455).

mod cutter;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use self::cutter::CutStream;
use super::deadline::Deadline;
use super::reason::reason;
use super::{ConnectError, Phase, Stream};
use crate::config::Endpoint;

const SUBPROTOCOL: &str = "mqtt";
/// Bytes of the largest message that is sent; messages and packets need not coincide.
const SENT_BYTES_MAX: usize = 64 << 10;
/// Bytes that wait for the socket: one message, and answers to pings.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * SENT_BYTES_MAX;
const READ_BUFFER_BYTES: usize = 16 << 10;

/// The bytes in the binary messages of a WebSocket.
pub(super) struct WebSocket {
    messages: WebSocketStream<CutStream>,
    /// What of the last message has not been read yet.
    unread: Bytes,
    /// The server has closed it; whether it closes the connection too is up to the server.
    is_closed: bool,
}

/// Makes a connection a WebSocket.
pub(super) async fn connect(
    stream: Stream,
    endpoint: &Endpoint,
    deadline: Deadline,
) -> Result<WebSocket, ConnectError> {
    let uri: Uri = uri(endpoint)
        .parse()
        .map_err(|error| ConnectError::new(Phase::WebSocket, error))?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        // Written at once, as every other stream does.
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    let stream = CutStream::new(stream);
    let handshake = async {
        client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| ConnectError::new(Phase::WebSocket, handshake_reason(error)))
    };
    let (messages, _) = deadline.within(Phase::WebSocket, handshake).await?;
    Ok(WebSocket {
        messages,
        unread: Bytes::new(),
        is_closed: false,
    })
}

fn uri(endpoint: &Endpoint) -> String {
    let path = &endpoint.path;
    let scheme = if endpoint.transport.is_encrypted() {
        "wss"
    } else {
        "ws"
    };
    format!("{scheme}://{endpoint}{path}")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others speak for themselves"
)]
fn handshake_reason(error: tungstenite::Error) -> String {
    use tungstenite::Error;
    match error {
        Error::Http(answer) => format!("the server answers {}", answer.status()),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            "the server does not speak MQTT at this path".to_owned()
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            "the server closed the connection".to_owned()
        }
        Error::Io(error) => reason(&error),
        other => other.to_string(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others are errors of the protocol"
)]
fn io_error(error: tungstenite::Error) -> io::Error {
    use tungstenite::Error;
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::SendAfterClosing) => {
            io::Error::new(io::ErrorKind::BrokenPipe, "the WebSocket is closed")
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::UnexpectedEof.into()
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.is_closed {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Text(_))) => {
                    let text = "MQTT is in binary messages, but a text came";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                Some(Ok(Message::Close(_))) | None => self.is_closed = true,
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.messages).poll_ready(context)).map_err(io_error)?;
        let count = bytes.len().min(SENT_BYTES_MAX);
        if count > 0 {
            let message = Message::Binary(Bytes::copy_from_slice(&bytes[..count]));
            Pin::new(&mut self.messages)
                .start_send(message)
                .map_err(io_error)?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages)
            .poll_flush(context)
            .map_err(io_error)
    }

    /// Says that it closes, without waiting for the server's answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages)
            .poll_close(context)
            .map_err(io_error)
    }
}
