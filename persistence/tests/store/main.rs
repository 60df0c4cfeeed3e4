//! The store as the daemon uses it: what was durable is there after opening it again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod damage;
mod delayed;
mod expiry;
mod flips;
mod hold;
mod inspection;
mod lanes;
mod migration;
mod names;
mod outbound;
mod quota;
mod removal;
mod salvage;
mod sent;
mod space;
mod statistics;
mod time;
mod trim;
mod vanished;
mod will;

use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mqtt::session::{Amount, Delivery, PageRequest, QueueClass, StoredLane};
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};
use persistence::{
    CloseStoreError, Damage, Durability, OpenStoreError, Operation, Options, Position, Recovered,
    SessionId, Store, StoredMessage, StoredSubscription,
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Signal(mpsc::SyncSender<()>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.try_send(()).ok();
    }
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_durable(store: &Store, position: Position) {
    let (sender, woken) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(Signal(sender)));
    while store.poll_durable(position, &mut Context::from_waker(&waker)) == Poll::Pending {
        woken.recv_timeout(PATIENCE).expect("the store commits");
    }
}

fn message(topic: &str, number: u64) -> Arc<Message> {
    let payload = number.to_string().into_bytes();
    let mut message = Message::new(TopicName::new(topic).unwrap(), payload);
    message.qos = QoS::AtLeastOnce;
    Arc::new(message)
}

fn enqueue(store: &Store, session: SessionId, sequence: u64, stored: &StoredMessage) -> Position {
    enqueue_as(store, session, sequence, stored, false)
}

fn enqueue_as(
    store: &Store,
    session: SessionId,
    sequence: u64,
    stored: &StoredMessage,
    latest_only: bool,
) -> Position {
    store.submit(Operation::Enqueue {
        session,
        sequence,
        stored: stored.clone(),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: vec![7, 300_000],
        latest_only,
        expires_at: stored.message.expires_at,
    })
}

fn stored(store: &Store, number: u64) -> StoredMessage {
    StoredMessage {
        id: store.next_message_id(),
        message: message("t", number),
    }
}

fn put_session(store: &Store, session: SessionId, client_id: &str) -> Position {
    let expires_at = Some(Timestamp::from_millis(5));
    put_session_until(store, session, client_id, expires_at)
}

fn put_session_until(
    store: &Store,
    session: SessionId,
    client_id: &str,
    expires_at: Option<Timestamp>,
) -> Position {
    store.submit(Operation::PutSession {
        session,
        client_id: client_id.into(),
        expiry_seconds: 60,
        expires_at,
    })
}

/// A directory in memory, where syncing takes no time; on the disk if there is no such place.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// What a crash at this moment would leave: the files as they are while the store is open. The
/// epoch comes first, since it is never ahead of the database.
fn crash(directory: &Path) -> tempfile::TempDir {
    let left = memory();
    let epoch = directory.join("tidegate.epoch");
    let mut files = vec![epoch.clone()];
    for entry in fs::read_dir(directory).unwrap() {
        files.extend(Some(entry.unwrap().path()).filter(|it| it.is_file() && *it != epoch));
    }
    for file in files.into_iter().filter(|it| it.exists()) {
        fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
    }
    left
}

/// The length of the write-ahead log, which every commit that writes something changes.
fn log_length(directory: &Path) -> u64 {
    let log = directory.join("tidegate.db-wal");
    fs::metadata(log).unwrap().len()
}

/// Every commit is synced, and so counted.
fn synced() -> Options {
    Options {
        durability: Durability::Full,
        ..Options::default()
    }
}

/// Waits long between two commits, so that what is submitted after the first is one batch, and
/// syncs all of them, so that there are no others.
fn patient() -> Options {
    Options {
        commit_interval: Duration::from_millis(300),
        durability: Durability::Full,
        ..Options::default()
    }
}

fn page(store: &Store, session: SessionId, from: u64, count: usize) -> (Vec<Delivery>, bool) {
    page_between(store, session, from, u64::MAX >> 1, count)
}

fn page_between(
    store: &Store,
    session: SessionId,
    from: u64,
    to: u64,
    count: usize,
) -> (Vec<Delivery>, bool) {
    let (sender, page) = mpsc::sync_channel(1);
    let request = PageRequest { from, to, count };
    let reply = Box::new(move |deliveries, complete| sender.send((deliveries, complete)).unwrap());
    store.submit(Operation::LoadPage(session, request, reply));
    page.recv_timeout(PATIENCE).expect("a page")
}

fn numbers(page: &[Delivery]) -> Vec<u64> {
    page.iter()
        .map(|it| {
            std::str::from_utf8(&it.message.payload)
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[test]
fn a_durable_session_comes_back_with_its_queue() {
    let directory = tempfile::tempdir().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert!(recovered.sessions.is_empty() && recovered.retained.is_empty());
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let filter = TopicFilter::new("t/#").unwrap();
    let options = mqtt::packet::SubscriptionOptions {
        no_local: true,
        ..Default::default()
    };
    let subscription = StoredSubscription {
        filter,
        options,
        identifier: Some(300_000),
    };
    store.submit(Operation::Subscribe(session, subscription.clone()));
    for number in 1..=5 {
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
    }
    store.submit(Operation::Dequeue(session, 2));
    store.submit(Operation::Receive(session, 9));
    let topic = TopicName::new("r").unwrap();
    let last = store.submit(Operation::Retain(topic, Some(message("r", 1))));
    wait_durable(&store, last);
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.retained, [message("r", 1)]);
    let [found] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(
        (found.id, &*found.client_id, found.expiry_seconds),
        (session, "c", 60)
    );
    assert_eq!(found.expires_at, Some(Timestamp::from_millis(5)));
    assert_eq!(found.subscriptions, [subscription]);
    let waiting = Amount {
        messages: 4,
        bytes: 4 * 2,
    };
    let lane = StoredLane {
        first: 1,
        waiting,
        unsettled: 4,
    };
    assert_eq!((&found.lanes[..], found.next_sequence), (&[lane][..], 6));
    assert_eq!(found.received, [9]);
    assert!(store.next_session_id() > session);

    let (first, complete) = page(&store, session, 1, 3);
    assert_eq!((numbers(&first), complete), (vec![1, 3, 4], false));
    assert_eq!(first[0].subscription_ids, [7, 300_000]);
    let (rest, complete) = page(&store, session, 5, 3);
    assert_eq!((numbers(&rest), complete), (vec![5], true));
    store.close().unwrap();
}

#[test]
fn a_page_sees_everything_that_was_submitted_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    for number in 1..=100 {
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
        let (found, _) = page(&store, session, number, 10);
        assert_eq!(numbers(&found), [number]);
    }
    store.close().unwrap();
}

#[test]
fn a_body_is_stored_once_and_goes_with_its_last_reference() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let sessions = [
        store.next_session_id(),
        store.next_session_id(),
        store.next_session_id(),
    ];
    let body = stored(&store, 1);
    for session in sessions {
        let position = enqueue(&store, session, 1, &body);
        // Each in a batch of its own.
        wait_durable(&store, position);
    }
    let count = |expected: i64| {
        let database = directory.path().join("tidegate.db");
        let connection = rusqlite::Connection::open(database).unwrap();
        let count = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0));
        assert_eq!(count, Ok(expected));
    };
    count(1);
    wait_durable(&store, store.submit(Operation::Dequeue(sessions[0], 1)));
    count(1);
    wait_durable(&store, store.submit(Operation::DeleteSession(sessions[1])));
    count(1);
    let (found, _) = page(&store, sessions[2], 1, 10);
    assert_eq!(numbers(&found), [1]);
    wait_durable(&store, store.submit(Operation::Dequeue(sessions[2], 1)));
    count(0);
    store.close().unwrap();
}

#[test]
fn an_entry_acknowledged_before_its_commit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = store.next_session_id();
    // The first commit comes at once; what follows within the interval is one batch.
    wait_durable(&store, put_session(&store, session, "c"));
    let before = log_length(directory.path());
    let body = stored(&store, 1);
    enqueue(&store, session, 1, &body);
    let last = store.submit(Operation::Dequeue(session, 1));
    wait_durable(&store, last);
    let after = log_length(directory.path());
    assert_eq!(after, before, "nothing was written");
    store.close().unwrap();
}

#[test]
fn what_has_to_be_synced_is_synced_with_its_commit() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "client"));
    let epoch = || fs::read_to_string(directory.path().join("tidegate.epoch")).unwrap();
    for packet_id in 1..=20 {
        let before = epoch();
        let operation = Operation::Receive(session, packet_id);
        wait_durable(&store, store.submit_as(operation, Durability::Full));
        assert!(epoch() > before, "20 commits in far less than 20 seconds");
    }
}

#[test]
fn a_second_process_and_a_newer_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let second = Store::open(directory.path(), Options::default());
    assert!(matches!(second, Err(OpenStoreError::InUse(_))));
    store.close().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&file).unwrap();
    drop(store);
    let newer = Store::open(directory.path(), Options::default());
    assert!(matches!(
        newer,
        Err(OpenStoreError::Newer { found: 99, .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), before, "left untouched");
}

#[test]
fn publishers_wait_when_too_much_is_pending() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        commit_interval: Duration::from_millis(200),
        pending_bytes_max: 1_000,
        ..Options::default()
    };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let (sender, woken) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(Signal(sender)));
    let mut context = Context::from_waker(&waker);
    let mut sequence = 0;
    while store.poll_room(&mut context) == Poll::Ready(()) {
        sequence += 1;
        let stored = stored(&store, sequence);
        enqueue(&store, session, sequence, &stored);
        assert!(sequence < 1_000, "never full");
    }
    woken
        .recv_timeout(PATIENCE)
        .expect("woken when there is room");
    assert_eq!(store.poll_room(&mut context), Poll::Ready(()));
    store.close().unwrap();
}

#[test]
fn what_a_session_without_a_record_spilled_is_gone_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let (kept, spilled) = (store.next_session_id(), store.next_session_id());
    put_session(&store, kept, "kept");
    let (shared, own) = (stored(&store, 1), stored(&store, 2));
    enqueue(&store, kept, 1, &shared);
    enqueue(&store, spilled, 1, &shared);
    enqueue(&store, spilled, 2, &own);
    store.close().unwrap();
    drop(store);
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.sessions.len(), 1);
    assert!(page(&store, spilled, 1, 10).0.is_empty());
    assert_eq!(numbers(&page(&store, kept, 1, 10).0), [1]);
    store.close().unwrap();
}

#[test]
fn a_session_without_end_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let position = store.submit(Operation::PutSession {
        session: store.next_session_id(),
        client_id: "c".into(),
        expiry_seconds: u64::MAX,
        expires_at: Some(Timestamp::from_millis(u64::MAX)),
    });
    wait_durable(&store, position);
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let [session] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert!(session.expiry_seconds > u64::MAX / 4);
    assert!(session.expires_at > Some(Timestamp::from_millis(u64::MAX / 4)));
    store.close().unwrap();
}

#[test]
fn a_session_may_begin_before_the_one_of_the_same_name_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let (old, new) = (store.next_session_id(), store.next_session_id());
    put_session(&store, old, "c");
    let (first, second) = (stored(&store, 1), stored(&store, 2));
    wait_durable(&store, enqueue(&store, old, 1, &first));
    wait_durable(&store, put_session(&store, new, "c"));
    // What the first one leaves may be for somebody else.
    assert_eq!(numbers(&page(&store, old, 1, 10).0), [1]);
    enqueue(&store, new, 1, &second);
    wait_durable(&store, enqueue(&store, old, 2, &second));
    wait_durable(&store, store.submit(Operation::DeleteSession(old)));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let found: Vec<_> = recovered.sessions.iter().map(|it| it.id).collect();
    assert_eq!(found, [new]);
    assert_eq!(numbers(&page(&store, new, 1, 10).0), [2]);
    assert!(page(&store, old, 1, 10).0.is_empty());
    store.close().unwrap();
}
