//! The order of messages (§4.6) and their loss-free delivery (§4.3, §4.4), at random.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, resume};
use tests::message::Message;
use tests::random::Random;
use tests::wait::until;
use tests::wire::{Packet, Version, WireClient};

/// How long new rounds begin.
const TIME: Duration = Duration::from_secs(6);
const PUBLISHERS: usize = 2;
const SUBSCRIBERS: usize = 3;
/// Messages of each publisher in a round.
const MESSAGES: usize = 300;
/// Unacknowledged messages to a subscriber, as the daemon is configured.
const WINDOW: usize = 7;
/// Everything beyond is read back from the disk.
const CONFIGURATION: &str = "mqtt { max_inflight_window = 7, max_mqueue_len = 10 }";

const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Messages that are to keep their order: of one publisher, to one topic, with one QoS.
type Stream = (usize, u64, u8);

/// What a publisher is going to publish: topics and QoS.
type Plan = Vec<(u64, u8)>;

/// What is going on in one round.
struct Round<'d> {
    daemon: &'d Daemon,
    number: usize,
    plans: Vec<Plan>,
    /// Subscribers that have their subscription.
    subscribed: AtomicUsize,
    /// Messages that all publishers have sent.
    sent: AtomicUsize,
}

impl Round<'_> {
    fn topic(&self, topic: impl std::fmt::Display) -> String {
        format!("{}/{topic}", self.number)
    }

    fn publish(&self, publisher: usize, mut random: Random) {
        let version = random.choose(&Version::ALL);
        let mut client = join(self.daemon, version, &format!("p{publisher}"));
        let mut counts: BTreeMap<Stream, usize> = BTreeMap::new();
        let window = 10 + random.below(50);
        let mut unacknowledged = 0;
        for ((topic, qos), identifier) in self.plans[publisher].iter().zip(1..) {
            let count = counts.entry((publisher, *topic, *qos)).or_default();
            let text = format!("{publisher} {topic} {qos} {count}");
            *count += 1;
            client.say(&Message::new(&self.topic(topic), text).qos(*qos, identifier));
            self.sent.fetch_add(1, Ordering::SeqCst);
            unacknowledged += u64::from(*qos > 0);
            while unacknowledged > window {
                unacknowledged -= u64::from(complete(&mut client));
            }
        }
        while unacknowledged > 0 {
            unacknowledged -= u64::from(complete(&mut client));
        }
        client.disconnect().unwrap();
    }

    /// Receives as a subscriber until nothing more is to come.
    fn subscribe(&self, subscriber: usize, mut random: Random) {
        let version = random.choose(&Version::ALL);
        let client_id = format!("{}s{subscriber}", self.number);
        let (mut client, _) = resume(self.daemon, version, &client_id);
        let granted = 1 + u8::from(random.once_in(2));
        client.subscribe(&self.topic("#"), granted).unwrap();
        self.subscribed.fetch_add(1, Ordering::SeqCst);
        let mut seen = Seen::new(self.expected(granted));
        loop {
            if seen.serve(&mut client, &mut random) {
                break;
            }
            if random.once_in(2) {
                client.send(&DISCONNECT).unwrap();
            }
            drop(client);
            if random.once_in(2) {
                self.wait_for_more(random.below(100));
            }
            client = resume(self.daemon, version, &client_id).0;
            seen.begin_connection();
        }
        client.send(&DISCONNECT).unwrap();
    }

    /// Stays away until so many more messages are sent, or all.
    fn wait_for_more(&self, more: u64) {
        let goal = self.sent.load(Ordering::SeqCst) + usize::try_from(more).unwrap();
        let goal = goal.min(PUBLISHERS * MESSAGES);
        until("more is sent", || self.sent.load(Ordering::SeqCst) >= goal);
    }

    /// How many messages of each stream a subscriber has to receive.
    fn expected(&self, granted: u8) -> Expected {
        let mut expected = Expected {
            granted,
            counts: BTreeMap::new(),
        };
        for (publisher, plan) in self.plans.iter().enumerate() {
            for (topic, qos) in plan.iter().filter(|(_, qos)| *qos > 0) {
                *expected
                    .counts
                    .entry((publisher, *topic, *qos))
                    .or_default() += 1;
            }
        }
        expected
    }
}

/// Answers a PUBREC, or takes in a PUBACK or PUBCOMP, which completes a message.
fn complete(client: &mut WireClient) -> bool {
    let (head, identifier, reason) = client.answer();
    assert!(reason < 0x80, "refused with {reason:#x}");
    if head == PUBREC {
        client.reply(PUBREL, identifier);
    }
    head != PUBREC
}

struct Expected {
    granted: u8,
    counts: BTreeMap<Stream, usize>,
}

/// What a subscriber has seen, over all its connections.
struct Seen {
    expected: Expected,
    /// How many messages of each stream came.
    counts: BTreeMap<Stream, usize>,
    /// QoS 2 identifiers that are received and not released.
    received: BTreeSet<u16>,
    /// Acknowledgements that are due on this connection.
    due: Vec<(u8, u16)>,
    /// QoS 1 and 2 messages on this connection that are not acknowledged to the end.
    unacknowledged: BTreeSet<u16>,
    /// Nothing that comes from here on was sent before this connection.
    is_past_resending: bool,
}

impl Seen {
    fn new(expected: Expected) -> Self {
        Self {
            expected,
            counts: BTreeMap::new(),
            received: BTreeSet::new(),
            due: Vec::new(),
            unacknowledged: BTreeSet::new(),
            is_past_resending: true,
        }
    }

    fn begin_connection(&mut self) {
        self.due.clear();
        self.unacknowledged.clear();
        self.is_past_resending = false;
    }

    fn is_complete(&self) -> bool {
        let mut expected = self.expected.counts.iter();
        let has_all = expected.all(|(stream, count)| self.counts.get(stream) == Some(count));
        has_all && self.due.is_empty() && self.received.is_empty()
    }

    /// Receives for a while on one connection; true if everything has come.
    fn serve(&mut self, client: &mut WireClient, random: &mut Random) -> bool {
        while !self.is_complete() {
            if random.once_in(60) {
                return false;
            }
            if random.once_in(2) {
                self.acknowledge(client);
            } else if !self.due.is_empty() {
                // Its answer is what there is to receive in any case.
                client.send(&[0xc0, 0]).unwrap();
            }
            if self.is_complete() {
                break;
            }
            let packet = client.receive().unwrap().unwrap();
            match (Message::decode(&packet, client.version()), packet.head) {
                (Some(message), _) => self.on_publish(&message),
                (None, PUBREL) => self.on_pubrel(&packet),
                (None, 0xd0) => self.acknowledge(client),
                (None, _) => panic!("{packet:?}"),
            }
        }
        true
    }

    fn acknowledge(&mut self, client: &mut WireClient) {
        for (head, identifier) in self.due.drain(..) {
            client.reply(head, identifier);
            if head != PUBREC {
                self.unacknowledged.remove(&identifier);
            }
        }
    }

    fn on_publish(&mut self, message: &Message) {
        let identifier = message.identifier;
        let is_new = self.is_new(message);
        if message.qos == 0 {
            assert!(is_new && !message.dup, "{message:?}");
            return;
        }
        assert!(!(self.is_past_resending && message.dup), "{message:?}");
        self.is_past_resending |= !message.dup;
        assert!(is_new || message.dup, "again without DUP: {message:?}");
        assert!(
            self.unacknowledged.insert(identifier),
            "in use: {message:?}"
        );
        assert!(
            self.unacknowledged.len() <= WINDOW,
            "{:?}",
            self.unacknowledged
        );
        if message.qos == 1 {
            self.due.push((PUBACK, identifier));
        } else {
            assert_eq!(is_new, self.received.insert(identifier), "{message:?}");
            self.due.push((PUBREC, identifier));
        }
    }

    fn on_pubrel(&mut self, packet: &Packet) {
        let identifier = u16::from_be_bytes([packet.body[0], packet.body[1]]);
        self.received.remove(&identifier);
        self.unacknowledged.insert(identifier);
        self.due.push((PUBCOMP, identifier));
    }

    /// Whether a message comes for the first time, which has to be its turn.
    fn is_new(&mut self, message: &Message) -> bool {
        let text = message.text();
        let numbers: Vec<u64> = text.split(' ').map(|it| it.parse().unwrap()).collect();
        let [publisher, topic, qos, number] = numbers[..] else {
            panic!("{message:?}");
        };
        let qos = u8::try_from(qos).unwrap();
        assert_eq!(message.qos, qos.min(self.expected.granted), "{message:?}");
        assert!(message.topic.ends_with(&format!("/{topic}")), "{message:?}");
        let stream = (usize::try_from(publisher).unwrap(), topic, qos);
        let next = self.counts.entry(stream).or_default();
        let number = usize::try_from(number).unwrap();
        if qos == 0 {
            // Some of them came while the subscriber was away.
            assert!(number >= *next, "{number} came after {next}: {message:?}");
            *next = number + 1;
            return true;
        }
        assert!(number <= *next, "{number} came before {next}: {message:?}");
        let is_new = number == *next;
        *next += usize::from(is_new);
        is_new
    }
}

// Conforms: 5.0 [MQTT-3.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.3-10] [MQTT-4.4.0-1] [MQTT-4.5.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.9.0-2]
// Conforms: 3.1.1 [MQTT-3.1.2-5] [MQTT-3.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-4.5.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn nothing_is_lost_or_comes_out_of_order_when_subscribers_come_and_go() {
    let daemon = Daemon::start(CONFIGURATION);
    let seed = Random::seed();
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let start = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || start.elapsed() < TIME {
        rounds += 1;
        let topics: [u64; 3] = [1, 2, 3];
        let plans = (0..PUBLISHERS).map(|_| {
            let plan = (0..MESSAGES).map(|_| (random.choose(&topics), random.choose(&[0, 1, 2])));
            plan.collect()
        });
        let round = Round {
            daemon: &daemon,
            number: rounds,
            plans: plans.collect(),
            subscribed: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        };
        thread::scope(|scope| {
            let round = &round;
            for subscriber in 0..SUBSCRIBERS {
                let random = random.fork();
                scope.spawn(move || round.subscribe(subscriber, random));
            }
            until("all are subscribed", || {
                round.subscribed.load(Ordering::SeqCst) == SUBSCRIBERS
            });
            for publisher in 0..PUBLISHERS {
                let random = random.fork();
                scope.spawn(move || round.publish(publisher, random));
            }
        });
    }
    println!("{rounds} rounds");
}
