//! Brokers that bridge everything to each other deliver each message once, and then are quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use tests::daemon::Daemon;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

/// Messages of each QoS that are published at each broker.
const COUNT: usize = 40;
/// Retained messages that are published at each broker.
const RETAINED: usize = 5;

/// Brokers of which some have a bridge to another one, everything both ways.
struct Brokers {
    daemons: Vec<Daemon>,
    /// Of `#` at each.
    readers: Vec<Subscriber>,
    /// Of what each says of itself.
    observers: Vec<Subscriber>,
}

impl Brokers {
    /// Starts as many brokers as there are entries, each of which says to which other one its
    /// bridge goes; `more` are keys of the bridges.
    fn start(hubs: &[Option<usize>], more: &str) -> Self {
        let common = |at: usize| {
            format!(
                "sys_topics.interval = 1s\nstore.commit_interval = 1ms\n\
                 node_id = broker-{at}\n"
            )
        };
        let starts = (0..hubs.len()).map(|at| Daemon::start(&common(at)));
        let mut daemons: Vec<Daemon> = starts.collect();
        for (at, hub) in hubs.iter().enumerate() {
            let Some(hub) = hub else { continue };
            let bridge = format!(
                "bridges.mqtt.next {{ server = \"mqtt-tcp://127.0.0.1:{}\"\n\
                 clientid = \"bridge-of-{at}\", backoff_max = 1s\n{more}\n\
                 forwards = [{{ local_topic = \"#\" }}]\n\
                 subscription = [{{ remote_topic = \"#\", qos = 2 }}] }}\n",
                daemons[*hub].port()
            );
            daemons[at].stop();
            daemons[at].reconfigure(&(common(at) + &bridge));
        }
        let subscribe = |client_id: &str, filter: &str| {
            let start = |it: &Daemon| Subscriber::start(it.port(), client_id, filter);
            daemons.iter().map(start).collect::<Vec<_>>()
        };
        let (readers, observers) = (
            subscribe("reader", "#"),
            subscribe("observer", "$SYS/broker/#"),
        );
        let brokers = Self {
            daemons,
            readers,
            observers,
        };
        for at in 0..hubs.len() {
            let bridges = hubs.iter().filter(|it| **it == Some(at)).count();
            let count = (2 + bridges).to_string();
            until("the bridges have subscribed", || {
                brokers.says(at, "subscriptions/count") == Some(count.clone())
            });
        }
        brokers
    }

    /// What a broker has said last.
    fn says(&self, at: usize, name: &str) -> Option<String> {
        let topic = format!("$SYS/broker/{name}");
        let said = self.observers[at].received();
        let last = said.into_iter().rfind(|it| it.topic == topic);
        last.map(|it| String::from_utf8(it.payload).unwrap())
    }

    /// Messages that came to a broker once more and were not taken, over all of them.
    fn repeated(&self) -> Option<usize> {
        let numbers = 0..self.daemons.len();
        let counts = numbers.map(|at| self.says(at, "messages/repeated")?.parse::<usize>().ok());
        counts.sum()
    }

    /// Publishes at all brokers, without and with retain flag; returns how many messages.
    fn publish(&self) -> usize {
        for (at, daemon) in self.daemons.iter().enumerate() {
            for version in [Version::V311, Version::V5] {
                let (mut client, _) =
                    WireClient::connect(daemon.port(), version, "publisher", Kept::Nothing)
                        .unwrap();
                let (count, retained) = match version {
                    Version::V31 | Version::V311 => (COUNT / 2, 0),
                    Version::V5 => (COUNT - COUNT / 2, RETAINED),
                };
                for number in 0..3 * count {
                    let topic = format!("ring/{at}/{version:?}/{number}");
                    let qos = u8::try_from(number % 3).unwrap();
                    publish(&mut client, qos, false, &topic);
                }
                for number in 0..retained {
                    publish(&mut client, 1, true, &format!("kept/{at}/{number}"));
                }
                client.disconnect().unwrap();
            }
        }
        self.daemons.len() * (3 * COUNT + RETAINED)
    }

    /// What goes on now is seen then.
    fn wait_two_seconds(&self) {
        for (at, observer) in self.observers.iter().enumerate() {
            let topic = "$SYS/broker/uptime";
            let said = || {
                observer
                    .received()
                    .iter()
                    .filter(|it| it.topic == topic)
                    .count()
            };
            let before = said();
            until("two seconds have passed", || said() >= before + 2);
            assert_eq!(self.says(at, "id"), Some(format!("broker-{at}")));
        }
    }

    /// Every message comes to every broker once, and so many copies of each are not taken.
    fn check(&self, copies: usize) {
        let count = self.publish();
        for reader in &self.readers {
            until("all messages have come", || reader.count() >= count);
        }
        until("all copies have come", || {
            self.repeated().is_some_and(|it| it >= copies * count)
        });
        self.wait_two_seconds();
        assert_eq!(self.repeated(), Some(copies * count));
        for (at, reader) in self.readers.iter().enumerate() {
            let mut times = BTreeMap::new();
            for message in reader.received() {
                *times.entry(message.topic).or_insert(0) += 1;
            }
            times.retain(|_, it| *it != 1);
            assert!(times.is_empty(), "at {at}: {times:?}");
            assert_eq!(reader.count(), count, "at {at}");
        }
        for daemon in &self.daemons {
            let late = Subscriber::start(daemon.port(), "late", "kept/#");
            let retained = self.daemons.len() * RETAINED;
            until("what is retained has come", || late.count() >= retained);
            assert_eq!(late.count(), retained);
        }
    }
}

/// Publishes to a topic and goes through with it.
fn publish(client: &mut WireClient, qos: u8, retain: bool, topic: &str) {
    let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
    let mut body = [&length, topic.as_bytes()].concat();
    if qos > 0 {
        body.extend([0, 1]);
    }
    body.extend(client.version().no_properties());
    body.extend(b"1");
    let head = 0x30 | qos << 1 | u8::from(retain);
    client.send(&packet(head, &body)).unwrap();
    match qos {
        0 => {}
        1 => assert!(client.expect(0x40).unwrap().reason() < 0x80),
        _ => {
            assert!(client.expect(0x50).unwrap().reason() < 0x80);
            client.send(&[0x62, 2, 0, 1]).unwrap();
            client.expect(0x70).unwrap();
        }
    }
}

#[test]
fn two_brokers_with_one_bridge_deliver_each_message_once() {
    Brokers::start(&[None, Some(0)], "").check(0);
}

#[test]
fn two_brokers_that_bridge_to_each_other_deliver_each_message_once() {
    Brokers::start(&[Some(1), Some(0)], "").check(2);
}

#[test]
fn three_brokers_in_a_ring_deliver_each_message_once() {
    Brokers::start(&[Some(1), Some(2), Some(0)], "").check(2);
}

#[test]
fn a_ring_that_packs_what_it_forwards_delivers_each_message_once() {
    Brokers::start(&[Some(1), Some(2), Some(0)], "batch { linger = 100ms }").check(2);
}

/// Makes a session that waits for everything.
fn leave_session(port: u16) {
    let (mut client, _) = WireClient::connect(port, Version::V5, "late", Kept::Session).unwrap();
    client.subscribe("#", 1).unwrap();
    client.disconnect().unwrap();
}

/// The topics of what has come for it, without what says that this is all.
fn waited(port: u16, end: &str) -> Vec<String> {
    let (mut publisher, _) =
        WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
    publish(&mut publisher, 1, false, end);
    let (mut client, is_there) =
        WireClient::connect(port, Version::V5, "late", Kept::Session).unwrap();
    assert!(is_there, "the session is gone");
    let mut topics = Vec::new();
    loop {
        let publish = client.receive_publish().unwrap();
        client.acknowledge(publish.identifier).unwrap();
        if publish.topic == end {
            return topics;
        }
        topics.push(publish.topic);
    }
}

#[test]
fn three_brokers_in_a_ring_deliver_each_message_once_although_one_is_killed() {
    const COUNT: usize = 400;
    const KILLS: usize = 3;
    let mut brokers = Brokers::start(&[Some(1), Some(2), Some(0)], "");
    let ports: Vec<_> = brokers.daemons.iter().map(Daemon::port).collect();
    ports.iter().for_each(|it| leave_session(*it));
    let publishers = [0, 2].map(|at| {
        let port = ports[at];
        thread::spawn(move || {
            let (mut client, _) =
                WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
            for number in 0..COUNT {
                publish(&mut client, 1, false, &format!("ring/{at}/{number}"));
            }
        })
    });
    for _ in 0..KILLS {
        let reader = &brokers.readers[1];
        let before = reader.count();
        until("some have come", || reader.count() > before + COUNT / 10);
        brokers.daemons[1].kill();
        brokers.daemons[1].restart();
    }
    publishers.into_iter().for_each(|it| it.join().unwrap());
    for reader in &brokers.readers {
        // Who is there when its broker is killed may get some again.
        until("all messages have come", || {
            let topics = reader.received().into_iter().map(|it| it.topic);
            topics.collect::<BTreeSet<_>>().len() == 2 * COUNT
        });
    }
    brokers.wait_two_seconds();
    for (at, port) in ports.into_iter().enumerate() {
        let mut topics = waited(port, &format!("end/{at}"));
        topics.retain(|it| it.starts_with("ring/"));
        let different: BTreeSet<_> = topics.iter().collect();
        assert_eq!(
            (different.len(), topics.len()),
            (2 * COUNT, 2 * COUNT),
            "at {at}"
        );
    }
}
