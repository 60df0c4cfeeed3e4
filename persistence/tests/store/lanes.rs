//! Queues of several lanes.

use mqtt::session::{SIDE, StoredLast, lane_of, number_of, range_of, sequence};

use super::*;

/// Puts entries in, whose messages are their numbers.
fn fill(store: &Store, session: SessionId, entries: &[(u8, u64)]) -> Position {
    entries.iter().fold(Position(0), |_, &(lane, number)| {
        let stored = stored(store, number);
        enqueue(store, session, sequence(lane, number), &stored)
    })
}

fn lane(lane: u8, first: u64, messages: u64, unsettled: u64) -> StoredLane {
    StoredLane {
        first: sequence(lane, first),
        waiting: Amount {
            messages,
            bytes: messages * 2,
        },
        unsettled,
    }
}

#[test]
fn each_lane_comes_back_with_what_waits_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let (session, other) = (store.next_session_id(), store.next_session_id());
    put_session(&store, session, "c");
    put_session(&store, other, "d");
    store.submit(Operation::Sent(session, 3));
    fill(&store, other, &[(3, 1), (1, 2)]);
    let entries = [
        (1, 1),
        (0, 2),
        (3, 3),
        (1, 4),
        (0, 5),
        (2, 6),
        (1, 7),
        (3, 8),
    ];
    fill(&store, session, &entries);
    // One that waits for PUBCOMP has the greatest number.
    fill(&store, session, &[(2, 9)]);
    wait_durable(
        &store,
        store.submit(Operation::Pubrec(session, sequence(2, 9))),
    );
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let [found, other] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    let mut lanes = found.lanes.clone();
    lanes.sort_by_key(|it| lane_of(it.first));
    let expected = [
        lane(0, 2, 2, 1),
        lane(1, 1, 3, 1),
        lane(2, 6, 1, 0),
        lane(3, 3, 2, 1),
    ];
    assert_eq!(lanes, expected);
    assert_eq!((found.sent_sequence, found.next_sequence), (3, 10));
    assert_eq!(found.released, [sequence(2, 9)]);
    assert_eq!((other.sent_sequence, other.next_sequence), (2, 3));
    // A page is of one lane.
    for (lane, numbered) in [(0, vec![2, 5]), (1, vec![4, 7]), (3, vec![3, 8])] {
        let from = sequence(lane, 2);
        let to = sequence(lane, 10);
        let (page, complete) = page_between(&store, session, from, to, 10);
        assert_eq!((numbers(&page), complete), (numbered, true));
        assert!(page.iter().all(|it| it.class.lane == lane), "{page:?}");
    }
    store.close().unwrap();
}

#[test]
fn how_far_was_sent_is_a_number_whatever_the_lane() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session_until(&store, session, "c", None);
    wait_durable(&store, fill(&store, session, &[(1, 1), (0, 2), (2, 3)]));
    // All but the last are acknowledged, and another connection came as far as the fourth.
    fill(&store, session, &[(0, 4)]);
    store.submit(Operation::Sent(session, 4));
    put_session(&store, session, "c");
    wait_durable(
        &store,
        store.submit(Operation::Dequeue(session, sequence(0, 4))),
    );
    let left = crash(directory.path());
    store.close().unwrap();
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    let [found] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    // The number 4 is given again, to something that was not sent.
    assert_eq!((found.sent_sequence, found.next_sequence), (3, 4));
    wait_durable(&store, fill(&store, session, &[(0, 4)]));
    let left = crash(left.path());
    store.close().unwrap();
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    let [found] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!((found.sent_sequence, found.next_sequence), (3, 5));
    store.close().unwrap();
}

#[test]
fn both_sides_of_a_lane_come_back_and_the_last_number_tells_which_is_live() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session_until(&store, session, "c", None);
    let entries = [
        (1 | SIDE, 1),
        (3 | SIDE, 2),
        (1 | SIDE, 3),
        (1, 4),
        (3, 5),
        (1, 6),
    ];
    wait_durable(&store, fill(&store, session, &entries));
    let left = crash(directory.path());
    store.close().unwrap();
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    let [found] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    let mut lanes = found.lanes.clone();
    lanes.sort_by_key(|it| range_of(it.first));
    let expected = [
        lane(1, 4, 2, 2),
        lane(3, 5, 1, 1),
        lane(1 | SIDE, 1, 2, 2),
        lane(3 | SIDE, 2, 1, 1),
    ];
    assert_eq!(lanes, expected);
    assert_eq!(
        (found.side, found.sent_sequence, found.next_sequence),
        (0, 6, 7)
    );
    let (from, to) = (sequence(3 | SIDE, 1), sequence(3 | SIDE, 7));
    let (page, complete) = page_between(&store, session, from, to, 10);
    assert_eq!((numbers(&page), complete), (vec![2], true));
    assert_eq!(page[0].class.lane, 3, "its class has no side");
    // The first side is done, and one of the second waits for PUBCOMP.
    for (range, number) in [(1, 4), (3, 5), (1, 6)] {
        store.submit(Operation::Dequeue(session, sequence(range, number)));
    }
    fill(&store, session, &[(3 | SIDE, 7)]);
    let released = store.submit(Operation::Pubrec(session, sequence(3 | SIDE, 7)));
    wait_durable(&store, released);
    let left = crash(left.path());
    store.close().unwrap();
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    let [found] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!((found.side, found.sent_sequence), (SIDE, 3));
    assert_eq!(found.next_sequence, 8);
    store.close().unwrap();
}

#[test]
fn entries_of_which_only_the_last_is_kept_come_back_with_their_topics() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    fill(&store, session, &[(1, 1)]);
    for (topic, lane, number) in [("a", 1, 2), ("b", 3, 3), ("a", 1, 4), ("c", 1, 5)] {
        let stored = StoredMessage {
            id: store.next_message_id(),
            message: message(topic, number),
        };
        enqueue_as(&store, session, sequence(lane, number), &stored, true);
    }
    wait_durable(&store, store.submit(Operation::Dequeue(session, 5)));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let mut latest = recovered.sessions[0].latest.clone();
    latest.sort_by_key(|it| number_of(it.sequence));
    let last = |topic, sequence| StoredLast {
        topic: TopicName::new(topic).unwrap(),
        sequence,
        bytes: 2,
    };
    assert_eq!(
        latest,
        [last("a", 2), last("b", sequence(3, 3)), last("a", 4)]
    );
    let (found, _) = page_between(&store, session, 1, 10, 10);
    let latest_only: Vec<_> = found.iter().map(|it| it.class.latest_only).collect();
    assert_eq!(latest_only, [false, true, true]);
    store.close().unwrap();
}
