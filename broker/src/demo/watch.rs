//! What a broker sends: a subscriber there that keeps the books.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Broker, Event, EventLoop, MqttOptions, Packet, Publish, PublishOptions, QoS,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::trend::Trend;

/// Below it the edge says how its bridge is.
const BRIDGE_SAYS: &str = "$SYS/broker/gateway/bridge/hub/";
const FILTERS: [&str; 3] = ["plant/#", "cmd/#", "$SYS/broker/gateway/bridge/hub/#"];
/// Between two attempts to connect: the edge is killed on the way.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// What may wait for the client: the subscriptions and a few commands.
const REQUESTS_MAX: usize = 16;

/// The numbers of one source that have arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrived {
    /// Whether anything has, also number 0.
    pub(super) has_begun: bool,
    /// Different numbers from 1 on.
    pub(super) count: u64,
    pub(super) repeated: u64,
    pub(super) out_of_order: u64,
}

/// The first and the last of some arrivals, and how many there were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spell {
    first: Instant,
    last: Instant,
    pub(super) count: u64,
}

/// How a bridge is, as its broker says it.
#[derive(Clone, Debug, Default)]
pub(super) struct BridgeReport {
    /// `up`, or `down: ` with the reason.
    pub(super) state: String,
    pub(super) outbox: Outbox,
    waiting: Trend,
    sent: Trend,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbox {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Seconds that the oldest message has waited.
    pub(super) oldest: u64,
}

#[derive(Debug, Default)]
struct Books {
    /// By the second level of their topics.
    sources: BTreeMap<String, Source>,
    spell: Option<Spell>,
    /// While the connection stands, and once the broker has said it.
    bridge: Option<BridgeReport>,
}

#[derive(Debug, Default)]
struct Source {
    numbers: BTreeSet<u64>,
    arrived: Arrived,
}

/// The subscriber at a broker, which connects again when it is lost.
pub(super) struct Watch {
    client: AsyncClient,
    books: Arc<Mutex<Books>>,
    _tasks: JoinSet<()>,
}

impl Watch {
    pub(super) fn start(broker: SocketAddr) -> Result<Self, String> {
        let address = Broker::tcp(broker.ip().to_string(), broker.port());
        let mut options = MqttOptions::new("demo", address);
        options.set_keep_alive(30);
        let (client, events) = AsyncClient::builder(options)
            .capacity(REQUESTS_MAX)
            .try_build()
            .map_err(|error| error.to_string())?;
        let books = Arc::new(Mutex::new(Books::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(client.clone(), events, Arc::clone(&books)));
        Ok(Self {
            client,
            books,
            _tasks: tasks,
        })
    }

    /// What has arrived from this source.
    pub(super) fn arrived(&self, source: &str) -> Arrived {
        let books = lock(&self.books);
        books
            .sources
            .get(source)
            .map_or_else(Arrived::default, |it| it.arrived)
    }

    /// What the broker said last of its bridge; none while it is not there.
    pub(super) fn bridge(&self) -> Option<BridgeReport> {
        lock(&self.books).bridge.clone()
    }

    /// What has arrived since the call before.
    pub(super) fn take_spell(&self) -> Option<Spell> {
        lock(&self.books).spell.take()
    }

    /// Publishes with QoS 1.
    pub(super) async fn publish(&self, topic: &str, payload: String) -> Result<(), String> {
        let sent = self
            .client
            .publish(topic, payload, PublishOptions::at_least_once());
        sent.await.map_err(|error| error.to_string())
    }
}

impl Spell {
    pub(super) fn length(&self) -> Duration {
        self.last - self.first
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(client: AsyncClient, mut events: EventLoop, books: Arc<Mutex<Books>>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                for filter in FILTERS {
                    if client.subscribe(filter, QoS::AtLeastOnce).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => lock(&books).note(&publish),
            Ok(_) => {}
            Err(_) => {
                lock(&books).bridge = None;
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

impl Books {
    fn note(&mut self, publish: &Publish) {
        let topic = String::from_utf8_lossy(&publish.topic);
        match topic.strip_prefix(BRIDGE_SAYS) {
            Some(name) => {
                let bridge = self.bridge.get_or_insert_default();
                bridge.note(name, &String::from_utf8_lossy(&publish.payload));
            }
            None => self.note_number(&topic, &publish.payload),
        }
    }

    /// Enters `plant/<source>/...` or `cmd/<source>` with a payload that holds `"number": n`.
    fn note_number(&mut self, topic: &str, payload: &[u8]) {
        let reading: Option<serde_json::Value> = serde_json::from_slice(payload).ok();
        let number = reading
            .as_ref()
            .and_then(|it| it.get("number"))
            .and_then(serde_json::Value::as_u64);
        let (Some(source), Some(number)) = (topic.split('/').nth(1), number) else {
            return;
        };
        if number > 0 {
            let now = Instant::now();
            let spell = self.spell.get_or_insert(Spell {
                first: now,
                last: now,
                count: 0,
            });
            (spell.last, spell.count) = (now, spell.count + 1);
        }
        self.sources
            .entry(source.to_owned())
            .or_default()
            .enter(number);
    }
}

impl Source {
    fn enter(&mut self, number: u64) {
        let arrived = &mut self.arrived;
        arrived.has_begun = true;
        // Number 0 is sent again and again until it arrives.
        if number == 0 {
            return;
        }
        let is_late = self.numbers.last().is_some_and(|&last| number < last);
        if self.numbers.insert(number) {
            arrived.count += 1;
            arrived.out_of_order += u64::from(is_late);
        } else {
            arrived.repeated += 1;
        }
    }
}

impl BridgeReport {
    fn note(&mut self, name: &str, payload: &str) {
        let number = || payload.parse().unwrap_or_default();
        match name {
            "state" => payload.clone_into(&mut self.state),
            "sent" => self.sent.enter(Instant::now(), number()),
            "outbox/messages" => {
                self.outbox.messages = number();
                self.waiting.enter(Instant::now(), number());
            }
            "outbox/oldest_s" => self.outbox.oldest = number(),
            "outbox/bytes" => self.outbox.bytes = number(),
            _ => {}
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == "up"
    }

    /// Messages a second by which the outbox grows; below 0 it drains.
    pub(super) fn growth(&self) -> i64 {
        self.waiting.per_second(Instant::now())
    }

    /// Messages a second that go to the hub.
    pub(super) fn rate(&self) -> i64 {
        self.sent.per_second(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_tell_lost_repeated_and_late_apart() {
        let mut books = Books::default();
        for number in [0, 0, 1, 2, 4, 2, 3] {
            let payload = format!("{{\"number\":{number}}}");
            books.note_number("plant/zmq/boiler", payload.as_bytes());
        }
        books.note_number("plant/nng/press", b"{\"number\":0}");
        books.note_number("plant", b"{\"number\":1}");
        books.note_number("plant/dds/a", b"1");
        assert_eq!(books.sources.len(), 2);
        let arrived = books.sources["zmq"].arrived;
        assert_eq!(
            (arrived.count, arrived.repeated, arrived.out_of_order),
            (4, 1, 1)
        );
        let arrived = books.sources["nng"].arrived;
        assert_eq!((arrived.has_begun, arrived.count), (true, 0));
        assert_eq!(books.spell.map(|it| it.count), Some(5));
    }

    #[test]
    fn a_bridge_is_what_its_broker_says() {
        let mut report = BridgeReport::default();
        assert!(!report.is_up());
        for (name, payload) in [
            ("state", "up"),
            ("outbox/messages", "12"),
            ("outbox/bytes", "345"),
            ("outbox/oldest_s", "6"),
            ("outbox/alarm", "1"),
        ] {
            report.note(name, payload);
        }
        assert!(report.is_up());
        let outbox = report.outbox;
        assert_eq!((outbox.messages, outbox.bytes, outbox.oldest), (12, 345, 6));
    }
}
