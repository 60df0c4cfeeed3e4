//! Entries of QoS 2 between PUBREC and PUBCOMP.

use super::*;

#[test]
fn an_entry_that_its_client_has_is_remembered_until_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    for sequence in 1..=3 {
        let stored = stored(&store, sequence);
        enqueue(&store, session, sequence, &stored);
    }
    // One is written before its PUBREC, one is not, and one is done with it.
    wait_durable(&store, store.submit(Operation::Pubrec(session, 1)));
    store.submit(Operation::Pubrec(session, 2));
    let stored = stored(&store, 4);
    enqueue(&store, session, 4, &stored);
    store.submit(Operation::Pubrec(session, 4));
    store.submit(Operation::Dequeue(session, 4));
    wait_durable(&store, store.submit(Operation::Pubrec(session, 3)));
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), patient()).unwrap();
    let found = &recovered.sessions[0];
    assert_eq!(found.released, [1, 2, 3]);
    assert_eq!((found.waiting(), found.next_sequence), (0, 4));
    // PUBREC may come again.
    store.submit(Operation::Pubrec(session, 2));
    store.submit(Operation::Dequeue(session, 1));
    wait_durable(&store, store.submit(Operation::Dequeue(session, 3)));
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), patient()).unwrap();
    let found = &recovered.sessions[0];
    assert_eq!((&found.released[..], found.next_sequence), (&[2][..], 3));
    wait_durable(&store, store.submit(Operation::DeleteSession(session)));
    wait_durable(&store, put_session(&store, session, "c"));
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), patient()).unwrap();
    assert_eq!(recovered.sessions[0].released, [0; 0]);
    store.close().unwrap();
}
