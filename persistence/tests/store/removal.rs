//! Entries that are done with together, and the bodies that go with them.

use super::*;

/// The numbers of the bodies that are stored, with how many queues they are in.
fn bodies(directory: &Path) -> Vec<(u64, u64)> {
    let database = rusqlite::Connection::open(directory.join("tidegate.db")).unwrap();
    let mut select = database
        .prepare("SELECT CAST(payload AS TEXT) + 0, refs FROM message ORDER BY id")
        .unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_body_goes_with_its_last_entry_in_whatever_order_they_are_done_with() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let (first, second) = (store.next_session_id(), store.next_session_id());
    put_session(&store, first, "first");
    let mut last = put_session(&store, second, "second");
    for number in 1..=9 {
        let stored = stored(&store, number);
        last = enqueue(&store, first, number, &stored);
        if number % 3 == 0 {
            last = enqueue(&store, second, number / 3, &stored);
        }
    }
    wait_durable(&store, last);

    // All of one queue but an entry in the middle, with some that never were; one of the other.
    for sequence in (1..=12).filter(|it| *it != 5) {
        store.submit(Operation::Dequeue(first, sequence));
    }
    wait_durable(&store, store.submit(Operation::Dequeue(second, 2)));
    assert_eq!(numbers(&page(&store, first, 0, 100).0), [5]);
    assert_eq!(numbers(&page(&store, second, 0, 100).0), [3, 9]);
    assert_eq!(bodies(directory.path()), [(3, 1), (5, 1), (9, 1)]);

    // An entry that is done with while its message comes into another queue.
    let stored = StoredMessage {
        id: 9,
        message: message("t", 9),
    };
    store.submit(Operation::Dequeue(second, 3));
    wait_durable(&store, enqueue(&store, first, 13, &stored));
    assert_eq!(bodies(directory.path()), [(3, 1), (5, 1), (9, 1)]);
    for (session, sequence) in [(first, 13), (first, 5), (second, 1)] {
        last = store.submit(Operation::Dequeue(session, sequence));
    }
    wait_durable(&store, last);
    assert_eq!(bodies(directory.path()), []);
    store.close().unwrap();
}
