//! One connection over a socket: enhanced authentication by a mechanism that only the test has,
//! a takeover at a moment that no client could choose, and what is in one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqtt::connection::{Limits, Mechanism, Mechanisms, Step};
use mqtt::{Message, QoS, ReasonCode, TopicName};
use persistence::{Durability, Operation, Options, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Accepted, Access, accept};
use crate::exchange::{self, Exchange, Refusal};

/// Lets in who answers its question with "pass".
#[derive(Debug)]
struct Password;

impl Mechanism for Password {
    fn step(&mut self, data: &[u8]) -> Step {
        match data {
            b"" => Step::Continue(b"?".to_vec()),
            b"pass" => Step::Success(b"!".to_vec()),
            b"boom" => panic!("a mechanism has a defect"),
            _ => Step::Failure,
        }
    }
}

/// CONNECT with Authentication Method "P", and what follows it.
pub(super) const CONNECT: &[u8] = b"\x10\x12\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01P\0\x01c";
const QUESTION: &[u8] = b"\xf0\x0a\x18\x08\x15\0\x01P\x16\0\x01?";
pub(super) const ANSWER: &[u8] = b"\xf0\x0d\x18\x0b\x15\0\x01P\x16\0\x04pass";
/// AUTH with Re-authenticate, at which the mechanism panics.
pub(super) const DEFECT: &[u8] = b"\xf0\x0d\x19\x0b\x15\0\x01P\x16\0\x04boom";
const WRONG: &[u8] = b"\xf0\x0d\x18\x0b\x15\0\x01P\x16\0\x04nope";

/// Serves one connection while `client` is on its other end.
async fn with_server<F: Future<Output = ()>>(client: impl FnOnce(TcpStream) -> F) {
    let exchange = exchange::tests::exchange(Store::disabled());
    serve(Arc::new(exchange), client).await;
}

/// The same in an exchange that the client may look into.
pub(super) async fn serve<F: Future<Output = ()>>(
    exchange: Arc<Exchange>,
    client: impl FnOnce(TcpStream) -> F,
) {
    let mut access = Access::new(Limits::default(), true, Duration::from_secs(10), 10, 10);
    let mut mechanisms = Mechanisms::default();
    mechanisms.insert("P", Arc::new(|| Box::new(Password)));
    access.mechanisms = mechanisms;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (stream, peer) = listener.accept().await.unwrap();
        accept(stream, Accepted::new(peer, Arc::new(access), exchange)).await;
    };
    let client = async { client(TcpStream::connect(address).await.unwrap()).await };
    let both = async { tokio::join!(server, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("an end");
}

pub(super) async fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, expected);
}

/// The next packet's first byte and body; it is short.
pub(super) async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; header[1].into()];
    stream.read_exact(&mut body).await.unwrap();
    (header[0], body)
}

// Conforms: 5.0 [MQTT-4.12.0-5] [MQTT-4.12.1-1] [MQTT-4.12.1-2]
#[tokio::test]
async fn a_client_is_let_in_when_it_has_answered_and_may_authenticate_again() {
    with_server(async |mut stream| {
        stream.write_all(CONNECT).await.unwrap();
        expect(&mut stream, QUESTION).await;
        stream.write_all(ANSWER).await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[1]), (0x20, 0));
        assert!(body.ends_with(b"\x15\0\x01P\x16\0\x01!"), "{body:x?}");
        // AUTH with Re-authenticate.
        stream
            .write_all(b"\xf0\x06\x19\x04\x15\0\x01P")
            .await
            .unwrap();
        expect(&mut stream, QUESTION).await;
        stream.write_all(ANSWER).await.unwrap();
        expect(&mut stream, b"\xf0\x0a\0\x08\x15\0\x01P\x16\0\x01!").await;
        stream
            .write_all(b"\xf0\x06\x19\x04\x15\0\x01P")
            .await
            .unwrap();
        expect(&mut stream, QUESTION).await;
        stream.write_all(WRONG).await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xE0, 0x87));
    })
    .await;
}

// Conforms: 5.0 [MQTT-4.12.0-6] [MQTT-4.12.0-7]
#[tokio::test]
async fn a_client_that_names_no_method_gets_no_auth_and_may_send_none() {
    with_server(async |mut stream| {
        let connect = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c";
        stream.write_all(connect).await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[1]), (0x20, 0));
        // Authentication Method: its identifier would stand before a text that nothing else has.
        assert!(!body.windows(4).any(|it| it == b"\x15\0\x01P"));
        stream
            .write_all(b"\xf0\x06\x19\x04\x15\0\x01P")
            .await
            .unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xE0, 0x82));
    })
    .await;
}

// Conforms: 5.0 [MQTT-4.12.0-4]
#[tokio::test]
async fn a_client_that_does_not_answer_rightly_is_refused() {
    for (answer, reason) in [(WRONG, 0x87), (b"\xf0\0", 0x82), (b"\xc0\0", 0)] {
        with_server(async |mut stream| {
            stream.write_all(CONNECT).await.unwrap();
            expect(&mut stream, QUESTION).await;
            stream.write_all(answer).await.unwrap();
            if reason > 0 {
                let (head, body) = packet(&mut stream).await;
                assert_eq!((head, body[1]), (0x20, reason));
            }
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
        })
        .await;
    }
}

/// A client sends DISCONNECT and is taken over before its socket is looked at. True if its will
/// is published.
async fn leave_and_be_taken_over() -> bool {
    let exchange = Arc::new(exchange::tests::exchange(Store::disabled()));
    let published = || exchange.counters.published.load(Ordering::Relaxed);
    serve(Arc::clone(&exchange), async |mut stream| {
        // With a will on "w".
        let connect = b"\x10\x15\0\x04MQTT\x05\x06\0\0\0\0\x01c\0\0\x01w\0\x01x";
        stream.write_all(connect).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        stream.write_all(b"\xc0\0").await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0xD0);
        // No await in between: the runtime does not see the packet.
        assert_eq!(stream.try_write(b"\xe0\0").unwrap(), 2);
        exchange::tests::attach(&exchange, "c", true, 0);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    })
    .await;
    published() > 0
}

// Conforms: 5.0 [MQTT-3.1.2-10] [MQTT-3.14.4-3]; 3.1.1 [MQTT-3.1.2-10] [MQTT-3.14.4-3]
#[tokio::test]
async fn a_disconnect_that_has_come_counts_although_the_client_is_taken_over() {
    // The system may be late to hand the packet over, but not every time.
    for _ in 0..100 {
        if !leave_and_be_taken_over().await {
            return;
        }
    }
    panic!("the will is published every time");
}

/// A CONNECT of MQTT 5, with an identifier and without anything else.
pub(super) const PLAIN: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c";

// Conforms: 5.0 [MQTT-3.1.4-2]
#[tokio::test]
async fn a_client_that_comes_while_the_daemon_stops_is_refused_and_holds_up_nothing() {
    let exchange = Arc::new(exchange::tests::exchange(Store::disabled()));
    let earlier = exchange::tests::attach(&exchange, "c", true, 60);
    exchange.close();
    serve(Arc::clone(&exchange), async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..2]), (0x20, &[0, 0x88][..]));
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    // It took nothing over.
    let order = earlier.link.lock().order_for(earlier.owner);
    assert_eq!(order, Some(ReasonCode::ServerShuttingDown));
    exchange::tests::lose(&exchange, earlier);
    assert_eq!(exchange.registry.online(), 0);
}

#[tokio::test]
async fn what_comes_before_a_shutdown_is_delivered_before_the_farewell() {
    let exchange = Arc::new(exchange::tests::exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        stream
            .write_all(b"\x82\x07\0\x01\0\0\x01t\0")
            .await
            .unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x90);
        let topic = TopicName::new("t").unwrap();
        let message = Message::new(topic, "last");
        exchange.publish(message, None, Refusal::Silence).unwrap();
        exchange.close();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..]), (0x30, &b"\0\x01t\0last"[..]));
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xE0, 0x8B));
    })
    .await;
}

/// A store that commits each operation by itself and at once, and counts that.
fn hasty_store(directory: &std::path::Path) -> Store {
    let options = Options {
        durability: Durability::Full,
        commit_interval: Duration::ZERO,
        commit_operations: 1,
        ..Options::default()
    };
    Store::open(directory, options).unwrap().0
}

fn commits(directory: &std::path::Path) -> u64 {
    let epoch = std::fs::read_to_string(directory.join("tidegate.epoch")).unwrap();
    epoch.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_came_before_a_violation_is_answered_although_the_store_takes_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        commit_interval: Duration::from_millis(300),
        ..Options::default()
    };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let exchange = Arc::new(exchange::tests::exchange(store.clone()));
    let away = exchange::tests::attach(&exchange, "away", true, 60);
    let at_least_once = exchange::tests::qos(QoS::AtLeastOnce);
    exchange::tests::subscribe(&exchange, &away.link, "t", at_least_once);
    serve(exchange, async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        // After this commit the next one takes its time.
        stream.write_all(b"\x32\x07\0\x01t\0\x08\0x").await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x40);
        // A second CONNECT comes behind a message.
        let message = b"\x32\x07\0\x01t\0\x09\0x";
        stream.write_all(&[message, PLAIN].concat()).await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..2]), (0x40, &b"\0\x09"[..]));
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xE0, 0x82));
    })
    .await;
    store.close().unwrap();
}

// Conforms: 5.0 [MQTT-4.3.3-10]; 3.1.1 [MQTT-4.3.3-2]
#[tokio::test]
async fn a_qos_2_message_its_identifier_and_all_its_places_are_in_one_commit() {
    // So many that the store would not wait for all of them.
    const SUBSCRIBERS: usize = 500;
    let directory = tempfile::tempdir().unwrap();
    let store = hasty_store(directory.path());
    let mut exchange = exchange::tests::exchange(store.clone());
    exchange.bounds.sessions_max = 2 * SUBSCRIBERS;
    let exchange = Arc::new(exchange);
    for number in 0..SUBSCRIBERS {
        let link = exchange::tests::attach(&exchange, &format!("s{number}"), true, 60).link;
        let qos = exchange::tests::qos(QoS::ExactlyOnce);
        exchange::tests::subscribe(&exchange, &link, "t", qos);
    }
    serve(Arc::clone(&exchange), async |mut stream| {
        // A session that outlives the connection by a minute.
        let connect = b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x11\0\0\0\x3c\0\x01c";
        stream.write_all(connect).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        let position = store.submit(Operation::Undelay(1));
        std::future::poll_fn(|context| store.poll_durable(position, context)).await;
        let before = commits(directory.path());
        stream.write_all(b"\x34\x07\0\x01t\0\x09\0x").await.unwrap();
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..2]), (0x50, &b"\0\x09"[..]));
        assert_eq!(commits(directory.path()), before + 1);
    })
    .await;
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let sessions = recovered.sessions;
    assert_eq!(
        sessions.iter().filter(|it| it.waiting() == 1).count(),
        SUBSCRIBERS
    );
    assert!(sessions.iter().any(|it| it.received == [9]));
    store.close().unwrap();
}
