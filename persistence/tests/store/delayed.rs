//! Delayed messages.

use super::*;

fn delay(store: &Store, id: u64, due: u64, number: u64) -> Position {
    store.submit(Operation::Delay {
        id,
        due: Timestamp::from_millis(due),
        message: message("t", number),
    })
}

#[test]
fn delayed_messages_come_back_in_the_order_they_are_due() {
    let directory = tempfile::tempdir().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert!(recovered.delayed.is_empty());
    let ids = [30, 10, 20, 10].map(|due| {
        let id = store.next_delayed_id();
        delay(&store, id, due, due + id);
        id
    });
    assert_eq!(ids, [1, 2, 3, 4]);
    wait_durable(&store, store.submit(Operation::Undelay(99)));
    wait_durable(&store, store.submit(Operation::Undelay(3)));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let found = recovered.delayed.iter().map(|it| {
        assert_eq!(it.message, message("t", it.due.as_millis() + it.id));
        (it.due.as_millis(), it.id)
    });
    assert_eq!(found.collect::<Vec<_>>(), [(10, 2), (10, 4), (30, 1)]);
    assert_eq!(store.next_delayed_id(), 5);
    store.close().unwrap();
}

#[test]
fn a_message_published_before_its_commit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    // The first commit comes at once; what follows within the interval is one batch.
    wait_durable(&store, delay(&store, 1, 5, 1));
    let before = log_length(directory.path());
    delay(&store, 2, 6, 2);
    wait_durable(&store, store.submit(Operation::Undelay(2)));
    let after = log_length(directory.path());
    assert_eq!(after, before, "nothing was written");
    wait_durable(&store, store.submit(Operation::Undelay(1)));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert!(recovered.delayed.is_empty());
    store.close().unwrap();
}
