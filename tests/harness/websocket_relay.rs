//! MQTT over WebSockets in front of a broker, which sends every packet in one frame: each connection
//! becomes a TCP connection to it. A mosquitto takes half a minute for a megabyte in a WebSocket.

use std::net::TcpListener as StdTcpListener;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// A relay to a TCP port of the loopback interface.
#[derive(Debug)]
pub struct WebSocketRelay {
    port: u16,
    /// Dropped to end it.
    _runtime: Runtime,
}

impl WebSocketRelay {
    /// Starts one.
    ///
    /// # Panics
    /// The system has no thread or port for it.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let listener = StdTcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("an option");
        let port = listener.local_addr().expect("an address").port();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(relay(stream, target));
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// One connection; none when either side has ended it.
async fn relay(stream: TcpStream, target: u16) -> Option<()> {
    let mut messages = accept_hdr_async(stream, agree).await.ok()?;
    let mut hub = TcpStream::connect(("127.0.0.1", target)).await.ok()?;
    let mut input = BytesMut::new();
    loop {
        tokio::select! {
            message = messages.next() => {
                if let Message::Binary(bytes) = message?.ok()? {
                    hub.write_all(&bytes).await.ok()?;
                }
            }
            read = hub.read_buf(&mut input) => {
                read.ok().filter(|it| *it > 0)?;
                while let Some(length) = packet_length(&input).filter(|it| *it <= input.len()) {
                    let packet = input.split_to(length).freeze();
                    messages.send(Message::Binary(packet)).await.ok()?;
                }
            }
        }
    }
}

/// Answers that it speaks what it is asked to.
#[expect(clippy::result_large_err, reason = "the library's signature")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let key = "sec-websocket-protocol";
    if let Some(protocol) = request.headers().get(key) {
        response.headers_mut().insert(key, protocol.clone());
    }
    Ok(response)
}

/// Bytes of the packet that begins with these (MQTT 5.0, 2.1.4); none if its length is not complete.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(1..)?;
    let count = 1 + field.iter().position(|it| *it < 0x80)?;
    let digits = field[..count].iter().rev();
    let length = digits.fold(0, |length, it| length << 7 | usize::from(it & 0x7F));
    Some(1 + count + length)
}
