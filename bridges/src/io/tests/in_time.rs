use std::net::SocketAddr;
use std::pin::pin;

use rustls::version::TLS13;
use tokio::time::Instant;

use super::authority::{Authority, Validity};
use super::over_quic::server;
use super::*;
use crate::config::Proxy;
use crate::io::address::{Attempt, first};

const LIMIT: Duration = Duration::from_secs(7);

fn impatient() -> TransportOptions {
    TransportOptions {
        connect_timeout: LIMIT,
        tls: None,
        ..TransportOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_given_up() {
    let (listener, address) = listen().await;
    let proxied = |scheme: &str| {
        let proxy: Proxy = toml::from_str(&format!("url = \"{scheme}://{address}\"")).unwrap();
        TransportOptions {
            proxy: Some(proxy),
            ..impatient()
        }
    };
    let tls = TransportOptions {
        tls: Some(Tls {
            verify: false,
            ..Tls::default()
        }),
        ..impatient()
    };
    let table = [
        (format!("tls://{address}"), tls.clone(), Phase::Tls),
        (format!("wss://{address}"), tls, Phase::Tls),
        (format!("ws://{address}"), impatient(), Phase::WebSocket),
        ("hub.invalid".to_owned(), proxied("http"), Phase::Proxy),
        ("hub.invalid".to_owned(), proxied("socks5h"), Phase::Proxy),
        ("127.0.0.1".to_owned(), proxied("socks5"), Phase::Proxy),
    ];
    for (server, options, phase) in table {
        let start = Instant::now();
        let error = fail(&server, &options).await;
        assert_failed(&error, phase, "there is no answer in time");
        let took = start.elapsed();
        assert!(took >= LIMIT && took < LIMIT * 2, "{server}: {took:?}");
        drop(accept(&listener).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_leaves_time_for_the_others() {
    let addresses: [SocketAddr; 4] =
        ["[::1]:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"].map(|it| it.parse().unwrap());
    let attempt = |address: SocketAddr, _: Deadline| -> Attempt<'static, u16> {
        Box::pin(async move {
            match address.port() {
                1 => std::future::pending().await,
                2 => Err(ConnectError::new(Phase::Tcp, "refused")),
                port => Ok(port),
            }
        })
    };
    let start = Instant::now();
    let found = first(
        addresses.to_vec(),
        Phase::Tcp,
        Deadline::after(LIMIT),
        attempt,
    )
    .await;
    assert_eq!(found, Ok(3));
    assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs() / 4);
    let two = addresses[..2].to_vec();
    let error = first(two, Phase::Tcp, Deadline::after(LIMIT), attempt).await;
    let reason = "[::1]:1: there is no answer in time; 127.0.0.1:2: refused";
    assert_eq!(error, Err(ConnectError::new(Phase::Tcp, reason)));
}

#[tokio::test]
async fn a_connect_that_is_dropped_closes_its_socket() {
    let (listener, address) = listen().await;
    let server = format!("ws://{address}");
    let options = options();
    let mut stream = {
        let mut connecting = pin!(connect_to(&server, &options));
        let accepting = async {
            let mut stream = accept(&listener).await;
            stream.read_u8().await.unwrap();
            stream
        };
        tokio::select! {
            stream = accepting => stream,
            _ = &mut connecting => panic!("nobody answered"),
        }
    };
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn the_longest_times_are_no_problem() {
    let mut options = with_tls(Tls {
        verify: false,
        ..Tls::default()
    });
    options.connect_timeout = Duration::MAX;
    options.quic.handshake_timeout = Duration::MAX;
    options.quic.keep_alive = Duration::MAX;
    options.quic.idle_timeout = Duration::ZERO;
    let authority = Authority::new("ours");
    let identity = authority.sign("127.0.0.1", Validity::Now);
    let (endpoint, url) = server(identity.server_of(&[&TLS13]));
    let serve = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (_connection, stream) = tokio::join!(serve, connect_to(&url, &options));
    assert!(stream.is_ok());
}
