use std::net::UdpSocket;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Incoming, ServerConfig};
use rustls::version::TLS13;

use super::authority::{Authority, Validity};
use super::*;

pub(super) fn server(mut config: rustls::ServerConfig) -> (quinn::Endpoint, String) {
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let config = QuicServerConfig::try_from(config).unwrap();
    let config = ServerConfig::with_crypto(Arc::new(config));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, format!("quic://{address}"))
}

fn trusting(authority: &Authority) -> Tls {
    Tls {
        cacertfile: Some(authority.cacertfile()),
        ..Tls::default()
    }
}

async fn accepted(endpoint: &quinn::Endpoint) -> Incoming {
    endpoint.accept().await.unwrap()
}

#[tokio::test]
async fn a_stream_of_quic_carries_bytes_to_the_last() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1", Validity::Now);
    let (endpoint, url) = server(identity.server_of(&[&TLS13]));
    let serve = async {
        let connection = accepted(&endpoint).await.await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let mut bytes = vec![0; 300_000];
        receive.read_exact(&mut bytes).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        receive.read_to_end(10).await.unwrap()
    };
    let options = with_tls(trusting(&authority));
    let call = async {
        let mut stream = connect_to(&url, &options).await.unwrap();
        talk(&mut stream).await;
        stream.write_all(b"farewell").await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (last, ()) = tokio::join!(serve, call);
    assert_eq!(last, b"farewell");
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_refused_with_its_reason() {
    let ours = Authority::new("ours");
    let table = [
        (
            ours.sign("127.0.0.1", Validity::Past),
            "has expired, if the clock",
        ),
        (ours.sign("other.example", Validity::Now), "other.example"),
        (
            Authority::new("theirs").sign("127.0.0.1", Validity::Now),
            "signed by one that is trusted",
        ),
        (ours.own_identity(), "give it one with `CA:FALSE`"),
    ];
    for (identity, reason) in table {
        let (endpoint, url) = server(identity.server_of(&[&TLS13]));
        let serve = async { accepted(&endpoint).await.await.is_ok() };
        let options = with_tls(trusting(&ours));
        let (_, error) = tokio::join!(serve, fail(&url, &options));
        assert_failed(&error, Phase::Quic, reason);
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_is_recognized() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1", Validity::Now);
    let (endpoint, url) = server(identity.server_of(&[&TLS13]));
    let serve = async { accepted(&endpoint).await.await.is_ok() };
    let options = with_tls(Tls {
        alpn: vec!["h3".to_owned()],
        ..trusting(&authority)
    });
    let (_, error) = tokio::join!(serve, fail(&url, &options));
    assert_failed(&error, Phase::Quic, "no protocol of those offered");
}

#[tokio::test]
async fn a_missing_client_certificate_is_named() {
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1", Validity::Now);
    let (endpoint, url) = server(authority.strict_server(&identity, &TLS13));
    let serve = async { accepted(&endpoint).await.await.is_ok() };
    let options = with_tls(trusting(&authority));
    let (_, reason) = tokio::join!(serve, refusal(&url, &options));
    assert_eq!(
        reason,
        "the server wants a client certificate: `certfile` and `keyfile`"
    );
}

#[tokio::test]
async fn a_silent_port_ends_the_handshake() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("quic://{}", socket.local_addr().unwrap());
    let mut options = with_tls(Tls {
        verify: false,
        ..Tls::default()
    });
    options.quic.handshake_timeout = Duration::from_millis(100);
    let error = fail(&url, &options).await;
    assert_failed(&error, Phase::Quic, "there is no answer in time");
}
