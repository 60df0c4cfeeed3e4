//! What the process does, and what is there afterwards.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mqtt::packet::SubscriptionOptions;
use mqtt::session::{Delivery, PageRequest};
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};
use persistence::{
    Durability, Operation, Options, Position, SessionId, Store, StoredMessage, StoredSubscription,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const FIRST: SessionId = SessionId(1);
const SECOND: SessionId = SessionId(2);
const BRIDGE: SessionId = SessionId(3);
/// Messages that fill more of the log than is left there, so that it is written to the database.
const MANY: u64 = 280;
const LARGE_BYTES: usize = 22_000;

pub(crate) fn options(durability: Durability) -> Options {
    Options {
        durability,
        ..Options::default()
    }
}

fn message(number: u64, bytes: usize) -> Arc<Message> {
    let payload = number.to_string().repeat(bytes);
    Arc::new(Message::new(TopicName::new("t").unwrap(), payload))
}

fn enqueue(session: SessionId, sequence: u64, id: u64, bytes: usize) -> Operation {
    Operation::Enqueue {
        session,
        sequence,
        stored: StoredMessage {
            id,
            message: message(id, bytes),
        },
        qos: QoS::ExactlyOnce,
        retain: false,
        subscription_ids: vec![1],
        latest_only: false,
        expires_at: None,
    }
}

fn put(session: SessionId, client_id: &str) -> Operation {
    Operation::PutSession {
        session,
        client_id: client_id.into(),
        expiry_seconds: 60,
        expires_at: Some(Timestamp::from_millis(5)),
    }
}

fn retain(topic: &str, number: Option<u64>) -> Operation {
    let message = number.map(|it| message(it, 10));
    Operation::Retain(TopicName::new(topic).unwrap(), message)
}

fn note(number: u64) -> Operation {
    Operation::NoteName {
        run: "other:1".into(),
        number,
        at: Timestamp::from_millis(number),
    }
}

fn delay(id: u64) -> Operation {
    let (due, message) = (Timestamp::from_millis(id), message(id, 10));
    Operation::Delay { id, due, message }
}

/// Each step is made durable before the next one is submitted. The store is closed and opened
/// again between the parts.
pub(crate) fn script() -> [Vec<Vec<Operation>>; 2] {
    let filter = TopicFilter::new("t/#").unwrap();
    let subscription = StoredSubscription {
        filter: filter.clone(),
        options: SubscriptionOptions::default(),
        identifier: Some(7),
    };
    [
        vec![
            vec![
                put(FIRST, "first"),
                put(SECOND, "second"),
                put(BRIDGE, "bridge"),
            ],
            vec![Operation::Subscribe(FIRST, subscription)],
            vec![enqueue(FIRST, 1, 1, 9), enqueue(SECOND, 1, 1, 9)],
            vec![enqueue(FIRST, 2, 2, 9), enqueue(FIRST, 3, 3, 9), note(1)],
            vec![retain("a", Some(1)), retain("b", Some(2)), delay(1)],
            vec![Operation::Dequeue(FIRST, 1), delay(2)],
        ],
        vec![
            vec![Operation::Receive(FIRST, 9), Operation::Undelay(1)],
            vec![Operation::Release(FIRST, 9), retain("a", None)],
            vec![
                Operation::Pubrec(FIRST, 2),
                enqueue(SECOND, 2, 2, 9),
                note(2),
                note(1_024),
            ],
            vec![Operation::Dequeue(SECOND, 1)],
            vec![Operation::DeleteSession(SECOND)],
            vec![Operation::Unsubscribe(FIRST, filter)],
            vec![Operation::Dequeue(FIRST, 3), enqueue(FIRST, 4, 4, 9)],
            vec![Operation::Dequeue(FIRST, 2)],
            vec![enqueue(BRIDGE, 1, 5, 9), enqueue(BRIDGE, 2, 6, 9)],
            vec![
                Operation::Received(BRIDGE, 1),
                Operation::Received(BRIDGE, 2),
            ],
            vec![Operation::Connecting(BRIDGE)],
            vec![Operation::Connected {
                session: BRIDGE,
                is_kept: false,
            }],
            vec![Operation::Received(BRIDGE, 1)],
            vec![Operation::Dequeue(BRIDGE, 1)],
        ],
    ]
}

/// The same in one part, with so much in between that the log is written to the database.
pub(crate) fn long_script() -> Vec<Vec<Operation>> {
    let [first, mut second] = script();
    let many = (1..=MANY).map(|it| enqueue(FIRST, 10 + it, 10 + it, LARGE_BYTES));
    second.insert(2, many.collect());
    first.into_iter().chain(second).collect()
}

/// Everything that a store knows when it is opened, but for what a restart decides.
pub(crate) fn content(directory: &Path) -> String {
    let (store, recovered) = Store::open(directory, Options::default()).unwrap();
    let mut content = format!("damage {:?}\n", recovered.damage);
    for session in &recovered.sessions {
        let (id, filters) = (session.id, &session.subscriptions);
        let in_flight: Vec<_> = session.in_flight.iter().map(|it| it.sequence).collect();
        let quality = (&session.received, &session.released, in_flight);
        writeln!(
            content,
            "{id:?} {} {filters:?} {quality:?}",
            session.client_id
        )
        .unwrap();
        for (sequence, payload) in queue(&store, id) {
            writeln!(content, "  {sequence} {payload}").unwrap();
        }
    }
    writeln!(content, "{:?}\n{:?}", recovered.retained, recovered.delayed).unwrap();
    writeln!(content, "{:?}", recovered.names).unwrap();
    store.close().unwrap();
    let database = rusqlite::Connection::open(directory.join("tidegate.db")).unwrap();
    let sql = "SELECT count(*) FROM message WHERE refs <>
                   (SELECT count(*) FROM queue WHERE message_id = message.id)";
    let miscounted: u64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(miscounted, 0, "{content}");
    content
}

/// Sequences and the beginnings of the payloads.
fn queue(store: &Store, session: SessionId) -> Vec<(u64, String)> {
    let (mut found, mut from, mut complete) = (Vec::new(), 0, false);
    while !complete {
        let (sender, answer) = mpsc::sync_channel(1);
        let (to, count) = (u64::MAX >> 1, 100);
        let reply = Box::new(move |page, complete| sender.send((page, complete)).unwrap());
        let request = PageRequest { from, to, count };
        store.submit(Operation::LoadPage(session, request, reply));
        let page: Vec<Delivery>;
        (page, complete) = answer.recv_timeout(PATIENCE).unwrap();
        from = page.last().map_or(from, |it| it.sequence + 1);
        found.extend(page.iter().map(|it| {
            let payload = String::from_utf8_lossy(&it.message.payload);
            (it.sequence, payload.chars().take(9).collect())
        }));
    }
    found
}

/// Copies the files as they are: what the end of the process at this moment would leave. The
/// epoch comes first, since it is never ahead of the database.
pub(crate) fn copy(directory: &Path) -> tempfile::TempDir {
    let left = memory();
    for file in [
        "tidegate.epoch",
        "tidegate.db",
        "tidegate.db-wal",
        "tidegate.db-journal",
    ] {
        let from = directory.join(file);
        if from.exists() {
            fs::copy(from, left.path().join(file)).unwrap();
        }
    }
    left
}

/// A directory in memory, where syncing takes no time; on the disk if there is no such place.
pub(crate) fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Submits the operations of a step, which are in one commit.
pub(crate) fn submit(store: &Store, step: Vec<Operation>) -> Position {
    let _together = store.hold();
    let positions = step.into_iter().map(|it| store.submit(it));
    positions.last().unwrap()
}

/// What is there before the first step and after each.
pub(crate) fn contents(script: Vec<Vec<Vec<Operation>>>) -> Vec<String> {
    let folder = memory();
    let (store, _) = Store::open(folder.path(), options(Durability::Full)).unwrap();
    let mut contents = vec![content(copy(folder.path()).path())];
    for step in script.into_iter().flatten() {
        let position = submit(&store, step);
        while store.durable() < position {
            thread::sleep(Duration::from_millis(1));
        }
        contents.push(content(copy(folder.path()).path()));
    }
    store.close().unwrap();
    contents
}
