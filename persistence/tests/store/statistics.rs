//! What the store says of itself.

use super::*;

/// Rows in the queues, counted by somebody else.
fn queued(directory: &Path) -> u64 {
    let connection = rusqlite::Connection::open(directory.join("tidegate.db")).unwrap();
    let count = connection.query_row("SELECT count(*) FROM queue", [], |row| row.get(0));
    count.unwrap()
}

#[test]
fn what_is_done_is_counted() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let before = store.statistics();
    assert_eq!(before.operations, 1);
    for number in 1..=10 {
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
    }
    for number in 1..=4 {
        store.submit(Operation::Dequeue(session, number));
    }
    let last = store.submit(Operation::Pubrec(session, 5));
    wait_durable(&store, last);
    let after = store.statistics();
    assert_eq!(after.operations, 16);
    assert_eq!((after.entries_elided, after.entries_written), (5, 5));
    assert_eq!(after.queued, 5);
    assert!(after.commits > before.commits);
    assert_eq!(after.commits, after.synced_commits);
    assert!(after.commit_average > Duration::ZERO);
    assert!(after.commit_max >= after.commit_average);
    assert_eq!(store.statistics().commit_max, Duration::ZERO, "none since");
    store.close().unwrap();
}

#[test]
fn nothing_is_written_for_what_comes_and_goes() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let before = store.statistics();
    for number in 1..=10 {
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
        store.submit(Operation::Dequeue(session, number));
    }
    let last = store.submit(Operation::Receive(session, 1));
    wait_durable(&store, last);
    let after = store.statistics();
    assert_eq!((after.entries_elided, after.entries_written), (10, 0));
    // The page of what was received, and the first page with the epoch.
    assert!(after.log_bytes - before.log_bytes < 5 * 4096 + 1024);
    store.close().unwrap();
}

#[test]
fn the_bytes_of_the_log_are_those_of_its_file() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let file = log_length(directory.path());
    let before = store.statistics();
    let mut position = Position(0);
    for number in 1..=50 {
        let stored = stored(&store, number);
        position = enqueue(&store, session, number, &stored);
        wait_durable(&store, position);
    }
    wait_durable(&store, position);
    let after = store.statistics();
    let written = log_length(directory.path()) - file;
    // The log is shorter than what makes SQLite begin anew.
    assert!(0 < written && written < 1000 * 4096, "{written}");
    assert_eq!(after.log_bytes - before.log_bytes, written);
    store.close().unwrap();
}

#[test]
fn rows_are_counted_exactly_also_those_of_sessions_that_end_and_after_a_restart() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let sessions = [
        store.next_session_id(),
        store.next_session_id(),
        store.next_session_id(),
    ];
    for (session, client_id) in sessions.into_iter().zip(["a", "b", "c"]) {
        put_session(&store, session, client_id);
    }
    for number in 1..=100 {
        let stored = stored(&store, number);
        for session in sessions {
            enqueue(&store, session, number, &stored);
        }
    }
    let spilled = store.next_session_id();
    let orphan = stored(&store, 1);
    wait_durable(&store, enqueue(&store, spilled, 1, &orphan));
    assert_eq!(store.statistics().queued, 301);
    store.submit(Operation::Dequeue(sessions[0], 7));
    // It is not there any more.
    store.submit(Operation::Dequeue(sessions[0], 7));
    store.submit(Operation::DeleteSession(sessions[1]));
    // Its name is taken by another session, then it ends.
    put_session(&store, store.next_session_id(), "c");
    wait_durable(&store, store.submit(Operation::DeleteSession(sessions[2])));
    assert_eq!(store.statistics().queued, 100);
    assert_eq!(queued(directory.path()), 100);
    store.close().unwrap();
    drop(store);
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(store.statistics().queued, 99, "the orphan has gone");
    assert_eq!(queued(directory.path()), 99);
    store.close().unwrap();
}

#[test]
fn a_store_that_keeps_nothing_counts_nothing() {
    let store = Store::disabled();
    store.submit(Operation::Dequeue(SessionId(1), 1));
    assert_eq!(store.statistics(), persistence::Statistics::default());
}
