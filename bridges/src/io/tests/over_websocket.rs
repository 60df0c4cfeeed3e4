use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};

use super::authority::{Authority, Validity};
use super::*;

/// Accepts as a broker does, if the client asks for MQTT at this path.
#[expect(clippy::result_large_err, reason = "the library's signature")]
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: S, path: &str) -> WebSocketStream<S> {
    accept_hdr_async(
        stream,
        |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().to_string(), path);
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(protocol, "mqtt");
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", protocol);
            Ok(response)
        },
    )
    .await
    .unwrap()
}

/// Sends every message back as a ping and two messages.
async fn echo_messages<S: AsyncRead + AsyncWrite + Unpin>(mut messages: WebSocketStream<S>) {
    while let Some(Ok(message)) = messages.next().await {
        if let Message::Binary(mut bytes) = message {
            let front = bytes.split_to(bytes.len() / 2);
            let ping = Message::Ping("alive".into());
            for message in [ping, Message::Binary(front), Message::Binary(bytes)] {
                messages.send(message).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_carries_bytes() {
    let (listener, address) = listen().await;
    let serve = async {
        let messages = upgrade(accept(&listener).await, "/broker?id=7").await;
        echo_messages(messages).await;
    };
    let call = async {
        let server = format!("ws://{address}/broker?id=7");
        let mut stream = connect_to(&server, &options()).await.unwrap();
        talk(&mut stream).await;
        stream.shutdown().await.unwrap();
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn a_websocket_over_tls_carries_bytes() {
    let authority = Authority::new("ours");
    let config = authority.sign("127.0.0.1", Validity::Now).server();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    let serve = async {
        let stream = acceptor.accept(accept(&listener).await).await.unwrap();
        echo_messages(upgrade(stream, "/mqtt").await).await;
    };
    let call = async {
        let options = with_tls(Tls {
            cacertfile: Some(authority.cacertfile()),
            ..Tls::default()
        });
        let server = format!("wss://{address}");
        let mut stream = connect_to(&server, &options).await.unwrap();
        talk(&mut stream).await;
    };
    tokio::join!(serve, call);
}

/// What becomes of a connection to a server that sends this message.
async fn receive(message: Message) -> std::io::Result<usize> {
    let (listener, address) = listen().await;
    let serve = async {
        let mut messages = upgrade(accept(&listener).await, "/mqtt").await;
        messages.send(message).await.unwrap();
        messages
    };
    let server = format!("ws://{address}");
    let options = options();
    let call = async {
        let mut stream = connect_to(&server, &options).await.unwrap();
        stream.read(&mut [0; 200]).await
    };
    // The server's side lives until the message is read.
    let (messages, read) = tokio::join!(serve, call);
    drop(messages);
    read
}

#[tokio::test]
async fn a_frame_is_read_as_it_comes_however_large_it_is() {
    // 1 TiB.
    const HEADER: [u8; 10] = [0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0];
    let sent: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let (listener, address) = listen().await;
    let serve = async {
        let mut messages = upgrade(accept(&listener).await, "/mqtt").await;
        let stream = messages.get_mut();
        stream.write_all(&HEADER).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        messages
    };
    let server = format!("ws://{address}");
    let options = options();
    let call = async {
        let mut stream = connect_to(&server, &options).await.unwrap();
        let mut came = vec![0; sent.len()];
        stream.read_exact(&mut came).await.unwrap();
        came
    };
    let (_messages, came) = tokio::join!(serve, call);
    assert!(came == sent);
}

#[tokio::test]
async fn a_ping_has_a_limit() {
    let ping = Message::Ping(vec![0; 126].into());
    let error = receive(ping).await.unwrap_err();
    assert!(reason(&error).contains("too big"), "{error}");
}

#[tokio::test]
async fn texts_are_no_mqtt() {
    let error = receive(Message::Text("MQTT".into())).await.unwrap_err();
    assert_eq!(
        reason(&error),
        "MQTT is in binary messages, but a text came"
    );
}

#[tokio::test]
async fn a_closed_websocket_is_at_its_end() {
    assert_eq!(receive(Message::Close(None)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_lost_connection_is_an_error() {
    let (listener, address) = listen().await;
    let serve = async { drop(upgrade(accept(&listener).await, "/mqtt").await) };
    let server = format!("ws://{address}");
    let options = options();
    let (_, stream) = tokio::join!(serve, connect_to(&server, &options));
    let error = stream.unwrap().read_u8().await.unwrap_err();
    assert_eq!(reason(&error), "the server closed the connection");
}

#[tokio::test]
async fn a_server_that_stays_with_http_is_recognized() {
    let table = [
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "the server answers 404 Not Found",
        ),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "answers 401"),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nForbidden",
            "the server answers 403 Forbidden",
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", "invalid"),
        ("", "the server closed the connection"),
    ];
    for (answer, reason) in table {
        let (listener, address) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let server = format!("ws://{address}");
        let options = options();
        let (_, error) = tokio::join!(serve, fail(&server, &options));
        assert_failed(&error, Phase::WebSocket, reason);
    }
}

#[tokio::test]
async fn a_websocket_of_something_else_is_recognized() {
    let (listener, address) = listen().await;
    let serve = async { accept_async(accept(&listener).await).await.is_ok() };
    let server = format!("ws://{address}");
    let options = options();
    let (_, error) = tokio::join!(serve, fail(&server, &options));
    assert_failed(&error, Phase::WebSocket, "does not speak MQTT at this path");
}
