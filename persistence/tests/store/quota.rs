//! The bounds of the store as a whole.

use std::sync::Mutex;

use persistence::{QueueEntry, Quota};

use super::*;

const MIB: u64 = 1 << 20;

fn open(directory: &Path, quota: Quota) -> Store {
    let options = Options {
        quota,
        ..Options::default()
    };
    Store::open(directory, options).unwrap().0
}

/// A message with a payload of 10 kB.
fn large(store: &Store) -> StoredMessage {
    StoredMessage {
        id: store.next_message_id(),
        message: Arc::new(Message::new(
            TopicName::new("t").unwrap(),
            vec![b'x'; 10_000],
        )),
    }
}

/// What is dropped, in its order; `stays` says what is not.
fn dropped(
    store: &Store,
    stays: impl Fn(&QueueEntry) -> bool + Send + 'static,
) -> Arc<Mutex<Vec<QueueEntry>>> {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&dropped);
    store.drop_oldest(Box::new(move |oldest| {
        oldest.retain(|it| !stays(it));
        noted.lock().unwrap().extend_from_slice(oldest);
    }));
    dropped
}

fn queue(store: &Store, session: SessionId) -> Vec<u64> {
    numbers(&page(store, session, 1, 10_000).0)
}

#[test]
fn a_store_is_full_when_its_bytes_are_used_until_some_of_them_are_free() {
    let directory = memory();
    let quota = Quota {
        used_bytes_max: MIB,
        ..Quota::default()
    };
    let store = open(directory.path(), quota);
    let session = store.next_session_id();
    let mut last = put_session(&store, session, "c");
    assert!(!store.is_full());
    // What waits counts at once.
    let mut count = 0;
    while !store.is_full() {
        count += 1;
        let message = large(&store);
        last = enqueue(&store, session, count, &message);
        assert!(count < 200, "never full");
    }
    assert!(count > 80, "{count} are no MiB");
    wait_durable(&store, last);
    let used = store.statistics().used_bytes;
    assert!((MIB * 9 / 10..MIB * 11 / 10).contains(&used), "{used}");
    store.close().unwrap();
    drop(store);

    let store = open(directory.path(), quota);
    assert!(store.is_full(), "also after a restart");
    // What makes room is taken.
    wait_durable(&store, store.submit(Operation::Dequeue(session, 1)));
    assert!(store.is_full(), "one message more would be too many again");
    for sequence in 2..=20 {
        last = store.submit(Operation::Dequeue(session, sequence));
    }
    wait_durable(&store, last);
    until("there is room", || !store.is_full());
    store.close().unwrap();
}

#[test]
fn what_is_elided_makes_nothing_full_in_the_end() {
    let directory = memory();
    let options = Options {
        quota: Quota {
            used_bytes_max: MIB,
            ..Quota::default()
        },
        ..patient()
    };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let mut count = 0;
    while !store.is_full() {
        count += 1;
        let message = large(&store);
        enqueue(&store, session, count, &message);
        store.submit(Operation::Dequeue(session, count));
    }
    until("nothing of it is written", || !store.is_full());
    assert_eq!(store.statistics().entries_written, 0);
    store.close().unwrap();
}

#[test]
fn a_store_is_full_of_messages() {
    let directory = memory();
    let quota = Quota {
        queued_max: 100,
        ..Quota::default()
    };
    let store = open(directory.path(), quota);
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let enqueue = |sequence| {
        let message = stored(&store, sequence);
        wait_durable(&store, enqueue(&store, session, sequence, &message));
    };
    (1..=99).for_each(enqueue);
    assert!(!store.is_full());
    until("there is room for one", || store.room() == 1);
    // What waits counts at once.
    let message = stored(&store, 100);
    super::enqueue(&store, session, 100, &message);
    assert!(store.is_full());
    assert_eq!(store.room(), 0);
    for sequence in 1..=5 {
        wait_durable(&store, store.submit(Operation::Dequeue(session, sequence)));
    }
    assert!(store.is_full(), "there are 95");
    wait_durable(&store, store.submit(Operation::Dequeue(session, 6)));
    until("there is room", || !store.is_full());
    store.close().unwrap();
}

#[test]
fn the_oldest_of_all_queues_are_dropped() {
    const MAX: u64 = 100;
    let directory = memory();
    let quota = Quota {
        queued_max: MAX,
        drops_oldest: true,
        ..Quota::default()
    };
    let store = open(directory.path(), quota);
    let dropped = dropped(&store, |_| false);
    let (both, odd) = (store.next_session_id(), store.next_session_id());
    put_session(&store, both, "both");
    let mut last = put_session(&store, odd, "odd");
    let mut sequence = 0;
    for number in 1..=1_000 {
        let message = stored(&store, number);
        last = enqueue(&store, both, number, &message);
        if number % 2 == 1 {
            sequence += 1;
            last = enqueue(&store, odd, sequence, &message);
        }
    }
    wait_durable(&store, last);
    until("the bound is kept", || store.statistics().queued <= MAX);
    assert!(!store.is_full(), "it is the others that make way");
    let (first, second) = (queue(&store, both), queue(&store, odd));
    assert_eq!(first.len() + second.len(), 100);
    let oldest = first[0];
    assert_eq!(first, (oldest..=1_000).collect::<Vec<_>>());
    let odds: Vec<u64> = (oldest..1_000).filter(|it| it % 2 == 1).collect();
    assert!(second.ends_with(&odds[1..]), "{oldest} {second:?}");
    let dropped = dropped.lock().unwrap();
    assert_eq!(dropped.len(), 1_400);
    let mut of_both = dropped.iter().filter(|it| it.session == both);
    assert!(of_both.by_ref().map(|it| it.sequence).eq(1..oldest));
    assert_eq!(dropped[0].bytes, 2, "topic and payload");
    assert_eq!(dropped[0].qos, QoS::AtLeastOnce);
    drop(dropped);
    // The bodies have gone too.
    store.close().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let bodies = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0));
    assert_eq!(bodies, Ok(first.len()));
}

#[test]
fn what_does_not_make_way_stays_and_the_next_ones_go() {
    let directory = memory();
    let quota = Quota {
        used_bytes_max: MIB,
        drops_oldest: true,
        ..Quota::default()
    };
    let store = open(directory.path(), quota);
    let _dropped = dropped(&store, |it| it.sequence <= 10);
    let session = store.next_session_id();
    put_session(&store, session, "c");
    for sequence in 1..=300 {
        let message = large(&store);
        wait_durable(&store, enqueue(&store, session, sequence, &message));
    }
    until("the bound is kept", || store.statistics().used_bytes <= MIB);
    let sequences: Vec<u64> = page(&store, session, 1, 1_000)
        .0
        .iter()
        .map(|it| it.sequence)
        .collect();
    assert_eq!(sequences[..10], (1..=10).collect::<Vec<_>>());
    let first = sequences[10];
    assert!((200..240).contains(&first), "{first}");
    assert_eq!(sequences[10..], (first..=300).collect::<Vec<_>>());
    store.close().unwrap();
}

#[test]
fn a_store_in_which_nothing_makes_way_is_full() {
    let directory = memory();
    let quota = Quota {
        queued_max: 10,
        drops_oldest: true,
        ..Quota::default()
    };
    let store = open(directory.path(), quota);
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let mut last = Position(0);
    for sequence in 1..=20 {
        let message = stored(&store, sequence);
        last = enqueue(&store, session, sequence, &message);
    }
    wait_durable(&store, last);
    until("nobody can be asked", || store.is_full());
    let dropped = dropped(&store, |_| true);
    wait_durable(&store, store.submit(Operation::Dequeue(session, 20)));
    assert!(store.is_full());
    assert!(dropped.lock().unwrap().is_empty());
    assert_eq!(queue(&store, session).len(), 19);
    for sequence in 1..=9 {
        last = store.submit(Operation::Dequeue(session, sequence));
    }
    wait_durable(&store, last);
    until("there is room", || !store.is_full());
    store.close().unwrap();
}

#[test]
fn only_a_store_that_drops_pays_for_an_index() {
    let directory = memory();
    let indices = |drops_oldest| {
        let quota = Quota {
            drops_oldest,
            ..Quota::default()
        };
        open(directory.path(), quota).close().unwrap();
        let file = directory.path().join("tidegate.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'queue_by_age'";
        let count = connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        count.unwrap()
    };
    assert_eq!([false, true, true, false].map(indices), [0, 1, 1, 0]);
}

#[test]
fn a_file_system_with_little_left_makes_the_store_full() {
    let directory = memory();
    let quota = |left_bytes_min| Quota {
        left_bytes_min,
        ..Quota::default()
    };
    let store = open(directory.path(), quota(Some(u64::MAX / 2)));
    until("it is full", || store.is_full());
    // What makes room is taken.
    wait_durable(&store, store.submit(Operation::Dequeue(SessionId(1), 1)));
    assert!(store.is_full());
    store.close().unwrap();
    drop(store);
    let store = open(directory.path(), quota(Some(1)));
    wait_durable(&store, put_session(&store, SessionId(1), "c"));
    assert!(!store.is_full());
    store.close().unwrap();
}

#[test]
fn a_store_that_drops_does_not_grow_where_little_is_left() {
    let directory = memory();
    let quota = Quota {
        left_bytes_min: Some(u64::MAX / 2),
        drops_oldest: true,
        ..Quota::default()
    };
    let store = open(directory.path(), Quota::default());
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let mut last = Position(0);
    for sequence in 1..=100 {
        let message = large(&store);
        last = enqueue(&store, session, sequence, &message);
    }
    wait_durable(&store, last);
    store.close().unwrap();
    drop(store);
    let store = open(directory.path(), quota);
    let _dropped = dropped(&store, |_| false);
    let before = store.statistics().used_bytes;
    for sequence in 101..=300 {
        let message = large(&store);
        wait_durable(&store, enqueue(&store, session, sequence, &message));
    }
    until("the oldest have gone", || {
        store.statistics().used_bytes <= before
    });
    let (page, _) = page(&store, session, 1, 1_000);
    assert!(page.len() > 80, "{}", page.len());
    assert_eq!(page.last().unwrap().sequence, 300);
    assert!(!store.is_full());
    store.close().unwrap();
}
