//! Entries of QoS 2 between PUBREC and PUBCOMP.

use mqtt::session::{number_of, sequence};
use persistence::{Findings, repair};

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

/// A session with entries of these sequences, of which its receiver has some.
fn received_by(store: &Store, sequences: &[u64], received: &[u64]) -> SessionId {
    let session = store.next_session_id();
    put_session_until(store, session, "c", None);
    for sequence in sequences {
        let stored = stored(store, number_of(*sequence));
        enqueue(store, session, *sequence, &stored);
    }
    for sequence in received {
        wait_durable(store, store.submit(Operation::Received(session, *sequence)));
    }
    session
}

/// What is in flight, released and waits, of the only session there is.
fn found(recovered: &Recovered) -> (Vec<u64>, Vec<u64>, Vec<StoredLane>) {
    let [session] = &recovered.sessions[..] else {
        panic!("{recovered:?}");
    };
    let sequences: Vec<_> = session.in_flight.iter().map(|it| it.sequence).collect();
    let expected: Vec<_> = sequences.iter().map(|it| number_of(*it)).collect();
    assert_eq!(numbers(&session.in_flight), expected);
    (sequences, session.released.clone(), session.lanes.clone())
}

fn lane(first: u64, messages: u64) -> StoredLane {
    StoredLane {
        first,
        waiting: Amount {
            messages,
            bytes: 2 * messages,
        },
        unsettled: messages,
    }
}

fn rows(directory: &Path, table: &str) -> u64 {
    let connection = rusqlite::Connection::open(directory.join("tidegate.db")).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_its_receiver_may_forget_keeps_its_message_until_it_is_done() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let high = |number| sequence(3, number);
    // What was sent before one that is received is in flight with it, in each lane by itself.
    let sequences = [1, 2, 3, 4, high(5), high(6), high(7), high(8)];
    let session = received_by(&store, &sequences, &[1, 3, high(6)]);
    store.submit(Operation::Dequeue(session, 1));
    wait_durable(&store, store.submit(Operation::Dequeue(session, high(5))));
    for _ in 0..2 {
        let left = crash(directory.path());
        let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
        let lanes = vec![lane(4, 1), lane(high(7), 2)];
        let expected = (vec![2, 3, high(6)], vec![3, high(6)], lanes);
        assert_eq!(found(&recovered), expected);
        let session = &recovered.sessions[0];
        assert_eq!((session.waiting(), session.next_sequence), (6, 9));
        store.close().unwrap();
    }
    assert_eq!(rows(directory.path(), "queue"), 6);
    // One by one, and two that follow each other of which one is received.
    store.submit(Operation::Dequeue(session, 2));
    store.submit(Operation::Dequeue(session, 3));
    wait_durable(&store, store.submit(Operation::Dequeue(session, high(6))));
    for (table, count) in [("queue", 3), ("message", 3), ("outbound", 0)] {
        assert_eq!(rows(directory.path(), table), count, "{table}");
    }
    store.close().unwrap();
}

#[test]
fn what_its_receiver_has_forgotten_waits_again() {
    for is_kept in [true, false] {
        let directory = memory();
        let (store, _) = Store::open(directory.path(), patient()).unwrap();
        let session = received_by(&store, &[1, 2, 3, 4, 5], &[2]);
        // In one batch.
        store.submit(Operation::Received(session, 3));
        store.submit(Operation::Connecting(session));
        store.submit(Operation::Connected { session, is_kept });
        wait_durable(&store, store.submit(Operation::Received(session, 4)));
        let left = crash(directory.path());
        let (again, recovered) = Store::open(left.path(), patient()).unwrap();
        let released = if is_kept { vec![2, 3, 4] } else { vec![4] };
        let expected = (vec![1, 2, 3, 4], released, vec![lane(5, 1)]);
        assert_eq!(found(&recovered), expected, "kept: {is_kept}");
        // It has forgotten once more.
        let is_kept = false;
        wait_durable(
            &again,
            again.submit(Operation::Connected { session, is_kept }),
        );
        again.close().unwrap();
        let (again, recovered) = Store::open(left.path(), patient()).unwrap();
        assert_eq!(found(&recovered), (vec![], vec![], vec![lane(1, 5)]));
        again.close().unwrap();
        store.close().unwrap();
    }
}

#[test]
fn what_a_receiver_that_was_asked_may_have_forgotten_waits_again() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = received_by(&store, &[1, 2, 3], &[1, 2]);
    wait_durable(&store, store.submit(Operation::Connecting(session)));
    let asked = crash(directory.path());
    let is_kept = true;
    wait_durable(
        &store,
        store.submit(Operation::Connected { session, is_kept }),
    );
    let answered = crash(directory.path());
    wait_durable(&store, store.submit(Operation::Connecting(session)));
    let asked_again = crash(directory.path());
    let waiting = (vec![], vec![], vec![lane(1, 3)]);
    let in_flight = (vec![1, 2], vec![1, 2], vec![lane(3, 1)]);
    for (left, expected) in [
        (&asked, &waiting),
        (&answered, &in_flight),
        (&asked_again, &waiting),
    ] {
        for _ in 0..2 {
            let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
            assert_eq!(found(&recovered), *expected);
            store.close().unwrap();
        }
    }
    store.close().unwrap();
}

#[test]
fn what_a_receiver_has_forgotten_and_has_no_message_stays_released() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = received_by(&store, &[1, 2], &[2]);
    wait_durable(&store, store.submit(Operation::Pubrec(session, 1)));
    let is_kept = false;
    wait_durable(
        &store,
        store.submit(Operation::Connected { session, is_kept }),
    );
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(found(&recovered), (vec![], vec![1], vec![lane(2, 1)]));
    store.close().unwrap();
}

#[test]
fn what_is_in_flight_does_not_make_way_for_a_later_one_of_its_topic() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session_until(&store, session, "c", None);
    for number in 1..=2 {
        let stored = stored(&store, number);
        enqueue_as(&store, session, number, &stored, true);
    }
    wait_durable(&store, store.submit(Operation::Received(session, 1)));
    let left = crash(directory.path());
    store.close().unwrap();
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    let latest = recovered.sessions[0].latest.iter();
    assert_eq!(latest.map(|it| it.sequence).collect::<Vec<_>>(), [2]);
    store.close().unwrap();
}

#[test]
fn what_is_in_flight_is_no_damage_and_is_saved_from_damaged_files() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    received_by(&store, &[1, 2, 3], &[2]);
    store.close().unwrap();
    assert_eq!(Findings::of(directory.path()).unwrap().problems, []);
    // The list of tables.
    let database = directory.path().join("tidegate.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[..4096].fill(0x5a);
    fs::write(&database, bytes).unwrap();
    repair(directory.path()).unwrap().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(found(&recovered), (vec![1, 2], vec![2], vec![lane(3, 1)]));
    store.close().unwrap();
}
