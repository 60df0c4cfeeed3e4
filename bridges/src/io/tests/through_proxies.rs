use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, Validity};
use super::*;
use crate::config::Proxy;

fn through(url: &str, credentials: &str) -> TransportOptions {
    let proxy: Proxy = toml::from_str(&format!("url = \"{url}\"\n{credentials}")).unwrap();
    TransportOptions {
        proxy: Some(proxy),
        ..options()
    }
}

const CREDENTIALS: &str = "username = \"bridge\"\npassword = \"secret\"";

/// Answers a request of this many bytes, which it returns.
async fn answer(stream: &mut TcpStream, request_bytes: usize, answer: &[u8]) -> Vec<u8> {
    let mut request = vec![0; request_bytes];
    stream.read_exact(&mut request).await.unwrap();
    stream.write_all(answer).await.unwrap();
    request
}

async fn answer_http(stream: &mut TcpStream, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn http_is_asked_to_connect() {
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        let answer = "HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n";
        let request = answer_http(&mut stream, answer).await;
        echo(stream).await;
        request
    };
    let call = async {
        let options = through(&format!("http://{address}"), CREDENTIALS);
        let mut stream = connect_to("tcp://[2001:db8::1]:1883", &options)
            .await
            .unwrap();
        talk(&mut stream).await;
    };
    let (request, ()) = tokio::join!(serve, call);
    assert_eq!(
        request,
        "CONNECT [2001:db8::1]:1883 HTTP/1.1\r\nHost: [2001:db8::1]:1883\r\n\
         Proxy-Authorization: Basic YnJpZGdlOnNlY3JldA==\r\n\r\n"
    );
}

#[tokio::test]
async fn what_an_http_proxy_refuses_is_told() {
    let long = format!("HTTP/1.1 200 OK\r\n{}", "a".repeat(16 << 10));
    let table = [
        (
            "HTTP/1.1 407 Who\r\n\r\n",
            "",
            "wants `username` and `password` (407)",
        ),
        (
            "HTTP/1.1 407 Who\r\n\r\n",
            CREDENTIALS,
            "refuses `username` and `password`",
        ),
        (
            "HTTP/1.0 403 No\r\n\r\n",
            "",
            "let anybody connect to hub.invalid:1883 (403)",
        ),
        (
            "HTTP/1.1 502 Gone\r\n\r\n",
            "",
            "answers 502 when asked for hub.invalid:1883",
        ),
        ("220 mail\r\n\r\n", "", "does not speak HTTP"),
        (&long, "", "answers with more than 16 KiB"),
        ("HTTP/1.1 200", "", "the server closed the connection"),
    ];
    for (answer, credentials, reason) in table {
        let (listener, address) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            answer_http(&mut stream, answer).await;
        };
        let options = through(&format!("http://{address}"), credentials);
        let (_, error) = tokio::join!(serve, fail("hub.invalid:1883", &options));
        assert_failed(&error, Phase::Proxy, reason);
        assert!(error.reason.starts_with(&address), "{error}");
    }
}

#[tokio::test]
async fn socks_is_asked_by_name_with_a_password() {
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        assert_eq!(answer(&mut stream, 4, &[5, 2]).await, [5, 2, 0, 2]);
        let login = answer(&mut stream, 15, &[1, 0]).await;
        assert_eq!(login, b"\x01\x06bridge\x06secret");
        let found = b"\x05\x00\x00\x03\x05proxy\x07\x5b";
        let request = answer(&mut stream, 18, found).await;
        assert_eq!(request, b"\x05\x01\x00\x03\x0bhub.invalid\x07\x5b");
        echo(stream).await;
    };
    let call = async {
        let options = through(&format!("socks5h://{address}"), CREDENTIALS);
        let mut stream = connect_to("hub.invalid", &options).await.unwrap();
        talk(&mut stream).await;
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn socks_is_asked_by_address() {
    let table: [(&str, &[u8]); 2] = [
        ("127.0.0.1:1", b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01"),
        (
            "[::2]:1",
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x01",
        ),
    ];
    for (hub, expected) in table {
        let (listener, address) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            assert_eq!(answer(&mut stream, 3, &[5, 0]).await, [5, 1, 0]);
            let mut found = vec![5, 0, 0, 4];
            found.extend([0; 18]);
            assert_eq!(answer(&mut stream, expected.len(), &found).await, expected);
            echo(stream).await;
        };
        let call = async {
            let options = through(&format!("socks5://{address}"), "");
            let mut stream = connect_to(hub, &options).await.unwrap();
            talk(&mut stream).await;
        };
        tokio::join!(serve, call);
    }
}

#[tokio::test]
async fn what_a_socks_proxy_refuses_is_told() {
    let table: [(&str, &[&[u8]], &str); 8] = [
        ("", &[&[5, 0xFF]], "wants `username` and `password`"),
        ("", &[&[5, 2]], "wants `username` and `password`"),
        ("", &[&[4, 0]], "does not speak SOCKS 5"),
        (CREDENTIALS, &[&[5, 0xFF]], "accepts no password"),
        (
            CREDENTIALS,
            &[&[5, 2], &[1, 1]],
            "refuses `username` and `password`",
        ),
        (
            "",
            &[&[5, 0], &[5, 5, 0, 1]],
            "finds the connection refused (5), asked for",
        ),
        (
            "",
            &[&[5, 0], &[5, 99, 0, 1]],
            "reason that is not known (99)",
        ),
        ("", &[&[5, 0], &[5, 0, 0, 9]], "does not speak SOCKS 5"),
    ];
    for (credentials, answers, reason) in table {
        let (listener, address) = listen().await;
        let serve = async {
            let mut stream = accept(&listener).await;
            for answer in answers {
                assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
            }
            drain(stream).await;
        };
        let options = through(&format!("socks5h://{address}"), credentials);
        let (_, error) = tokio::join!(serve, fail("hub.invalid", &options));
        assert_failed(&error, Phase::Proxy, reason);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let (listener, address) = listen().await;
    drop(listener);
    let options = through(&format!("http://{address}"), "");
    let error = fail("hub.invalid", &options).await;
    let reason = format!("{address}: TCP connection: {address}: Connection refused");
    assert_failed(&error, Phase::Proxy, &reason);
}

#[tokio::test]
async fn tls_goes_through_a_proxy() {
    let authority = Authority::new("ours");
    let config = authority.sign("hub.invalid", Validity::Now).server();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        answer_http(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
        echo(acceptor.accept(stream).await.unwrap()).await;
    };
    let call = async {
        let mut options = through(&format!("http://{address}"), "");
        options.tls = Some(Tls {
            cacertfile: Some(authority.cacertfile()),
            ..Tls::default()
        });
        let mut stream = connect_to("tls://hub.invalid", &options).await.unwrap();
        talk(&mut stream).await;
    };
    tokio::join!(serve, call);
}
