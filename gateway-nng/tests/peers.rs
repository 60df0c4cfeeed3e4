//! The gateway between a broker of the test's own and NNG peers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use gateway::testing::FakeBroker;
use gateway::{DropReason, Fault, Gateway, LinkState, Status};
use gateway_nng::{NngGateway, Publisher, Subscriber};
use mqtt::{Message, QoS};
use nng::options::protocol::pubsub::Subscribe;
use nng::options::{Options as _, RecvBufferSize, SendBufferSize};
use nng::{Protocol, Socket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// More than anything here takes; a test that gets this far has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is tried until it has an effect.
const TRY_PAUSE: Duration = Duration::from_millis(20);
/// Messages that a peer holds before it drops some.
const PEER_BUFFER_MESSAGES: i32 = 8_192;
/// Fewer, so that nothing is lost where nobody may be told to wait.
const BURST: usize = 8_000;
/// How long the broker has no room.
const BUSY: Duration = Duration::from_millis(500);

/// A gateway that runs until this is dropped.
struct Running {
    broker: Arc<FakeBroker>,
    status: Arc<Status>,
    gateway: Arc<NngGateway>,
    task: JoinSet<Fault>,
}

impl Running {
    fn start(config: &str) -> Self {
        let gateway = NngGateway::new("line", toml::from_str(config).unwrap()).unwrap();
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

/// Publishes until the gateway has taken a message: connecting takes a moment.
async fn sync_into(running: &Running, peer: &Socket, prefix: &str, payload: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !running.broker.has(payload.as_bytes()) {
        assert!(Instant::now() < deadline, "{:?}", running.status);
        peer.send(format!("{prefix}{payload}").as_bytes()).unwrap();
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

/// Delivers until the peer receives something, and returns that.
async fn sync_out(running: &Running, peer: &Socket, topic: &str) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "{:?}", running.status);
        running.broker.deliver(topic, "sync");
        tokio::time::sleep(TRY_PAUSE).await;
        if let Ok(received) = peer.try_recv() {
            return received.as_slice().to_vec();
        }
    }
}

fn publisher() -> Socket {
    let peer = Socket::new(Protocol::Pub0).unwrap();
    peer.set_opt::<SendBufferSize>(PEER_BUFFER_MESSAGES)
        .unwrap();
    peer
}

fn subscriber(prefix: &str) -> Socket {
    let peer = Socket::new(Protocol::Sub0).unwrap();
    peer.set_opt::<RecvBufferSize>(PEER_BUFFER_MESSAGES)
        .unwrap();
    peer.set_opt::<Subscribe>(prefix.as_bytes().to_vec())
        .unwrap();
    peer
}

/// Listens as soon as the port is free: a peer that was closed may still be going.
async fn listen(peer: &Socket, endpoint: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = peer.listen(endpoint) {
        assert!(Instant::now() < deadline, "{endpoint}: {error}");
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dials_serves_both_directions_and_survives_its_peers() {
    let folder = tempfile::tempdir().unwrap();
    let sub = format!("tcp://127.0.0.1:{}", free_port());
    let publish = format!("ipc://{}/sink", folder.path().display());
    let running = Running::start(&format!(
        r#"
        sub.dial = ["{sub}"]
        pub.dial = ["{publish}"]
        to_mqtt = [{{ prefix = "nng/pub", qos = 1, retain = true }}]
        from_mqtt = [{{ filter = "cmd/nng/#", prefix = "$1" }}]
        "#
    ));
    running
        .until("down", |status| {
            status.link() == LinkState::Down(format!("not connected to {sub}"))
        })
        .await;
    for life in ["first", "second"] {
        let (source, sink) = (publisher(), subscriber(""));
        listen(&source, &sub).await;
        listen(&sink, &publish).await;
        sync_into(&running, &source, "nng/pub/", life).await;
        let published = running.take_when(|all| !all.is_empty()).await;
        assert_eq!(published[0].topic.as_str(), "nng/line/nng/pub");
        assert!(published[0].retain && published[0].qos == QoS::AtLeastOnce);
        let received = sync_out(&running, &sink, "cmd/nng/valve/1").await;
        assert_eq!(received, b"valve/1/sync");
        running.until_up().await;
        drop((source, sink));
        running
            .until("down again", |status| status.link() != LinkState::Up)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_listens_serves_both_directions_and_survives_its_peers() {
    let folder = tempfile::tempdir().unwrap();
    let sub = format!("ipc://{}/source", folder.path().display());
    let publish = format!("tcp://127.0.0.1:{}", free_port());
    let running = Running::start(&format!(
        r#"
        sub.listen = ["{sub}"]
        pub.listen = ["{publish}"]
        to_mqtt = [{{ delimiter = ":", topic = "in/${{subject}}" }}]
        from_mqtt = [{{ filter = "out/#", delimiter = ":" }}]
        "#
    ));
    running.until_up().await;
    for life in ["first", "second"] {
        let (source, sink) = (publisher(), subscriber("out/"));
        source.dial(&sub).unwrap();
        sink.dial(&publish).unwrap();
        sync_into(&running, &source, "a/b:", life).await;
        let published = running.take_when(|all| !all.is_empty()).await;
        assert_eq!(published[0].topic.as_str(), "in/a/b");
        let received = sync_out(&running, &sink, "out/x").await;
        assert_eq!(received, b"out/x:sync");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_in_full_even_if_the_broker_is_busy_for_a_while() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let running = Running::start(&format!(
        "sub.listen = [\"{endpoint}\"]\nto_mqtt = [{{ delimiter = \":\" }}]"
    ));
    running.until_up().await;
    // Two, because a publisher loses messages itself once 8192 of them wait to be sent.
    let sources = ["left", "right"].map(|name| (name, publisher()));
    for (name, source) in &sources {
        source.dial(&endpoint).unwrap();
        sync_into(&running, source, "sync:", name).await;
    }
    running.broker.set_full(true);
    for index in 0..BURST / 2 {
        for (name, source) in &sources {
            source.send(format!("{name}:{index}").as_bytes()).unwrap();
        }
    }
    tokio::time::sleep(BUSY).await;
    running.broker.set_full(false);
    let is_burst = |one: &&Message| one.topic.as_str() != "nng/line/sync";
    let published = running
        .take_when(|all| all.iter().filter(is_burst).count() >= BURST)
        .await;
    for (name, _) in &sources {
        let topic = format!("nng/line/{name}");
        let burst = published.iter().filter(|one| one.topic.as_str() == topic);
        for (index, message) in burst.enumerate() {
            assert_eq!(&*message.payload, index.to_string().as_bytes());
        }
    }
    assert_eq!(
        running.status.counters.received(),
        u64::try_from(published.len()).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receiving_goes_on_after_an_overload_that_lost_messages() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let source = publisher();
    source.listen(&endpoint).unwrap();
    let running = Running::start(&format!(
        r#"
        sub.dial = ["{endpoint}"]
        sub.receive_buffer_messages = 10
        to_mqtt = [{{ topic = "in" }}]
        "#
    ));
    for round in 0..3 {
        sync_into(&running, &source, "", &format!("sync {round}")).await;
        running.broker.set_full(true);
        for index in 0..1000 {
            source.send(index.to_string().as_bytes()).unwrap();
        }
        running.broker.set_full(false);
    }
    sync_into(&running, &source, "", "last").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_mqtt_arrives_in_full_and_is_acknowledged() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let running = Running::start(&format!(
        "pub.listen = [\"{endpoint}\"]\nfrom_mqtt = [{{ filter = \"out/+\", prefix = \"$1\" }}]"
    ));
    running.until_up().await;
    let sink = subscriber("");
    sink.dial(&endpoint).unwrap();
    sync_out(&running, &sink, "out/sync").await;
    let reader = tokio::task::spawn_blocking(move || {
        let mut next = 0;
        while next < BURST {
            let message = sink.recv().unwrap();
            if let Some(payload) = message.as_slice().strip_prefix(b"burst/") {
                assert_eq!(payload, next.to_string().as_bytes());
                next += 1;
            }
        }
    });
    for index in 0..BURST {
        running.broker.deliver("out/burst", index.to_string());
    }
    timeout(PATIENCE, reader).await.unwrap().unwrap();
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
    let source = publisher();
    source.listen(&endpoint).unwrap();
    let running = Running::start(&format!(
        "sub.dial = [\"{endpoint}\"]\nto_mqtt = [{{ delimiter = \":\" }}]"
    ));
    sync_into(&running, &source, "a:", "sync").await;
    source.send(b"a/#:x".as_slice()).unwrap();
    let counters = &running.status.counters;
    running
        .until("malformed", |_| {
            counters.dropped(DropReason::Malformed) == 1
        })
        .await;
    running.broker.set_strict(true);
    source.send(b"a:x".as_slice()).unwrap();
    running
        .until("refused", |_| counters.dropped(DropReason::Refused) == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_too_much_is_disconnected_and_comes_back() {
    let endpoint = format!("tcp://127.0.0.1:{}", free_port());
    let source = publisher();
    source.listen(&endpoint).unwrap();
    let running = Running::start(&format!(
        r#"
        sub.dial = ["{endpoint}"]
        message_bytes_max = 1000
        to_mqtt = [{{ topic = "in" }}]
        "#
    ));
    sync_into(&running, &source, "", "before").await;
    let large = "x".repeat(1001);
    source.send(large.as_bytes()).unwrap();
    sync_into(&running, &source, "", "after").await;
    assert!(!running.broker.has(large.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_taken_is_a_fault() {
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", owner.local_addr().unwrap());
    let running = Running::start(&format!(
        "pub.listen = [\"{endpoint}\"]\nfrom_mqtt = [{{ filter = \"a\" }}]"
    ));
    let (sentence, link) = running.fault().await;
    let expected = format!("cannot listen at {endpoint}: Address in use");
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
        let running = Running::start(&format!("sub.listen = [\"{endpoint}\"]\nto_mqtt = [{{}}]"));
        let (sentence, _) = running.fault().await;
        assert!(
            sentence.starts_with(&format!("cannot listen at {endpoint}: ")),
            "{sentence}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    // What a crashed owner leaves behind is replaced.
    drop(owner);
    let running = Running::start(&format!(
        "sub.listen = [\"ipc://{}\"]\nto_mqtt = [{{}}]",
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
        sub.listen = ["{ipc}"]
        pub.listen = ["{tcp}"]
        to_mqtt = [{{ topic = "in" }}]
        from_mqtt = [{{ filter = "out/#" }}]
        "#
    ));
    let (some, large) = (NonZeroU16::new(100).unwrap(), NonZeroU32::MAX);
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
            source.send(payload.as_bytes()).unwrap();
            running.broker.deliver("out/a", "x");
            let _received = timeout(TRY_PAUSE, sink.receive(10, &mut received)).await;
        }
        assert_eq!(received[0], "out/a/x");
        running.restart();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_that_the_system_chose_is_told() {
    let some = NonZeroU16::MIN;
    let wildcard = ["tcp://127.0.0.1:0".to_owned()];
    let publisher = Publisher::open(&[], &wildcard, some).await.unwrap();
    let sink = subscriber("");
    sink.dial(&publisher.listening()[0]).unwrap();
}
