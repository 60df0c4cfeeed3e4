//! A UDP proxy that loses and delays what goes through it, as it is told.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::reservation;

/// Bytes of the largest datagram.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Datagrams of one client that wait to be carried; further ones are lost, as they may be with UDP.
const WAITING_MAX: usize = 1_024;

/// What happens to datagrams, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are carried.
    Pass,
    /// They are lost: to both sides the other one is silent.
    Lose,
    /// One of so many is lost, in each direction of each flow.
    LoseOneOf(u32),
    /// They are carried, each after this time.
    Delay(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    fate: Fate,
    /// A flow that began under an earlier number gets another address towards the target.
    rebindings: usize,
}

/// A proxy to a UDP port of the loopback interface.
#[derive(Debug)]
pub struct UdpProxy {
    port: u16,
    orders: Option<watch::Sender<Orders>>,
    thread: Option<JoinHandle<()>>,
}

impl UdpProxy {
    /// Starts one that passes everything.
    ///
    /// # Panics
    /// The system has no thread or port for it.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let port = reservation::port();
        let socket = StdUdpSocket::bind(("127.0.0.1", port)).expect("the reserved port");
        socket.set_nonblocking(true).expect("a socket");
        let (orders, followed) = watch::channel(Orders {
            fate: Fate::Pass,
            rebindings: 0,
        });
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let serving = serve(socket, target, followed);
            runtime.expect("a runtime").block_on(serving);
        });
        Self {
            port,
            orders: Some(orders),
            thread: Some(thread),
        }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What happens to datagrams from now on.
    pub fn set(&self, fate: Fate) {
        self.order(|it| it.fate = fate);
    }

    /// From now on the target sees everybody under a new address, as behind a router that has
    /// forgotten them.
    pub fn rebind(&self) {
        self.order(|it| it.rebindings += 1);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        if let Some(orders) = &self.orders {
            orders.send_modify(change);
        }
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Until nobody gives orders any more.
async fn serve(socket: StdUdpSocket, target: u16, mut orders: watch::Receiver<Orders>) {
    let near = Arc::new(UdpSocket::from_std(socket).expect("a socket"));
    let mut tasks = JoinSet::new();
    let mut flows: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut rebindings = 0;
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        tokio::select! {
            received = near.recv_from(&mut datagram) => {
                // A client that is gone answers with an error.
                let Ok((count, client)) = received else { continue };
                let flow = flows.entry(client).or_insert_with(|| {
                    let (flow, datagrams) = mpsc::channel(WAITING_MAX);
                    tasks.spawn(carry(Arc::clone(&near), client, target, orders.clone(), datagrams));
                    flow
                });
                flow.try_send(datagram[..count].to_vec()).ok();
            }
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = orders.borrow_and_update().rebindings;
                if rebindings != now {
                    rebindings = now;
                    flows.clear();
                }
            }
        }
    }
}

/// What goes between one client and the target, until its datagrams end.
async fn carry(
    near: Arc<UdpSocket>,
    client: SocketAddr,
    target: u16,
    orders: watch::Receiver<Orders>,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
) {
    let far = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port");
    far.connect(("127.0.0.1", target)).await.expect("a target");
    let [mut to_target, mut to_client] = [Lane::default(), Lane::default()];
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        let fate = || orders.borrow().fate;
        tokio::select! {
            sent = datagrams.recv() => match sent {
                Some(sent) => to_target.put(sent, fate()),
                None => return,
            },
            received = far.recv(&mut datagram) => if let Ok(count) = received {
                to_client.put(datagram[..count].to_vec(), fate());
            },
            // What cannot be sent is lost, as it may be with UDP.
            due = to_target.next() => { far.send(&due).await.ok(); }
            due = to_client.next() => { near.send_to(&due, client).await.ok(); }
        }
    }
}

/// The datagrams of one direction, in their order.
#[derive(Default)]
struct Lane {
    /// How many came.
    count: u32,
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

impl Lane {
    fn put(&mut self, datagram: Vec<u8>, fate: Fate) {
        self.count = self.count.wrapping_add(1);
        let delay = match fate {
            Fate::Pass => Duration::ZERO,
            Fate::Lose => return,
            Fate::LoseOneOf(number) if self.count.is_multiple_of(number) => return,
            Fate::LoseOneOf(_) => Duration::ZERO,
            Fate::Delay(time) => time,
        };
        self.waiting.push_back((Instant::now() + delay, datagram));
    }

    /// The one whose time has come; loses nothing if it is dropped before.
    async fn next(&mut self) -> Vec<u8> {
        if let Some((due, _)) = self.waiting.front() {
            sleep_until(*due).await;
        }
        match self.waiting.pop_front() {
            Some((_, datagram)) => datagram,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;

    /// Whether a datagram comes through within a moment, and from whom.
    fn arrives(near: &StdUdpSocket, far: &StdUdpSocket, byte: u8) -> Option<SocketAddr> {
        near.send(&[byte]).unwrap();
        let mut found = [0];
        far.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let (_, from) = far.recv_from(&mut found).ok()?;
        (found == [byte]).then_some(from)
    }

    #[test]
    fn datagrams_are_carried_lost_delayed_and_get_another_sender() {
        let far = StdUdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let proxy = UdpProxy::start(far.local_addr().unwrap().port());
        let near = StdUdpSocket::bind(("127.0.0.1", 0)).unwrap();
        near.connect(("127.0.0.1", proxy.port())).unwrap();
        let first = arrives(&near, &far, 1).unwrap();
        far.send_to(&[2], first).unwrap();
        let mut found = [0];
        near.recv(&mut found).unwrap();
        assert_eq!(found, [2]);
        assert_eq!(arrives(&near, &far, 3), Some(first));

        proxy.set(Fate::Lose);
        // An order takes effect a moment after it is given.
        until("nothing comes", || arrives(&near, &far, 4).is_none());
        proxy.set(Fate::LoseOneOf(2));
        until("half of it comes", || {
            let came = (0..4).filter(|byte| arrives(&near, &far, *byte).is_some());
            came.count() == 2
        });
        proxy.set(Fate::Pass);
        until("it comes again", || arrives(&near, &far, 5).is_some());
        proxy.rebind();
        until("it has another sender", || {
            arrives(&near, &far, 6).is_some_and(|it| it != first)
        });
        let delay = Duration::from_millis(300);
        proxy.set(Fate::Delay(delay));
        until("it is late", || arrives(&near, &far, 7).is_none());
        far.set_read_timeout(None).unwrap();
        far.recv(&mut found).unwrap();
        assert_eq!(found, [7]);
    }
}
