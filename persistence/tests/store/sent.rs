//! What may have been sent before a crash.

use super::*;

/// A session with this many entries in its queue, whose client is connected.
fn connected(store: &Store, entries: u64) -> SessionId {
    let session = store.next_session_id();
    put_session_until(store, session, "c", None);
    fill(store, session, 1..=entries);
    session
}

fn fill(store: &Store, session: SessionId, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let stored = stored(store, sequence);
        let position = enqueue(store, session, sequence, &stored);
        wait_durable(store, position);
    }
}

fn leave(store: &Store, session: SessionId, sent: u64) {
    store.submit(Operation::Sent(session, sent));
    wait_durable(store, put_session(store, session, "c"));
}

#[track_caller]
fn open(directory: &Path) -> (Store, u64, u64) {
    let (store, recovered) = Store::open(directory, Options::default()).unwrap();
    let [session] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    (store, session.sent_sequence, session.next_sequence)
}

#[test]
fn all_that_a_crash_leaves_to_a_connected_client_may_have_been_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = connected(&store, 5);
    let left = crash(directory.path());
    store.close().unwrap();
    let (store, sent, next) = open(left.path());
    assert_eq!((sent, next), (5, 6));
    // What comes while the client is away was not sent, whatever happens then.
    fill(&store, session, 6..=8);
    let left = crash(left.path());
    store.close().unwrap();
    let (store, sent, next) = open(left.path());
    assert_eq!((sent, next), (5, 9));
    store.close().unwrap();
}

#[test]
fn a_connection_that_ended_says_how_far_it_came() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = connected(&store, 5);
    leave(&store, session, 3);
    fill(&store, session, 6..=7);
    let left = crash(directory.path());
    let (second, sent, next) = open(left.path());
    assert_eq!((sent, next), (3, 8));
    second.close().unwrap();
    // The next connection may send everything.
    wait_durable(&store, put_session_until(&store, session, "c", None));
    let left = crash(directory.path());
    store.close().unwrap();
    let (second, sent, next) = open(left.path());
    assert_eq!((sent, next), (7, 8));
    second.close().unwrap();
}

#[test]
fn what_was_sent_and_acknowledged_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = connected(&store, 5);
    for sequence in 1..=5 {
        store.submit(Operation::Dequeue(session, sequence));
    }
    leave(&store, session, 5);
    store.close().unwrap();
    // Sequences begin again, and so must what is known of them.
    let (store, sent, next) = open(directory.path());
    assert_eq!((sent, next), (0, 1));
    fill(&store, session, 1..=3);
    store.close().unwrap();
    let (store, sent, next) = open(directory.path());
    assert_eq!((sent, next), (0, 4));
    store.close().unwrap();
}
