//! Connects to real peers on the loopback interface.

mod authority;
mod in_time;
mod over_quic;
mod over_tls;
mod over_websocket;
mod through_proxies;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Tls;

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> TransportOptions {
    TransportOptions {
        connect_timeout: PATIENCE,
        ..TransportOptions::default()
    }
}

fn with_tls(tls: Tls) -> TransportOptions {
    TransportOptions {
        tls: Some(tls),
        ..options()
    }
}

/// A listener, and what its URL has behind the scheme.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

async fn connect_to(server: &str, options: &TransportOptions) -> Result<Stream, ConnectError> {
    connect(&server.parse().unwrap(), options).await
}

async fn fail(server: &str, options: &TransportOptions) -> ConnectError {
    connect_to(server, options)
        .await
        .err()
        .unwrap_or_else(|| panic!("{server} accepts"))
}

/// Sends back what comes, until the other side has sent all.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..count]).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// Reads what comes until the other side hangs up.
async fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 512];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// What comes back is what was sent.
async fn talk(stream: &mut Stream) {
    let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut received = vec![0; sent.len()];
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    let read = async { reader.read_exact(&mut received).await.unwrap() };
    tokio::join!(write, read);
    assert!(received == sent, "other bytes came back");
}

/// The first error of a connection that is made but not served.
async fn refusal(server: &str, options: &TransportOptions) -> String {
    match connect_to(server, options).await {
        Ok(mut stream) => reason(&stream.read_u8().await.unwrap_err()),
        Err(error) => error.reason,
    }
}

#[track_caller]
fn assert_failed(error: &ConnectError, phase: Phase, reason: &str) {
    assert_eq!(error.phase, phase, "{error}");
    assert!(error.reason.contains(reason), "{error}");
}

#[tokio::test]
async fn plain_tcp_carries_bytes() {
    let (listener, address) = listen().await;
    let serve = async { echo(accept(&listener).await).await };
    let call = async {
        let mut stream = connect_to(&format!("tcp://{address}"), &options())
            .await
            .unwrap();
        talk(&mut stream).await;
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = fail(&address, &options()).await;
    assert_failed(
        &error,
        Phase::Tcp,
        &format!("{address}: Connection refused"),
    );
    assert!(error.to_string().starts_with("TCP connection: 127."));
}

#[tokio::test]
async fn what_does_not_fit_together_is_not_tried() {
    let error = fail("tcp://127.0.0.1:1", &with_tls(Tls::default())).await;
    assert_failed(
        &error,
        Phase::Configuration,
        "ssl: the server's URL asks for no TLS",
    );
}
