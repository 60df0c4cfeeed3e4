//! What may be in flight after a restart does not make way.

use mqtt::QoS;
use mqtt::session::{
    Amount, Enqueue, Evicted, Session, StoredLane, StoredQueue, TrimRequest, Trimmed, WhenFull,
};

use super::limits;
use crate::delivery;

/// A session after a restart with so many entries, of which the first may be sent already.
fn recovered(messages: u64, unsettled: u64) -> Session {
    let lane = StoredLane {
        first: 1,
        waiting: Amount {
            messages,
            bytes: messages * 10,
        },
        unsettled,
    };
    let stored = StoredQueue {
        lanes: vec![lane],
        latest: Vec::new(),
        next: messages + 1,
        side: 0,
        sent: unsettled,
        released: Vec::new(),
        in_flight: Vec::new(),
    };
    Session::recovered(limits(WhenFull::DropOldest), &stored)
}

#[test]
fn what_may_be_in_flight_is_not_dropped() {
    let mut session = recovered(12, 3);
    let more = || delivery(QoS::AtLeastOnce, 0, 0);
    assert_ne!(session.enqueue(more()), Enqueue::Dropped);
    let [Evicted::Trim(request)] = session.take_evicted()[..] else {
        panic!("nothing makes way");
    };
    let wanted = Amount {
        messages: 1,
        bytes: 0,
    };
    let expected = TrimRequest {
        from: 1,
        to: 13,
        skip: 3,
        wanted,
    };
    assert_eq!(request, expected);
    let removed = Amount {
        messages: 1,
        bytes: 10,
    };
    let done = Trimmed {
        removed,
        next: 5,
        complete: false,
    };
    session.trimmed(&request, done);
    // They are in memory, and the next one to go is behind them.
    let page = session.page_wanted().unwrap();
    assert_eq!(page.from, 1);
    let mut entries: Vec<_> = [1, 2, 3, 5].map(|_| more()).into();
    for (entry, sequence) in entries.iter_mut().zip([1, 2, 3, 5]) {
        entry.sequence = sequence;
    }
    session.page_loaded(entries, false);
    assert_ne!(session.enqueue(more()), Enqueue::Dropped);
    assert_eq!(session.take_evicted(), [Evicted::Dropped(5)]);
    // Where all may be in flight, nothing makes way.
    let mut session = recovered(12, 12);
    assert_eq!(session.enqueue(more()), Enqueue::Dropped);
    assert_eq!(session.take_evicted(), []);
}
