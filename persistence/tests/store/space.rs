//! What the database takes of the disk.

use super::*;

const MIB: u64 = 1 << 20;
const PAYLOAD_BYTES: usize = 10_000;

/// A message with a payload of this length.
fn large(store: &Store) -> StoredMessage {
    let mut message = Message::new(TopicName::new("t").unwrap(), vec![b'x'; PAYLOAD_BYTES]);
    message.qos = QoS::AtLeastOnce;
    StoredMessage {
        id: store.next_message_id(),
        message: Arc::new(message),
    }
}

fn file_bytes(directory: &Path) -> u64 {
    let file = directory.join("tidegate.db");
    fs::metadata(file).unwrap().len()
}

/// Queues this many messages for a session.
fn fill(store: &Store, session: SessionId, count: u64) {
    let mut position = Position(0);
    for sequence in 1..=count {
        let stored = large(store);
        position = enqueue(store, session, sequence, &stored);
    }
    wait_durable(store, position);
}

fn drain(store: &Store, session: SessionId, count: u64) {
    let mut position = Position(0);
    for sequence in 1..=count {
        position = store.submit(Operation::Dequeue(session, sequence));
    }
    wait_durable(store, position);
}

#[test]
fn what_is_drained_is_given_back_to_the_file_system() {
    const COUNT: u64 = 5_500;
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    fill(&store, session, COUNT);
    let full = store.statistics();
    assert!(full.used_bytes > 50 * MIB, "{full:?}");
    drain(&store, session, COUNT);
    until("the file gets shorter", || {
        file_bytes(directory.path()) < 5 * MIB
    });
    let drained = store.statistics();
    assert!(drained.used_bytes < MIB, "{drained:?}");
    assert!(drained.free_bytes <= 4 * MIB, "{drained:?}");
    // It can be used as before.
    fill(&store, session, 10);
    store.close().unwrap();
    drop(store);
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.sessions[0].waiting(), 10);
    assert_eq!(recovered.damage, None);
    store.close().unwrap();
}

#[test]
fn a_file_that_is_written_anew_gives_back_too() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    fill(&store, session, 2_000);
    fs::remove_file(directory.path().join("tidegate.db")).unwrap();
    drain(&store, session, 2_000);
    until("the file gets shorter", || {
        file_bytes(directory.path()) < 5 * MIB
    });
    store.close().unwrap();
}
