//! What comes twice from other brokers is taken once, also if the first was taken before a crash.

use std::io;

use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::fault_proxy::{FaultProxy, Flow};
use tests::message::Message;
use tests::property::Property;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

const TOPIC: &str = "t/1";
const COMMON: &str = "sys_topics.interval = 1s\nstore.commit_interval = 1ms\n";

/// A guarded bridge of another broker, as its hub sees one.
struct Bridge(WireClient);

impl Bridge {
    fn connect(port: u16) -> Self {
        let connect = Connect::new(Version::V5, "bridge-of-far");
        let announced = connect.property(Property::user("x-bridge", "tidegate"));
        Self(announced.open(port).0)
    }

    /// Sends a message with this number, of QoS 1.
    fn send(&mut self, number: u64) -> io::Result<()> {
        let identifier = u16::try_from(number).unwrap();
        let message = Message::new(TOPIC, number.to_string()).qos(1, identifier);
        let name = format!("far:1:{number}");
        let named = message
            .with(Property::user("x-origin", "far"))
            .with(Property::user("x-origin-seq", &name));
        self.0.send(&named.encode(Version::V5))
    }

    /// Waits for an answer, which is that the message was taken.
    fn answered(&mut self) -> io::Result<()> {
        let reason = self.0.expect(0x40)?.reason();
        assert!(reason < 0x80, "{reason:#x}");
        Ok(())
    }

    fn send_all(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.send(number).unwrap();
            self.answered().unwrap();
        }
    }
}

/// Makes a session that waits for the messages.
fn leave_session(port: u16) {
    let (mut client, _) =
        WireClient::connect(port, Version::V311, "reader", Kept::Session).unwrap();
    client.subscribe(TOPIC, 1).unwrap();
    client.disconnect().unwrap();
}

/// What has come for it, in order.
fn waited(port: u16) -> Vec<u64> {
    let (mut publisher, _) =
        WireClient::connect(port, Version::V5, "marker", Kept::Nothing).unwrap();
    publisher.publish_acknowledged(TOPIC, b"0").unwrap();
    let (mut client, is_there) =
        WireClient::connect(port, Version::V311, "reader", Kept::Session).unwrap();
    assert!(is_there, "the session is gone");
    let mut numbers = Vec::new();
    loop {
        let publish = client.receive_publish().unwrap();
        client.acknowledge(publish.identifier).unwrap();
        match publish.number().unwrap() {
            0 => return numbers,
            number => numbers.push(number),
        }
    }
}

/// Waits until a broker says that at least so many messages have come twice since it was started,
/// and returns how many.
#[track_caller]
fn repeated(daemon: &Daemon, count: u64) -> u64 {
    let topic = "$SYS/broker/messages/repeated";
    let observer = Subscriber::start(daemon.port(), "observer", topic);
    let mut last = None;
    let what = format!("{count} messages have come twice");
    until(&what, || {
        last = observer.received().last().and_then(|it| it.number());
        last >= Some(count)
    });
    last.unwrap()
}

#[test]
fn what_was_acknowledged_before_a_kill_is_not_taken_again() {
    const COUNT: u64 = 20;
    let mut daemon = Daemon::start(COMMON);
    leave_session(daemon.port());
    let mut bridge = Bridge::connect(daemon.port());
    bridge.send_all(1..=COUNT);
    daemon.kill();
    daemon.restart();
    let mut bridge = Bridge::connect(daemon.port());
    bridge.send_all(1..=COUNT + 1);
    assert_eq!(repeated(&daemon, COUNT), COUNT);
    let expected: Vec<_> = (1..=COUNT + 1).collect();
    assert_eq!(waited(daemon.port()), expected);
    // Nor after an end in order.
    daemon.stop();
    daemon.restart();
    Bridge::connect(daemon.port()).send_all(1..=COUNT + 1);
    assert_eq!(repeated(&daemon, COUNT + 1), COUNT + 1);
    assert_eq!(waited(daemon.port()), [0_u64; 0]);
}

#[test]
fn whenever_a_broker_is_killed_each_message_is_taken_once() {
    const ROUNDS: u64 = 6;
    const MESSAGES: u64 = 150;
    /// Unanswered when the broker is killed, or nearly so many.
    const WINDOW: u64 = 40;
    /// Sent again although they were answered, as if the answers had not come.
    const UNHEARD: u64 = 20;
    let mut daemon = Daemon::start(COMMON);
    leave_session(daemon.port());
    let mut answered = 0;
    let mut last = 0;
    for round in 1..=ROUNDS {
        let mut bridge = Bridge::connect(daemon.port());
        let mut sent = answered;
        while answered < round * MESSAGES {
            while sent < answered + WINDOW {
                sent += 1;
                bridge.send(sent).unwrap();
            }
            bridge.answered().unwrap();
            answered += 1;
        }
        daemon.kill();
        last = last.max(sent);
        answered -= UNHEARD;
        daemon.restart();
    }
    Bridge::connect(daemon.port()).send_all(1..=last);
    assert_eq!(waited(daemon.port()).len() as u64, last, "each once");
}

/// A broker that forwards everything to the first of these that it can reach.
fn forwarding(id: &str, hubs: &[u16]) -> String {
    let servers = hubs
        .iter()
        .map(|it| format!("\"mqtt-tcp://127.0.0.1:{it}\""));
    let servers = servers.collect::<Vec<_>>().join(", ");
    format!(
        "{COMMON}node_id = {id}\nbridges.loop_guard = true\n\
         bridges.mqtt.up {{ servers = [{servers}], clientid = \"{id}\", backoff_max = 200ms\n\
         forwards = [{{ local_topic = \"t/#\" }}] }}\n"
    )
}

/// The first hub takes the messages, and its answers are lost; so the second one takes them too.
/// Both forward to a broker that is killed in between.
#[test]
fn what_goes_through_two_hubs_is_taken_once_although_its_receiver_is_killed() {
    const COUNT: u64 = 15;
    let mut end = Daemon::start(&format!("{COMMON}node_id = end\n"));
    leave_session(end.port());
    let hubs = ["one", "two"].map(|it| Daemon::start(&forwarding(it, &[end.port()])));
    let proxy = FaultProxy::start(hubs[0].port());
    let edge = Daemon::start(&forwarding("edge", &[proxy.port(), hubs[1].port()]));
    until("the edge has a hub", || proxy.accepted() > 0);
    let live = Subscriber::start(end.port(), "live", "t/#");
    let (mut publisher, _) =
        WireClient::connect(edge.port(), Version::V5, "publisher", Kept::Nothing).unwrap();
    publisher.publish_acknowledged("t/0", b"0").unwrap();
    until("the way is open", || live.count() > 0);
    proxy.flow(Flow::Pass, Flow::Stop);
    for number in 1..=COUNT {
        let payload = number.to_string();
        publisher
            .publish_acknowledged(TOPIC, payload.as_bytes())
            .unwrap();
    }
    let has_all = || (1..=COUNT).all(|number| live.has(|it| it.number() == Some(number)));
    until("all have come through the first hub", has_all);
    drop(live);
    end.kill();
    end.restart();
    proxy.refuse();
    // Those that it has not acknowledged to the first hub come from there too.
    repeated(&end, COUNT);
    assert_eq!(waited(end.port()), (1..=COUNT).collect::<Vec<_>>());
}

/// How long a message may go round that nobody stops.
const ROUNDS_MAX: usize = 20;

/// One of two brokers that forwards everything to the other, and subscribes to nothing.
fn forwarding_to_other(at: usize, other: u16, more: &str) -> String {
    format!(
        "{COMMON}node_id = broker-{at}\n{more}\n\
         bridges.mqtt.next {{ server = \"mqtt-tcp://127.0.0.1:{other}\"\n\
         clientid = \"bridge-of-{at}\", backoff_max = 1s\n\
         forwards = [{{ local_topic = \"#\" }}] }}\n"
    )
}

/// Two such brokers, and what comes to them.
fn forwarding_to_each_other(more: &str) -> ([Daemon; 2], [Subscriber; 2]) {
    let mut daemons = [0, 1].map(|_| Daemon::start(COMMON));
    let ports = daemons.each_ref().map(Daemon::port);
    for (at, daemon) in daemons.iter_mut().enumerate() {
        daemon.stop();
        daemon.reconfigure(&forwarding_to_other(at, ports[1 - at], more));
    }
    for port in ports {
        let topic = "$SYS/broker/connection/next/state";
        let state = Subscriber::start(port, "state", topic);
        until("the bridge is up", || state.has(|it| it.payload == b"1"));
    }
    let readers = ports.map(|it| Subscriber::start(it, "all", "#"));
    (daemons, readers)
}

#[test]
fn two_brokers_that_only_forward_to_each_other_have_each_message_once() {
    const COUNT: usize = 20;
    let (daemons, readers) = forwarding_to_each_other("");
    for (at, daemon) in daemons.iter().enumerate() {
        let (mut client, _) =
            WireClient::connect(daemon.port(), Version::V5, "publisher", Kept::Nothing).unwrap();
        for number in 0..COUNT {
            let topic = format!("{at}/{number}");
            client.publish_acknowledged(&topic, b"1").unwrap();
        }
    }
    // Each comes back once to where it was published, and goes no further.
    for daemon in &daemons {
        assert_eq!(repeated(daemon, COUNT as u64), COUNT as u64);
    }
    for reader in &readers {
        until("all have come", || reader.count() >= 2 * COUNT);
        let mut topics: Vec<_> = reader.received().into_iter().map(|it| it.topic).collect();
        topics.sort();
        topics.dedup();
        assert_eq!((topics.len(), reader.count()), (2 * COUNT, 2 * COUNT));
    }
}

/// What the test before this one would see if nothing were stopped.
#[test]
fn without_a_guard_a_message_goes_round_between_two_brokers_until_one_has_a_guard() {
    let (mut daemons, readers) = forwarding_to_each_other("bridges.loop_guard = false");
    let (mut client, _) =
        WireClient::connect(daemons[0].port(), Version::V5, "publisher", Kept::Nothing).unwrap();
    client.publish_acknowledged("0/1", b"1").unwrap();
    for reader in &readers {
        until("it has come many times", || reader.count() >= ROUNDS_MAX);
    }
    let other = daemons[1].port();
    daemons[0].reload(&forwarding_to_other(0, other, "bridges.loop_guard = true"));
    // Once for each copy that went round: the bridge has connected again in between.
    repeated(&daemons[0], 1);
}
