//! What is submitted under a hold is in one commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use mqtt::session::{TrimRequest, Trimmed};

use super::*;

/// Many times what a commit takes.
const A_WHILE: Duration = Duration::from_millis(20);

/// Commits each operation by itself and at once, and syncs it, which counts it.
fn hasty() -> Options {
    Options {
        commit_interval: Duration::ZERO,
        commit_operations: 1,
        durability: Durability::Full,
        ..Options::default()
    }
}

/// The commits that were synced.
fn commits(directory: &Path) -> u64 {
    let epoch = fs::read_to_string(directory.join("tidegate.epoch")).unwrap();
    epoch.split(' ').next().unwrap().parse().unwrap()
}

/// Whether it becomes durable although it is given time.
fn becomes_durable(store: &Store, position: Position, time: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < time {
        if store.durable() >= position {
            return true;
        }
        thread::yield_now();
    }
    false
}

#[test]
fn what_is_held_is_committed_together() {
    const ROUNDS: u64 = 10;
    let directory = memory();
    let (store, _) = Store::open(directory.path(), hasty()).unwrap();
    wait_durable(&store, put_session(&store, SessionId(1), "c"));
    let before = commits(directory.path());
    for sequence in 1..=ROUNDS {
        let held = store.hold();
        let stored = stored(&store, sequence);
        let first = enqueue(&store, SessionId(1), sequence, &stored);
        assert!(!becomes_durable(&store, first, A_WHILE));
        let within = store.hold();
        enqueue(&store, SessionId(2), sequence, &stored);
        drop(within);
        let last = store.submit(Operation::Receive(SessionId(1), 9));
        assert!(!becomes_durable(&store, first, A_WHILE));
        drop(held);
        wait_durable(&store, last);
    }
    assert_eq!(commits(directory.path()), before + ROUNDS);
    store.close().unwrap();
}

#[test]
fn a_read_does_not_part_what_is_held() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), hasty()).unwrap();
    let first = stored(&store, 1);
    wait_durable(&store, enqueue(&store, SessionId(1), 1, &first));
    let before = commits(directory.path());
    let (sender, page) = mpsc::sync_channel(1);
    let reply = Box::new(move |page, _| sender.send(page).unwrap());
    let request = PageRequest {
        from: 1,
        to: 3,
        count: 10,
    };
    let held = store.hold();
    enqueue(&store, SessionId(1), 2, &stored(&store, 2));
    store.submit(Operation::LoadPage(SessionId(1), request, reply));
    let last = enqueue(&store, SessionId(1), 3, &stored(&store, 3));
    drop(held);
    wait_durable(&store, last);
    assert_eq!(commits(directory.path()), before + 1);
    assert_eq!(numbers(&page.recv_timeout(PATIENCE).unwrap()), [1, 2]);
    store.close().unwrap();
}

#[test]
fn nor_does_a_trim() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), hasty()).unwrap();
    put_session(&store, SessionId(1), "c");
    let first = stored(&store, 1);
    wait_durable(&store, enqueue(&store, SessionId(1), 1, &first));
    let (sender, seen) = mpsc::sync_channel(2);
    let trim = |wanted| {
        let (sender, path) = (sender.clone(), directory.path().to_owned());
        // What a crash would leave when the entries are chosen, before they are removed.
        let reply = Box::new(move |trimmed: Trimmed| {
            let left = crash(&path);
            let (store, _) = Store::open(left.path(), Options::default()).unwrap();
            let left = numbers(&page(&store, SessionId(1), 1, 10).0);
            store.close().unwrap();
            sender.send((trimmed.next, left)).unwrap();
        });
        let request = TrimRequest {
            from: 1,
            to: 3,
            skip: 0,
            wanted,
        };
        store.submit(Operation::Trim(SessionId(1), request, reply))
    };
    let one = Amount {
        messages: 1,
        bytes: 0,
    };
    let held = store.hold();
    enqueue(&store, SessionId(1), 2, &stored(&store, 2));
    trim(one);
    trim(one);
    let last = enqueue(&store, SessionId(1), 3, &stored(&store, 3));
    drop(held);
    wait_durable(&store, last);
    let next = || seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next()], [(2, vec![1, 2, 3]), (3, vec![2, 3])]);
    assert_eq!(numbers(&page(&store, SessionId(1), 1, 10).0), [3]);
    store.close().unwrap();
}

/// There is always somebody who holds, and yet what one of them has let go is committed.
#[test]
fn nobody_keeps_the_writer_out() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for session in 1..=4 {
            let (store, is_over) = (&store, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let _held = store.hold();
                    store.submit(Operation::Release(SessionId(session), 1));
                    becomes_durable(store, Position(u64::MAX), Duration::from_micros(200));
                }
            });
        }
        for number in 0..100 {
            let held = store.hold();
            let position = store.submit(Operation::Receive(SessionId(9), number));
            drop(held);
            wait_durable(&store, position);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    store.close().unwrap();
}
