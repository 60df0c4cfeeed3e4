//! A connection that is polled by hand: something comes before each step towards passivation, or
//! behind it, and nothing of it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mqtt::connection::Limits;
use mqtt::{QoS, ReasonCode};
use persistence::Store;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::{PATIENCE, PING};
use crate::connection::passivation::Passive;
use crate::connection::serve::Connection;
use crate::connection::tests::{PLAIN, packet};
use crate::connection::{Accepted, Access, handshake};
use crate::exchange::Exchange;
use crate::exchange::tests::{attach, exchange, message, publish, qos, subscribe};

/// Counts how often a task would have been woken.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that is polled by hand, and its client.
struct ByHand {
    exchange: Arc<Exchange>,
    served: Served,
    client: TcpStream,
    wakes: Arc<Wakes>,
    waker: Waker,
}

enum Served {
    Active(Box<Connection>),
    Passive(Passive),
}

impl ByHand {
    async fn new() -> Self {
        let exchange = Arc::new(exchange(Store::disabled()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(PLAIN).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let access = Access::new(Limits::default(), true, PATIENCE, 10, 10);
        let accepted = Accepted::new(peer, Arc::new(access), Arc::clone(&exchange));
        let connection = handshake::let_in(stream, &accepted).await.unwrap();
        assert_eq!(packet(&mut client).await.0, 0x20);
        let wakes = Arc::new(Wakes::default());
        Self {
            exchange,
            served: Served::Active(connection),
            client,
            waker: Waker::from(Arc::clone(&wakes)),
            wakes,
        }
    }

    /// The actor's poll, which finds nothing.
    fn serve(&mut self) {
        let Served::Active(connection) = &mut self.served else {
            panic!("it is passive");
        };
        let mut context = Context::from_waker(&self.waker);
        assert_eq!(connection.poll_serve(&mut context), Poll::Pending);
    }

    /// The actor is given up if there is nothing to do; false if there is something.
    fn passivate(mut self) -> (Self, bool) {
        let Served::Active(mut connection) = self.served else {
            panic!("it is passive");
        };
        let is_idle = connection.is_idle(&Context::from_waker(&self.waker));
        self.served = if is_idle {
            Served::Passive(Passive::from(connection))
        } else {
            Served::Active(connection)
        };
        (self, is_idle)
    }

    fn is_stirred(&mut self) -> bool {
        let Served::Passive(passive) = &mut self.served else {
            panic!("it is active");
        };
        let mut context = Context::from_waker(&self.waker);
        passive.poll_active(&mut context).is_ready()
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    /// Something comes; the runtime has seen it when this returns.
    async fn come(&mut self, what: Coming) {
        let (link, stream) = match &self.served {
            Served::Active(it) => (&it.client.link, &it.stream),
            Served::Passive(it) => (&it.0.link, &it.0.stream),
        };
        match what {
            Coming::Bytes => {
                self.client.write_all(PING).await.unwrap();
                stream.readable().await.unwrap();
            }
            Coming::Delivery => {
                subscribe(&self.exchange, link, "t", qos(QoS::AtMostOnce));
                let publisher = attach(&self.exchange, "p", true, 0).link;
                let message = message("t", "x", QoS::AtMostOnce, false);
                publish(&self.exchange, message, &publisher);
            }
            Coming::Order => link.order(ReasonCode::AdministrativeAction),
            Coming::Takeover => {
                attach(&self.exchange, "c", true, 0);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Coming {
    Bytes,
    Delivery,
    Order,
    Takeover,
}

const COMING: [Coming; 4] = [
    Coming::Bytes,
    Coming::Delivery,
    Coming::Order,
    Coming::Takeover,
];

#[tokio::test]
async fn nothing_is_lost_that_comes_before_an_actor_is_given_up() {
    for what in COMING {
        let mut by_hand = ByHand::new().await;
        by_hand.serve();
        let before = by_hand.wakes();
        by_hand.come(what).await;
        assert!(by_hand.wakes() > before, "{what:?}: the task runs again");
        // Bytes are found by the passive task, the others by the actor.
        let (mut by_hand, is_idle) = by_hand.passivate();
        assert!(!is_idle || by_hand.is_stirred(), "{what:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_that_comes_while_an_actor_is_given_up() {
    for what in COMING {
        let mut by_hand = ByHand::new().await;
        by_hand.serve();
        let (mut by_hand, is_idle) = by_hand.passivate();
        assert!(is_idle);
        by_hand.come(what).await;
        assert!(by_hand.is_stirred(), "{what:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_that_comes_when_an_actor_was_given_up() {
    for what in COMING {
        let mut by_hand = ByHand::new().await;
        by_hand.serve();
        let (mut by_hand, is_idle) = by_hand.passivate();
        assert!(is_idle);
        assert!(!by_hand.is_stirred());
        let before = by_hand.wakes();
        by_hand.come(what).await;
        assert!(by_hand.wakes() > before, "{what:?}: the task runs again");
        assert!(by_hand.is_stirred(), "{what:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_that_comes_before_there_was_an_actor() {
    for what in COMING {
        let (mut by_hand, is_idle) = ByHand::new().await.passivate();
        assert!(is_idle && !by_hand.is_stirred());
        by_hand.come(what).await;
        assert!(by_hand.wakes() > 0, "{what:?}: the task runs again");
        assert!(by_hand.is_stirred(), "{what:?}");
    }
}
