//! The gateway between a broker of the test's own and independent `ZeroMQ` peers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use gateway::testing::FakeBroker;
use gateway::{DropReason, Fault, Gateway, LinkState, Status};
use gateway_zmq::{Publisher, Subscriber, ZmqGateway};
use mqtt::{Message, QoS};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use zeromq::{PubSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage};

/// More than anything here takes; a test that gets this far has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is tried until it has an effect.
const TRY_PAUSE: Duration = Duration::from_millis(20);
const BURST: usize = 10_000;

/// A gateway that runs until this is dropped.
struct Running {
    broker: Arc<FakeBroker>,
    status: Arc<Status>,
    gateway: Arc<ZmqGateway>,
    task: JoinSet<Fault>,
}

impl Running {
    fn start(config: &str) -> Self {
        let gateway = ZmqGateway::new("plant", toml::from_str(config).unwrap()).unwrap();
        let mut running = Self {
            broker: Arc::default(),
            status: Arc::default(),
            gateway: Arc::new(gateway),
            task: JoinSet::new(),
        };
        running.restart();
        running
    }

    /// Drops the future and at once runs the gateway again.
    fn restart(&mut self) {
        let (client, status) = (self.broker.client(), Arc::clone(&self.status));
        self.task = JoinSet::new();
        self.task.spawn(self.gateway.run(client, status));
    }

    async fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.status) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.status);
            tokio::time::sleep(TRY_PAUSE).await;
        }
    }

    async fn until_up(&self) {
        self.until("up", |status| status.link() == LinkState::Up)
            .await;
    }

    /// Takes everything published so far once `is_enough` says so.
    async fn take_when(&self, is_enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        let published = timeout(PATIENCE, self.broker.take_when(is_enough)).await;
        published.unwrap_or_else(|_| panic!("only {} were published", self.broker.published()))
    }

    async fn fault(mut self) -> (String, LinkState) {
        let ended = timeout(PATIENCE, self.task.join_next()).await.unwrap();
        (ended.unwrap().unwrap().to_string(), self.status.link())
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn frames(parts: &[&str]) -> ZmqMessage {
    let parts: Vec<bytes::Bytes> = parts
        .iter()
        .map(|part| part.to_string().into_bytes().into())
        .collect();
    ZmqMessage::try_from(parts).unwrap()
}

/// Publishes until the gateway has taken a message: subscriptions take a moment to arrive.
async fn sync_into(running: &Running, peer: &mut PubSocket, frame: &str, payload: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !running.broker.has(payload.as_bytes()) {
        assert!(Instant::now() < deadline, "{:?}", running.status);
        // A socket of this library fails to send while its subscriber is going away.
        let _sent = peer.send(frames(&[frame, payload])).await;
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

/// Delivers until the peer receives something, and returns that.
async fn sync_out(running: &Running, peer: &mut SubSocket, topic: &str) -> Vec<bytes::Bytes> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "{:?}", running.status);
        running.broker.deliver(topic, "sync");
        if let Ok(received) = timeout(TRY_PAUSE, peer.recv()).await {
            return received.unwrap().into_vec();
        }
    }
}

/// Binds as soon as the port is free: a peer that was dropped may still be going.
async fn bind<S: zeromq::Socket>(endpoint: &str) -> S {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut peer = S::new();
        match peer.bind(endpoint).await {
            Ok(_) => return peer,
            Err(error) => assert!(Instant::now() < deadline, "{endpoint}: {error}"),
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

async fn subscriber_at(endpoint: &str) -> SubSocket {
    let mut peer: SubSocket = bind(endpoint).await;
    peer.subscribe("").await.unwrap();
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_connects_serves_both_directions_and_survives_its_peers() {
    let (sub, publish) = (free_port(), free_port());
    let (sub, publish) = (
        format!("tcp://127.0.0.1:{sub}"),
        format!("tcp://127.0.0.1:{publish}"),
    );
    let running = Running::start(&format!(
        r#"
        sub.connect = ["{sub}"]
        pub.connect = ["{publish}"]
        to_mqtt = [{{ prefix = "sensor/", qos = 1, retain = true }}]
        from_mqtt = [{{ filter = "cmd/zmq/#", frame = "$1" }}]
        "#
    ));
    running
        .until("down", |status| {
            status.link() == LinkState::Down(format!("not connected to {sub}"))
        })
        .await;
    for life in ["first", "second"] {
        let mut source: PubSocket = bind(&sub).await;
        let mut sink = subscriber_at(&publish).await;
        sync_into(&running, &mut source, "sensor/a", life).await;
        let published = running.take_when(|all| !all.is_empty()).await;
        assert_eq!(published[0].topic.as_str(), "zmq/plant/sensor/a");
        assert!(published[0].retain && published[0].qos == QoS::AtLeastOnce);
        let received = sync_out(&running, &mut sink, "cmd/zmq/valve/1").await;
        assert_eq!(received, ["valve/1", "sync"]);
        running.until_up().await;
        drop((source, sink));
        running
            .until("down again", |status| status.link() != LinkState::Up)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_binds_serves_both_directions_and_survives_its_peers() {
    let (sub, publish) = (free_port(), free_port());
    let (sub, publish) = (
        format!("tcp://127.0.0.1:{sub}"),
        format!("tcp://127.0.0.1:{publish}"),
    );
    let running = Running::start(&format!(
        r#"
        sub.bind = ["{sub}"]
        pub.bind = ["{publish}"]
        to_mqtt = [{{ topic = "in/${{frame}}", multipart = "each" }}]
        from_mqtt = [{{ filter = "out/#" }}]
        "#
    ));
    running.until_up().await;
    for life in ["first", "second"] {
        let mut source = PubSocket::new();
        source.connect(&sub).await.unwrap();
        let mut sink = SubSocket::new();
        sink.connect(&publish).await.unwrap();
        sink.subscribe("out/").await.unwrap();
        sync_into(&running, &mut source, "a", life).await;
        source.send(frames(&["b", "1", "2"])).await.unwrap();
        let published = running
            .take_when(|all| all.iter().any(|one| &*one.payload == b"2"))
            .await;
        let last = &published[published.len() - 2..];
        assert!(last.iter().all(|one| one.topic.as_str() == "in/b"));
        let received = sync_out(&running, &mut sink, "out/x").await;
        assert_eq!(received, ["out/x", "sync"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_in_full_even_if_the_broker_is_busy_for_a_while() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let mut source: PubSocket = bind(&endpoint).await;
    let running = Running::start(&format!(
        "sub.connect = [\"{endpoint}\"]\nto_mqtt = [{{ topic = \"in\" }}]"
    ));
    sync_into(&running, &mut source, "sync", "sync").await;
    running.broker.set_full(true);
    for index in 0..BURST {
        let payload = index.to_string();
        source.send(frames(&["a", &payload])).await.unwrap();
    }
    running.broker.set_full(false);
    let is_burst = |one: &&Message| &*one.payload != b"sync";
    let published = running
        .take_when(|all| all.iter().filter(is_burst).count() >= BURST)
        .await;
    let burst: Vec<_> = published.iter().filter(is_burst).collect();
    assert_eq!(burst.len(), BURST);
    for (index, message) in burst.iter().enumerate() {
        assert_eq!(&*message.payload, index.to_string().as_bytes());
    }
    assert_eq!(
        running.status.counters.received(),
        u64::try_from(published.len()).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_mqtt_arrives_in_full_and_is_acknowledged() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let running = Running::start(&format!(
        "pub.bind = [\"{endpoint}\"]\nfrom_mqtt = [{{ filter = \"out/+\", frame = \"$1\" }}]"
    ));
    running.until_up().await;
    let mut sink = SubSocket::new();
    sink.connect(&endpoint).await.unwrap();
    sink.subscribe("").await.unwrap();
    sync_out(&running, &mut sink, "out/sync").await;
    for index in 0..BURST {
        running.broker.deliver("out/burst", index.to_string());
    }
    let mut next = 0;
    while next < BURST {
        let received = timeout(PATIENCE, sink.recv()).await;
        let received = received
            .unwrap_or_else(|_| panic!("stopped at {next}"))
            .unwrap()
            .into_vec();
        if received[0] == "burst" {
            assert_eq!(received[1], next.to_string());
            next += 1;
        }
    }
    // A delivery that no rule fits is acknowledged as well, or the session would stall.
    running.broker.deliver("elsewhere", "x");
    let delivered = running.broker.delivered();
    running
        .until("acknowledged", |_| {
            running.broker.acknowledged().len() as u64 == delivered
        })
        .await;
    let counters = &running.status.counters;
    assert_eq!(counters.sent(), delivered - 1);
    assert_eq!(counters.dropped(DropReason::Unmapped), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_is_counted() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let mut source: PubSocket = bind(&endpoint).await;
    let running = Running::start(&format!("sub.connect = [\"{endpoint}\"]\nto_mqtt = [{{}}]"));
    sync_into(&running, &mut source, "a", "sync").await;
    source.send(frames(&["a/#", "x"])).await.unwrap();
    let counters = &running.status.counters;
    running
        .until("malformed", |_| {
            counters.dropped(DropReason::Malformed) == 1
        })
        .await;
    running.broker.set_strict(true);
    source.send(frames(&["a", "x"])).await.unwrap();
    running
        .until("refused", |_| counters.dropped(DropReason::Refused) == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_too_much_is_disconnected_and_comes_back() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let mut source: PubSocket = bind(&endpoint).await;
    let running = Running::start(&format!(
        r#"
        sub.connect = ["{endpoint}"]
        message_bytes_max = 1000
        to_mqtt = [{{ topic = "in" }}]
        "#
    ));
    sync_into(&running, &mut source, "", "before").await;
    let large = "x".repeat(2000);
    source.send(frames(&["", &large])).await.unwrap();
    sync_into(&running, &mut source, "", "after").await;
    assert!(!running.broker.has(large.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_taken_is_a_fault() {
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", owner.local_addr().unwrap());
    let running = Running::start(&format!(
        "pub.bind = [\"{endpoint}\"]\nfrom_mqtt = [{{ filter = \"a\" }}]"
    ));
    let (sentence, link) = running.fault().await;
    let expected = format!("cannot bind {endpoint}: Address already in use (os error 98)");
    assert_eq!(sentence, expected);
    assert_eq!(link, LinkState::Down(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipc_path_that_is_taken_is_a_fault_and_stays_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    std::fs::write(&file, "precious").unwrap();
    let socket = folder.path().join("socket");
    let owner = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&file, &socket] {
        let endpoint = format!("ipc://{}", path.display());
        let running = Running::start(&format!("sub.bind = [\"{endpoint}\"]\nto_mqtt = [{{}}]"));
        let (sentence, _) = running.fault().await;
        assert!(
            sentence.starts_with(&format!("cannot bind {endpoint}: ")),
            "{sentence}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    // What a crashed owner leaves behind is replaced.
    drop(owner);
    let running = Running::start(&format!(
        "sub.bind = [\"ipc://{}\"]\nto_mqtt = [{{}}]",
        socket.display()
    ));
    running.until_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_gateway_frees_its_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://{}/socket", folder.path().display());
    let tcp = format!("tcp://127.0.0.1:{}", free_port());
    let mut running = Running::start(&format!(
        r#"
        sub.bind = ["{ipc}"]
        pub.bind = ["{tcp}"]
        to_mqtt = [{{}}]
        from_mqtt = [{{ filter = "out/#" }}]
        "#
    ));
    let (some, large) = (NonZeroU32::new(100).unwrap(), NonZeroU32::MAX);
    for life in 0..5 {
        running.until_up().await;
        let source = Publisher::open(std::slice::from_ref(&ipc), &[], some)
            .await
            .unwrap();
        let sink = Subscriber::open(std::slice::from_ref(&tcp), &[], &["out/"], some, large)
            .await
            .unwrap();
        let payload = format!("life {life}");
        let mut received = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while !running.broker.has(payload.as_bytes()) || received.is_empty() {
            assert!(Instant::now() < deadline, "{life} {:?}", running.status);
            let message = vec!["a".into(), payload.clone().into_bytes().into()];
            source.send(message).await.unwrap();
            running.broker.deliver("out/a", "x");
            let _received = timeout(TRY_PAUSE, sink.receive(10, &mut received)).await;
        }
        assert_eq!(received[0], ["out/a", "x"]);
        running.restart();
    }
    drop(running);
    let metrics = tokio::runtime::Handle::current().metrics();
    let deadline = Instant::now() + PATIENCE;
    while metrics.num_alive_tasks() > 0 {
        assert!(Instant::now() < deadline, "{}", metrics.num_alive_tasks());
        tokio::time::sleep(TRY_PAUSE).await;
    }
}
