//! What arrives at the hub: a subscriber there that keeps the books.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttc::{AsyncClient, Broker, Event, EventLoop, MqttOptions, Packet, Publish};
use tokio::task::JoinSet;

/// The numbers of one source that have arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrived {
    pub(super) numbers: BTreeSet<u64>,
    pub(super) repeated: u64,
    pub(super) out_of_order: u64,
    pub(super) last: String,
}

impl Arrived {
    /// Readings that have arrived, without number 0.
    pub(super) fn count(&self) -> u64 {
        self.numbers.range(1..).count() as u64
    }
}

/// All sources by name, which is the second level of their topics.
type Books = BTreeMap<String, Arrived>;

/// The subscriber at the hub.
pub(super) struct HubWatch {
    books: Arc<Mutex<Books>>,
    _tasks: JoinSet<()>,
}

impl HubWatch {
    pub(super) fn start(hub: SocketAddr) -> Result<Self, String> {
        let mut options = MqttOptions::new("demo", Broker::tcp(hub.ip().to_string(), hub.port()));
        options.set_keep_alive(30);
        let (client, events) = AsyncClient::builder(options)
            .capacity(8)
            .try_build()
            .map_err(|error| error.to_string())?;
        let books = Arc::new(Mutex::new(Books::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(client, events, Arc::clone(&books)));
        Ok(Self {
            books,
            _tasks: tasks,
        })
    }

    /// What has arrived from this source.
    pub(super) fn arrived(&self, source: &str) -> Arrived {
        lock(&self.books).get(source).cloned().unwrap_or_default()
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(client: AsyncClient, mut events: EventLoop, books: Arc<Mutex<Books>>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let sent = client.subscribe("plant/#", rumqttc::QoS::AtLeastOnce).await;
                if sent.is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => note(&publish, &mut lock(&books)),
            Ok(_) => {}
            // The hub itself never fails in the demonstration; it ends with it.
            Err(_) => return,
        }
    }
}

/// Enters `plant/<source>/...` with a payload that holds `"number": n`.
fn note(publish: &Publish, books: &mut Books) {
    let topic = String::from_utf8_lossy(&publish.topic);
    let payload = String::from_utf8_lossy(&publish.payload).into_owned();
    let reading: Option<serde_json::Value> = serde_json::from_str(&payload).ok();
    let number = reading
        .as_ref()
        .and_then(|it| it.get("number"))
        .and_then(serde_json::Value::as_u64);
    let (Some(source), Some(number)) = (topic.split('/').nth(1), number) else {
        return;
    };
    let arrived = books.entry(source.to_owned()).or_default();
    if arrived.numbers.last().is_some_and(|&last| number < last) {
        arrived.out_of_order += u64::from(!arrived.numbers.contains(&number));
    }
    // Number 0 is sent again and again until it arrives.
    if !arrived.numbers.insert(number) && number > 0 {
        arrived.repeated += 1;
    }
    arrived.last = format!("{topic} {payload}");
}
