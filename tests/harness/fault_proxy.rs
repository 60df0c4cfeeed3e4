//! A TCP proxy that breaks what goes through it, as it is told.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::reservation;

/// Bytes that are carried at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// A limited flow is given its bytes so often in a second.
const SHARES_PER_SECOND: u32 = 50;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are carried.
    Pass,
    /// They stay where they are, and go on with the next order.
    Stop,
    /// They are carried, each piece after this time.
    Delay(Duration),
    /// So many are carried in a second.
    Limit(usize),
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// They are led to the target.
    Open,
    /// Nobody listens.
    Refused,
    /// They are taken, and what comes is swallowed.
    BlackHole,
}

/// The state that all connections follow.
#[derive(Clone, Copy, Debug)]
struct Orders {
    gate: Gate,
    /// Towards the target, and back.
    flows: [Flow; 2],
    /// A connection that was made under an earlier number is reset.
    cuts: usize,
    /// A connection that was made under an earlier number is swallowed from now on, and its target
    /// hears nothing of that, or that it has ended.
    black_holes: usize,
    /// The same, and its target is told that it has ended.
    half_opens: usize,
}

/// A proxy to a port of the loopback interface.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    orders: Option<watch::Sender<Orders>>,
    accepted: Arc<AtomicUsize>,
    /// Bytes towards the target, and back.
    carried: Arc<[AtomicU64; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts one that passes everything.
    ///
    /// # Panics
    /// The system has no thread or port for it.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let port = reservation::port();
        let (orders, followed) = watch::channel(Orders {
            gate: Gate::Open,
            flows: [Flow::Pass; 2],
            cuts: 0,
            black_holes: 0,
            half_opens: 0,
        });
        let listener = listen(port).expect("the reserved port");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let carried = Arc::<[AtomicU64; 2]>::default();
        let carries = Arc::clone(&carried);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let serving = serve((port, target), listener, followed, &count, &carries);
            runtime.expect("a runtime").block_on(serving);
        });
        Self {
            port,
            orders: Some(orders),
            accepted,
            carried,
            thread: Some(thread),
        }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that it has accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Bytes that it has carried so far towards the target, and back.
    #[must_use]
    pub fn carried(&self) -> [u64; 2] {
        self.carried.each_ref().map(|it| it.load(Ordering::SeqCst))
    }

    /// New connections are led to the target, and those that were stopped or slow go on.
    pub fn pass(&self) {
        self.order(|it| {
            it.gate = Gate::Open;
            it.flows = [Flow::Pass; 2];
        });
    }

    /// Resets all connections there are; new ones are as before.
    pub fn cut(&self) {
        self.order(|it| it.cuts += 1);
    }

    /// Resets all connections, and nobody listens any more.
    pub fn refuse(&self) {
        self.order(|it| {
            it.cuts += 1;
            it.gate = Gate::Refused;
        });
    }

    /// Swallows what comes from now on, from connections there are and from new ones. None ends.
    pub fn black_hole(&self) {
        self.order(|it| {
            it.black_holes += 1;
            it.gate = Gate::BlackHole;
        });
    }

    /// The target loses all its connections, and those who have made them hear nothing of it.
    pub fn half_open(&self) {
        self.order(|it| it.half_opens += 1);
    }

    /// What happens to bytes towards the target, and back.
    pub fn flow(&self, to_target: Flow, from_target: Flow) {
        self.order(|it| it.flows = [to_target, from_target]);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        if let Some(orders) = &self.orders {
            orders.send_modify(change);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn listen(port: u16) -> io::Result<StdTcpListener> {
    let listener = StdTcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Until nobody gives orders any more.
async fn serve(
    (port, target): (u16, u16),
    listener: StdTcpListener,
    mut orders: watch::Receiver<Orders>,
    accepted: &AtomicUsize,
    carried: &Arc<[AtomicU64; 2]>,
) {
    let mut connections = JoinSet::new();
    let mut listener = Some(TcpListener::from_std(listener).expect("a listener"));
    loop {
        let is_refused = orders.borrow_and_update().gate == Gate::Refused;
        if is_refused {
            listener = None;
        } else if listener.is_none() {
            let again = listen(port).and_then(TcpListener::from_std);
            listener = Some(again.expect("the reserved port again"));
        }
        let incoming = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            incoming = incoming => {
                let (stream, _) = incoming.expect("a connection");
                accepted.fetch_add(1, Ordering::SeqCst);
                let carried = Arc::clone(carried);
                connections.spawn(carry(stream, target, orders.clone(), carried));
            }
            changed = orders.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// One connection, to its end.
async fn carry(
    mut client: TcpStream,
    target: u16,
    mut orders: watch::Receiver<Orders>,
    carried: Arc<[AtomicU64; 2]>,
) {
    let born = *orders.borrow_and_update();
    let is_cut = {
        let mut orders = orders.clone();
        async move { orders.wait_for(|it| it.cuts != born.cuts).await.is_ok() }
    };
    client.set_nodelay(true).ok();
    tokio::select! {
        // What is dropped with unread bytes is reset too.
        _ = is_cut => {}
        () = converse(&mut client, target, born, orders, &carried) => return,
    }
    client.set_zero_linger().ok();
}

/// Until either side has ended, or what is left of it is swallowed to its end.
async fn converse(
    client: &mut TcpStream,
    target: u16,
    born: Orders,
    orders: watch::Receiver<Orders>,
    carried: &[AtomicU64; 2],
) {
    let mut target_stream = None;
    if born.gate != Gate::BlackHole {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", target)).await else {
            return;
        };
        stream.set_nodelay(true).ok();
        let mut followed = orders.clone();
        let is_broken = followed
            .wait_for(|it| (it.black_holes, it.half_opens) != (born.black_holes, born.half_opens));
        tokio::select! {
            _ = is_broken => {}
            () = exchange(client, &mut stream, &orders, carried) => return,
        }
        // With a black hole the target hears nothing; else it hears the end.
        if orders.borrow().half_opens == born.half_opens {
            target_stream = Some(stream);
        }
    }
    swallow(client).await;
    drop(target_stream);
}

async fn swallow(client: &mut TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while client.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
}

/// Carries bytes both ways until either side ends.
async fn exchange(
    client: &mut TcpStream,
    target: &mut TcpStream,
    orders: &watch::Receiver<Orders>,
    carried: &[AtomicU64; 2],
) {
    let (client_reader, client_writer) = client.split();
    let (target_reader, target_writer) = target.split();
    tokio::select! {
        _ = pump(client_reader, target_writer, (0, carried), orders.clone()) => {}
        _ = pump(target_reader, client_writer, (1, carried), orders.clone()) => {}
    }
}

/// Carries bytes in one direction, which has this place among the flows, and counts them.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    (direction, carried): (usize, &[AtomicU64; 2]),
    mut orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let flow = orders.borrow_and_update().flows[direction];
        let most = match flow {
            Flow::Pass | Flow::Delay(_) => CHUNK_BYTES,
            Flow::Limit(bytes) => (bytes / SHARES_PER_SECOND as usize).clamp(1, CHUNK_BYTES),
            Flow::Stop => 0,
        };
        let count = tokio::select! {
            count = from.read(&mut chunk[..most]), if most > 0 => count?,
            changed = orders.changed() => {
                changed.map_err(io::Error::other)?;
                continue;
            }
        };
        if count == 0 {
            return Ok(());
        }
        match flow {
            Flow::Delay(time) => sleep(time).await,
            Flow::Limit(_) => sleep(Duration::from_secs(1) / SHARES_PER_SECOND).await,
            Flow::Pass | Flow::Stop => {}
        }
        to.write_all(&chunk[..count]).await?;
        carried[direction].fetch_add(count as u64, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::wait::until;

    /// A connection through the proxy and its other end.
    fn connect(proxy: &FaultProxy, target: &StdTcpListener) -> [TcpStream; 2] {
        let near = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        [near, target.accept().unwrap().0]
    }

    fn carries(from: &mut TcpStream, to: &mut TcpStream, byte: u8) -> bool {
        from.write_all(&[byte]).unwrap();
        let mut found = [0];
        to.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        to.read_exact(&mut found).is_ok() && found == [byte]
    }

    fn is_reset(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(None).unwrap();
        let read = stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    #[test]
    fn connections_are_carried_cut_and_refused() {
        let target = StdTcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = FaultProxy::start(target.local_addr().unwrap().port());
        let [mut near, mut far] = connect(&proxy, &target);
        assert!(carries(&mut near, &mut far, 1) && carries(&mut far, &mut near, 2));
        proxy.cut();
        assert!(is_reset(&mut near));
        assert_eq!(far.read(&mut [0]).unwrap_or_default(), 0);
        let [mut near, _far] = connect(&proxy, &target);
        proxy.refuse();
        assert!(is_reset(&mut near));
        let address = ("127.0.0.1", proxy.port());
        until("nobody listens", || TcpStream::connect(address).is_err());
        proxy.pass();
        until("it listens again", || TcpStream::connect(address).is_ok());
        // The system accepts before the proxy does.
        until("it is counted", || proxy.accepted() >= 3);
    }

    #[test]
    fn a_stopped_flow_goes_on_and_a_swallowed_one_does_not() {
        let target = StdTcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = FaultProxy::start(target.local_addr().unwrap().port());
        let [mut near, mut far] = connect(&proxy, &target);
        proxy.flow(Flow::Stop, Flow::Pass);
        assert!(carries(&mut far, &mut near, 1));
        // An order takes effect a moment after it is given.
        until("nothing comes", || !carries(&mut near, &mut far, 2));
        proxy.pass();
        let mut found = [0];
        far.read_exact(&mut found).unwrap();
        assert_eq!(found, [2]);
        proxy.black_hole();
        until("it is swallowed", || !carries(&mut near, &mut far, 3));
        let mut swallowed = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        swallowed.write_all(b"4").unwrap();
        swallowed
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let read = swallowed.read(&mut [0]);
        assert!(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        proxy.pass();
        assert!(!carries(&mut near, &mut far, 5));
        let [mut near, mut far] = connect(&proxy, &target);
        proxy.half_open();
        assert_eq!(far.read(&mut [0]).unwrap_or_default(), 0);
        near.write_all(b"6").unwrap();
        near.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let read = near.read(&mut [0]);
        assert!(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
}
