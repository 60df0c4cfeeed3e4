//! SQLite fails at every place of a script: what is reported durable is on the disk, and the rest
//! follows when the fault is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mqtt::connection::WillMessage;
use mqtt::packet::SubscriptionOptions;
use mqtt::session::PageRequest;
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::database::Database;
use crate::{Operation, Options, Position, SessionId, Store, StoredMessage, StoredSubscription};

const PATIENCE: Duration = Duration::from_secs(20);
/// Places of a script at which single instructions of SQLite fail.
const PLACES: u64 = 64;
const THREADS: u64 = 8;
const FIRST: SessionId = SessionId(1);
const SECOND: SessionId = SessionId(2);

/// Fails what asks it, from one call on until it is lifted.
#[derive(Clone, Debug, Default)]
struct Fault {
    from: u64,
    calls: Arc<AtomicU64>,
    is_lifted: Arc<AtomicBool>,
}

impl Fault {
    fn from_call(from: u64) -> Self {
        Self {
            from,
            ..Self::default()
        }
    }

    fn never() -> Self {
        Self::from_call(u64::MAX)
    }

    /// Counts a call; true if it is to fail.
    fn strikes(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        call >= self.from && !self.is_lifted.load(Ordering::SeqCst)
    }

    fn has_struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.from
    }
}

/// Where a fault strikes.
type Place = fn(&mut Connection, Fault);

fn at_a_commit(connection: &mut Connection, fault: Fault) {
    connection
        .commit_hook(Some(move || fault.strikes()))
        .unwrap();
}

/// SQLite asks once more when a COMMIT is over, and would call it failed although it is not, as
/// no disk can make it. So the instructions after each commit go unasked, with those that measure
/// the store, whose failure keeps nothing from being durable.
fn at_an_instruction(connection: &mut Connection, fault: Fault) {
    const UNASKED: u64 = 64;
    let unasked = Arc::new(AtomicU64::new(0));
    let commits = Arc::clone(&unasked);
    let committed = move || {
        commits.store(UNASKED, Ordering::SeqCst);
        false
    };
    connection.commit_hook(Some(committed)).unwrap();
    let strikes = move || {
        let left = unasked.load(Ordering::SeqCst);
        unasked.store(left.saturating_sub(1), Ordering::SeqCst);
        left == 0 && fault.strikes()
    };
    connection.progress_handler(1, Some(strikes)).unwrap();
}

fn message(number: u64) -> Arc<Message> {
    let payload = number.to_string().repeat(10);
    Arc::new(Message::new(TopicName::new("t").unwrap(), payload))
}

fn enqueue(session: SessionId, sequence: u64, id: u64) -> Operation {
    Operation::Enqueue {
        session,
        sequence,
        stored: StoredMessage {
            id,
            message: message(id),
        },
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: vec![1],
        latest_only: false,
        expires_at: None,
    }
}

fn put(session: SessionId, client_id: &str, expires_at: Option<u64>) -> Operation {
    Operation::PutSession {
        session,
        client_id: client_id.into(),
        expiry_seconds: 60,
        expires_at: expires_at.map(Timestamp::from_millis),
    }
}

fn retain(topic: &str, number: Option<u64>) -> Operation {
    Operation::Retain(TopicName::new(topic).unwrap(), number.map(message))
}

fn delay(id: u64) -> Operation {
    let (due, message) = (Timestamp::from_millis(id), message(id));
    Operation::Delay { id, due, message }
}

fn put_will(id: u64, session: SessionId) -> Operation {
    let will = WillMessage {
        message: (*message(id)).clone(),
        expiry: None,
        delay: Duration::from_secs(id),
    };
    let will = Arc::new(will);
    Operation::PutWill { id, session, will }
}

fn note(number: u64) -> Operation {
    Operation::NoteName {
        run: "other:1".into(),
        number,
        at: Timestamp::from_millis(number),
    }
}

/// Each step is made durable before the next one is submitted.
fn script() -> Vec<Vec<Operation>> {
    let filter = TopicFilter::new("t/#").unwrap();
    let subscription = StoredSubscription {
        filter: filter.clone(),
        options: SubscriptionOptions::default(),
        identifier: Some(7),
    };
    vec![
        vec![
            put(FIRST, "first", None),
            put(SECOND, "second", None),
            put_will(1, FIRST),
        ],
        vec![
            Operation::Subscribe(FIRST, subscription),
            put_will(2, SECOND),
        ],
        vec![enqueue(FIRST, 1, 1), enqueue(SECOND, 1, 1)],
        vec![enqueue(FIRST, 2, 2), enqueue(FIRST, 3, 3), note(1)],
        vec![retain("a", Some(1)), retain("b", Some(2)), delay(1)],
        vec![Operation::Dequeue(FIRST, 1), delay(2)],
        vec![Operation::Receive(FIRST, 9), Operation::Undelay(1)],
        vec![
            Operation::Sent(FIRST, 2),
            put(FIRST, "first", Some(5)),
            Operation::DelayWill(1, Timestamp::from_millis(5)),
        ],
        vec![Operation::Release(FIRST, 9), retain("a", None)],
        vec![Operation::Pubrec(FIRST, 2)],
        vec![Operation::RemoveWill(2), Operation::DeleteSession(SECOND)],
        vec![Operation::Unsubscribe(FIRST, filter)],
        vec![
            Operation::Dequeue(FIRST, 3),
            enqueue(FIRST, 4, 4),
            note(2),
            note(1_024),
        ],
        vec![Operation::Dequeue(FIRST, 2)],
    ]
}

/// A store with a fault in its database.
struct Run {
    folder: TempDir,
    store: Store,
    fault: Fault,
}

impl Run {
    fn start(place: Place, fault: &Fault) -> Self {
        let folder = memory();
        let data = folder.path().join("data");
        let (mut database, _, last) = Database::open(&data).unwrap();
        place(database.connection_mut().unwrap(), fault.clone());
        let store = Store::start(database, last, Options::default()).unwrap();
        let fault = fault.clone();
        Self {
            folder,
            store,
            fault,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// In one commit.
    fn submit(&self, step: Vec<Operation>) -> Position {
        let _together = self.store.hold();
        let positions = step.into_iter().map(|it| self.store.submit(it));
        positions.last().unwrap()
    }

    /// Waits until it is durable, or the fault has struck; true if it is durable.
    fn is_durable(&self, position: Position) -> bool {
        let start = Instant::now();
        while self.store.durable() < position {
            let struck = self.fault.has_struck() && !self.fault.is_lifted.load(Ordering::SeqCst);
            if struck {
                return self.store.durable() >= position;
            }
            assert!(start.elapsed() < PATIENCE, "it never recovers");
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// What a crash at this moment would leave.
    fn crash(&self) -> String {
        let left = memory();
        // The epoch first: it is never ahead of the database.
        for file in ["tidegate.epoch", "tidegate.db", "tidegate.db-wal"] {
            let from = self.data().join(file);
            if from.exists() {
                fs::copy(from, left.path().join(file)).unwrap();
            }
        }
        content(left.path())
    }
}

/// A directory in memory, where syncing takes no time; on the disk if there is no such place.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Everything that a store knows when it is opened. Its messages are in as many queues as they
/// count.
fn content(directory: &Path) -> String {
    let (store, mut recovered) = Store::open(directory, Options::default()).unwrap();
    // Another one in every store.
    recovered.broker_id = None;
    let mut content = format!("{recovered:?}");
    for session in [FIRST, SECOND] {
        let request = PageRequest {
            from: 0,
            to: 100,
            count: 100,
        };
        let (sender, page) = mpsc::sync_channel(1);
        let reply = Box::new(move |page, complete| sender.send((page, complete)).unwrap());
        store.submit(Operation::LoadPage(session, request, reply));
        content += &format!("{:?}", page.recv_timeout(PATIENCE).unwrap());
    }
    store.close().unwrap();
    let database = Connection::open(directory.join("tidegate.db")).unwrap();
    let sql = "SELECT count(*) FROM message WHERE refs <>
                   (SELECT count(*) FROM queue WHERE message_id = message.id)";
    let miscounted: u64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(miscounted, 0);
    content
}

/// What is on the disk before the first step and after each, and how often the place was asked.
fn expected(place: Place) -> (Vec<String>, u64) {
    let run = Run::start(place, &Fault::never());
    let mut contents = vec![run.crash()];
    for step in script() {
        let position = run.submit(step);
        assert!(run.is_durable(position));
        contents.push(run.crash());
    }
    let calls = run.fault.calls.load(Ordering::SeqCst);
    run.store.close().unwrap();
    (contents, calls)
}

/// Fails from a call on; nothing is durable then that is not on the disk, and all of it is in the
/// end.
fn fail_from(call: u64, place: Place, expected: &[String]) {
    let run = Run::start(place, &Fault::from_call(call));
    let mut steps = script().into_iter();
    let (mut durable, mut last) = (0, Position(0));
    for step in steps.by_ref() {
        last = run.submit(step);
        if !run.is_durable(last) {
            break;
        }
        durable += 1;
    }
    // A step may be written although nobody was told, and is written once more then.
    let left = run.crash();
    let mut written = expected[durable..].iter().take(2);
    assert!(
        written.any(|it| *it == left),
        "call {call}, step {durable}: {left}"
    );
    run.fault.is_lifted.store(true, Ordering::SeqCst);
    for step in steps {
        last = run.submit(step);
    }
    assert!(run.is_durable(last));
    assert_eq!(Some(&run.crash()), expected.last(), "call {call}");
    run.store.close().unwrap();
    assert_eq!(Some(&content(&run.data())), expected.last(), "call {call}");
}

fn fail_everywhere(place: Place, calls: impl Iterator<Item = u64> + Clone + Send) {
    let (expected, _) = expected(place);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let calls = calls.clone().filter(move |call| call % THREADS == thread);
            let expected = &expected;
            scope.spawn(move || calls.for_each(|call| fail_from(call, place, expected)));
        }
    });
}

#[test]
fn any_commit_may_fail() {
    let steps = script().len() as u64;
    fail_everywhere(at_a_commit, 1..=steps);
}

#[test]
fn any_instruction_may_fail() {
    let (_, calls) = expected(at_an_instruction);
    // Odd, so that all threads have some.
    let distance = (calls / PLACES).max(1) | 1;
    let calls = (0..PLACES).map(move |place| 1 + place * distance);
    fail_everywhere(at_an_instruction, calls);
}

#[test]
fn the_directory_may_go_during_any_commit() {
    let (expected, _) = expected(at_a_commit);
    for commit in 1..=script().len() as u64 {
        let folder = memory();
        let data = folder.path().join("data");
        let (mut database, _, last) = Database::open(&data).unwrap();
        let fault = Fault::from_call(commit);
        let (strikes, gone) = (fault.clone(), data.clone());
        let remove = move || {
            if strikes.strikes() {
                strikes.is_lifted.store(true, Ordering::SeqCst);
                fs::remove_dir_all(&gone).unwrap();
            }
            false
        };
        let connection = database.connection_mut().unwrap();
        connection.commit_hook(Some(remove)).unwrap();
        let store = Store::start(database, last, Options::default()).unwrap();
        let run = Run {
            folder,
            store,
            fault,
        };
        for step in script() {
            let position = run.submit(step);
            assert!(run.is_durable(position));
        }
        assert!(run.fault.has_struck());
        assert_eq!(Some(&run.crash()), expected.last(), "commit {commit}");
        run.store.close().unwrap();
    }
}
