//! Connections that are passive when something comes, and that become so while something comes.

mod by_hand;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway::Template;
use mqtt::connection::Limits;
use mqtt::{QoS, ReasonCode};
use persistence::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::connection::tests::{ANSWER, CONNECT, DEFECT, PLAIN, expect, packet, serve};
use crate::connection::{Accepted, Access, accept};
use crate::exchange::tests::{attach, exchange, message, publish, qos, received, subscribe};
use crate::exchange::{self, Exchange, Refusal};
use crate::extensions::AutoSubscription;
use crate::link::Link;

const PING: &[u8] = b"\xc0\0";
const PONG: &[u8] = b"\xd0\0";
const PATIENCE: Duration = Duration::from_secs(20);

fn link(exchange: &Exchange) -> Arc<Link> {
    let mut links = exchange.registry.links().into_iter();
    links.find(|it| &*it.client_id == "c").unwrap()
}

/// Connects, and has the connection served by an actor.
async fn begin(exchange: &Exchange, stream: &mut TcpStream) -> Arc<Link> {
    stream.write_all(PLAIN).await.unwrap();
    assert_eq!(packet(stream).await.0, 0x20);
    let link = link(exchange);
    ping(stream).await;
    assert!(link.activity.is_passive(), "the first turn needs no actor");
    ping(stream).await;
    assert!(!link.activity.is_passive());
    link
}

async fn ping(stream: &mut TcpStream) {
    stream.write_all(PING).await.unwrap();
    expect(stream, PONG).await;
}

/// The timekeeper sweeps until the actor is given up.
async fn passivate(exchange: &Exchange, link: &Link) {
    while !link.activity.is_passive() {
        exchange.sweep();
        tokio::task::yield_now().await;
    }
}

/// The timekeeper sweeps, and the actor is not given up.
async fn sweep_in_vain(exchange: &Exchange, link: &Link) {
    for _ in 0..20 {
        exchange.sweep();
        tokio::task::yield_now().await;
        assert!(!link.activity.is_passive());
    }
}

/// Does something while a connection is passive; its client gets a DISCONNECT for this reason.
async fn while_passive(act: impl FnOnce(&Arc<Exchange>, &Arc<Link>), reason: ReasonCode) {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let link = begin(&exchange, &mut stream).await;
        passivate(&exchange, &link).await;
        act(&exchange, &link);
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, body[0]), (0xe0, reason as u8));
    })
    .await;
    assert_eq!(exchange.registry.online(), 0);
}

#[tokio::test]
async fn a_passive_client_is_served_when_it_sends_again_and_again() {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let link = begin(&exchange, &mut stream).await;
        for _ in 0..10 {
            passivate(&exchange, &link).await;
            ping(&mut stream).await;
            assert!(!link.activity.is_passive());
        }
    })
    .await;
    assert_eq!(exchange.registry.online(), 0);
}

#[tokio::test]
async fn a_client_that_sends_nothing_after_connect_needs_no_actor() {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        let link = link(&exchange);
        assert!(link.activity.is_passive());
        exchange.sweep();
        exchange.sweep();
        tokio::task::yield_now().await;
        assert!(link.activity.is_passive());
        drop(stream);
        while exchange.registry.online() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_comes_together_with_the_connect_is_answered() {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let both = [PLAIN, PING].concat();
        stream.write_all(&both).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        expect(&mut stream, PONG).await;
    })
    .await;
}

/// Messages of this QoS reach a passive client.
async fn deliver_while_passive(level: QoS, first: u8) {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let link = begin(&exchange, &mut stream).await;
        subscribe(&exchange, &link, "t", qos(QoS::AtLeastOnce));
        let publisher = attach(&exchange, "p", true, 0).link;
        for _ in 0..3 {
            passivate(&exchange, &link).await;
            publish(&exchange, message("t", "x", level, false), &publisher);
            let (head, body) = packet(&mut stream).await;
            assert_eq!((head, &body[..3]), (first, &b"\0\x01t"[..]));
            if level == QoS::AtLeastOnce {
                // It may have to be sent again.
                sweep_in_vain(&exchange, &link).await;
                let puback = [0x40, 2, body[3], body[4]];
                stream.write_all(&puback).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn deliveries_reach_a_passive_client() {
    deliver_while_passive(QoS::AtMostOnce, 0x30).await;
    deliver_while_passive(QoS::AtLeastOnce, 0x32).await;
}

#[tokio::test]
async fn retained_messages_reach_a_passive_client_that_subscribes() {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let publisher = attach(&exchange, "p", true, 0).link;
        let retained = message("t", "x", QoS::AtMostOnce, true);
        publish(&exchange, retained, &publisher);
        let link = begin(&exchange, &mut stream).await;
        passivate(&exchange, &link).await;
        stream
            .write_all(b"\x82\x07\0\x09\0\0\x01t\0")
            .await
            .unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x90);
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..3]), (0x31, &b"\0\x01t"[..]));
    })
    .await;
}

#[tokio::test]
async fn retained_messages_of_an_automatic_subscription_reach_a_client_that_sends_nothing() {
    let mut exchange = exchange(Store::disabled());
    exchange.extensions.auto_subscriptions = vec![AutoSubscription {
        filter: Template::parse("t").unwrap(),
        options: qos(QoS::AtMostOnce),
    }];
    let exchange = Arc::new(exchange);
    serve(Arc::clone(&exchange), async |mut stream| {
        let publisher = attach(&exchange, "p", true, 0).link;
        let retained = message("t", "x", QoS::AtMostOnce, true);
        publish(&exchange, retained, &publisher);
        stream.write_all(PLAIN).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..3]), (0x31, &b"\0\x01t"[..]));
    })
    .await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_to_a_client_that_sends_nothing() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let earlier = attach(&exchange, "c", true, 60);
    subscribe(&exchange, &earlier.link, "t", qos(QoS::AtLeastOnce));
    let publisher = attach(&exchange, "p", true, 0).link;
    let message = message("t", "x", QoS::AtLeastOnce, false);
    publish(&exchange, message, &publisher);
    assert_eq!(received(&exchange, &earlier.link).len(), 1);
    exchange::tests::lose(&exchange, earlier);
    serve(Arc::clone(&exchange), async |mut stream| {
        // Without Clean Start.
        let connect = b"\x10\x0e\0\x04MQTT\x05\0\0\0\0\0\x01c";
        stream.write_all(connect).await.unwrap();
        assert_eq!(packet(&mut stream).await.0, 0x20);
        // DUP and QoS 1.
        let (head, body) = packet(&mut stream).await;
        assert_eq!((head, &body[..3]), (0x3a, &b"\0\x01t"[..]));
    })
    .await;
}

#[tokio::test]
async fn a_passive_client_is_taken_over() {
    let act = |exchange: &Arc<Exchange>, _: &Arc<Link>| {
        let attached = attach(exchange, "c", true, 0);
        exchange::tests::lose(exchange, attached);
    };
    while_passive(act, ReasonCode::SessionTakenOver).await;
}

#[tokio::test]
async fn a_passive_client_is_told_to_go() {
    let act = |_: &Arc<Exchange>, link: &Arc<Link>| link.order(ReasonCode::AdministrativeAction);
    while_passive(act, ReasonCode::AdministrativeAction).await;
}

#[tokio::test]
async fn a_passive_client_is_told_that_the_daemon_stops() {
    let reason = ReasonCode::ServerShuttingDown;
    while_passive(|exchange, _| exchange.close(), reason).await;
}

#[tokio::test]
async fn a_passive_client_has_to_keep_alive() {
    let act = |exchange: &Arc<Exchange>, link: &Arc<Link>| {
        let alive = link.last_packet();
        link.lock().keep_alive_millis = Some(0);
        while exchange.now() <= alive {
            std::hint::spin_loop();
        }
        exchange.sweep();
    };
    while_passive(act, ReasonCode::KeepAliveTimeout).await;
}

#[tokio::test]
async fn an_actor_stays_while_a_packet_is_incomplete() {
    let exchange = Arc::new(exchange(Store::disabled()));
    serve(Arc::clone(&exchange), async |mut stream| {
        let link = begin(&exchange, &mut stream).await;
        passivate(&exchange, &link).await;
        let (first, last) = PING.split_at(1);
        stream.write_all(first).await.unwrap();
        while link.activity.is_passive() {
            tokio::task::yield_now().await;
        }
        sweep_in_vain(&exchange, &link).await;
        stream.write_all(last).await.unwrap();
        expect(&mut stream, PONG).await;
        passivate(&exchange, &link).await;
    })
    .await;
}

/// A client that makes the server panic, at once or when it has an actor, is gone, and its session
/// too.
#[tokio::test]
async fn a_panic_ends_one_connection_in_order() {
    for pings in [0, 2] {
        let exchange = Arc::new(exchange(Store::disabled()));
        serve(Arc::clone(&exchange), async |mut stream| {
            stream.write_all(CONNECT).await.unwrap();
            assert_eq!(packet(&mut stream).await.0, 0xf0);
            stream.write_all(ANSWER).await.unwrap();
            assert_eq!(packet(&mut stream).await.0, 0x20);
            for _ in 0..pings {
                ping(&mut stream).await;
            }
            assert_eq!(exchange.registry.online(), 1);
            stream.write_all(DEFECT).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
        })
        .await;
        assert_eq!(exchange.registry.online(), 0);
    }
}

/// Sends, and is sent, something at random moments; returns how often it was passive before.
async fn converse(exchange: Arc<Exchange>, client_id: u8, mut stream: TcpStream) -> usize {
    const ROUNDS: u8 = 100;
    let mut connect = PLAIN.to_vec();
    *connect.last_mut().unwrap() = client_id;
    stream.write_all(&connect).await.unwrap();
    assert_eq!(packet(&mut stream).await.0, 0x20);
    let topic = char::from(client_id).to_string();
    let links = exchange.registry.links().into_iter();
    let link = links.into_iter().find(|it| *it.client_id == *topic);
    let link = link.unwrap();
    subscribe(&exchange, &link, &topic, qos(QoS::AtMostOnce));
    let mut was_passive = 0;
    for round in 0..ROUNDS {
        // None, or some, of the steps towards passivation.
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        was_passive += usize::from(link.activity.is_passive());
        stream.write_all(PING).await.unwrap();
        let message = message(&topic, "x", QoS::AtMostOnce, false);
        exchange.publish(message, None, Refusal::Silence).unwrap();
        let mut heads = [packet(&mut stream).await.0, packet(&mut stream).await.0];
        heads.sort_unstable();
        assert_eq!(heads, [0x30, 0xd0]);
    }
    was_passive
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_lost_while_actors_come_and_go() {
    const CLIENTS: u8 = 26;
    let exchange = Arc::new(exchange(Store::disabled()));
    let access = Arc::new(Access::new(Limits::default(), true, PATIENCE, 100, 100));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let mut clients = tokio::task::JoinSet::new();
    for client_id in b'A'..b'A' + CLIENTS {
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let accepted = Accepted::new(peer, Arc::clone(&access), Arc::clone(&exchange));
        tasks.spawn(accept(stream, accepted));
        clients.spawn(converse(Arc::clone(&exchange), client_id, client));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let timekeeper = {
        let (exchange, is_over) = (Arc::clone(&exchange), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                exchange.sweep();
                std::thread::yield_now();
            }
        })
    };
    let conversed = tokio::time::timeout(PATIENCE, clients.join_all()).await;
    is_over.store(true, Ordering::Relaxed);
    timekeeper.join().unwrap();
    let was_passive: usize = conversed.expect("everything comes").iter().sum();
    assert!(was_passive > 0, "the test shows something");
    tasks.join_all().await;
    assert_eq!(exchange.registry.online(), 0);
}
