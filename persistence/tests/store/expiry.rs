//! What has expired in the queues.

use std::sync::Mutex;

use persistence::{Deadline, GiveUp};

use super::*;

/// More than what is looked at in one step.
const MANY: u64 = 2_500;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn expiring(store: &Store, number: u64, end: Option<u64>) -> StoredMessage {
    let mut stored = stored(store, number);
    Arc::make_mut(&mut stored.message).expires_at = end.map(at);
    stored
}

/// Everything that was asked for.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Vec<Deadline>>>>);

impl Asked {
    /// Gives up what this agrees to.
    fn give_up(&self, agrees: impl Fn(&Deadline) -> bool + Send + 'static) -> GiveUp {
        let asked = self.0.clone();
        Box::new(move |found| {
            asked.lock().unwrap().push(found.clone());
            found.retain(|it| agrees(it));
        })
    }

    fn steps(&self) -> Vec<Vec<Deadline>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Session, sequence and end of each.
    fn all(&self) -> Vec<(SessionId, u64, u64)> {
        let entries = self.steps().into_iter().flatten();
        let entries = entries.map(|it| (it.entry.session, it.entry.sequence, it.at.as_millis()));
        entries.collect()
    }
}

/// Waits until there is nothing left to be done.
fn settle(store: &Store) {
    // A sweep of several steps is behind what was submitted meanwhile.
    for _ in 0..5 {
        wait_durable(store, store.submit(Operation::Undelay(0)));
    }
}

/// Rows of a table.
fn count(directory: &Path, table: &str) -> u64 {
    let connection = rusqlite::Connection::open(directory.join("tidegate.db")).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_has_expired_leaves_the_disk_with_its_bodies() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let (first, second) = (store.next_session_id(), store.next_session_id());
    put_session(&store, first, "first");
    put_session(&store, second, "second");
    let asked = Asked::default();
    let bodies = [Some(30), Some(10), None, Some(20), Some(40)].map(|end| expiring(&store, 1, end));
    for (sequence, body) in (1..).zip(&bodies) {
        enqueue(&store, first, sequence, body);
        enqueue(&store, second, sequence, body);
    }
    store.expire(
        at(30),
        asked.give_up(move |it| it.entry.session == first || it.entry.sequence == 1),
    );
    settle(&store);
    let found = [(2, 10), (4, 20), (1, 30)];
    let found = found.map(|(sequence, at)| [first, second].map(|it| (it, sequence, at)));
    assert_eq!(asked.all(), found.concat());
    assert_eq!(count(directory.path(), "queue"), 6);
    assert_eq!(count(directory.path(), "message"), 4, "all but the first");
    let sequences = |session| -> Vec<_> {
        let (page, _) = page(&store, session, 1, 10);
        page.iter().map(|it| it.sequence).collect()
    };
    assert_eq!(sequences(first), [3, 5]);
    assert_eq!(sequences(second), [2, 3, 4, 5]);
    // What was kept goes like everything else.
    store.submit(Operation::Dequeue(second, 2));
    store.submit(Operation::Dequeue(second, 4));
    settle(&store);
    assert_eq!(count(directory.path(), "message"), 2);
    store.close().unwrap();
}

#[test]
fn nobody_is_asked_when_nothing_can_have_expired() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let asked = Asked::default();
    let expire = |now| {
        store.expire(at(now), asked.give_up(|_| false));
        settle(&store);
    };
    enqueue(&store, session, 1, &expiring(&store, 1, Some(20)));
    enqueue(&store, session, 2, &expiring(&store, 2, Some(30)));
    expire(10);
    assert_eq!(
        asked.steps(),
        [[]],
        "the first time it looks how things are"
    );
    expire(19);
    assert!(asked.steps().is_empty());
    expire(20);
    assert_eq!(asked.all(), [(session, 1, 20)]);
    // It was not given up, and is not asked for again.
    expire(29);
    assert!(asked.steps().is_empty());
    // What comes late is not passed over.
    enqueue(&store, session, 3, &expiring(&store, 3, Some(25)));
    expire(29);
    assert_eq!(asked.all(), [(session, 3, 25)]);
    expire(40);
    assert_eq!(asked.all(), [(session, 2, 30)]);
    expire(1_000);
    assert!(asked.steps().is_empty());
    store.close().unwrap();
    Store::disabled().expire(at(1_000), asked.give_up(|_| true));
}

#[test]
fn many_are_removed_step_by_step() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let body = expiring(&store, 1, Some(10));
    for sequence in 1..=MANY {
        enqueue(&store, session, sequence, &body);
    }
    enqueue(&store, session, MANY + 1, &expiring(&store, 2, Some(11)));
    let asked = Asked::default();
    // Those that stay do not hold up the rest.
    store.expire(at(10), asked.give_up(|it| it.entry.sequence > 1_100));
    settle(&store);
    let steps = asked.steps();
    assert!(steps.len() > 2 && steps.iter().all(|it| it.len() <= 1_000));
    let sequences = steps.concat().into_iter().map(|it| it.entry.sequence);
    assert!(sequences.eq(1..=MANY));
    assert_eq!(count(directory.path(), "queue"), 1_101);
    store.expire(at(11), asked.give_up(|_| true));
    settle(&store);
    assert_eq!(asked.all(), [(session, MANY + 1, 11)]);
    assert_eq!(count(directory.path(), "message"), 1);
    store.close().unwrap();
}

#[test]
fn a_page_has_what_was_there_when_it_was_asked_for() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = store.next_session_id();
    // The first commit comes at once; what follows within the interval is one batch.
    wait_durable(&store, put_session(&store, session, "c"));
    for sequence in 1..=3 {
        let end = (sequence == 2).then_some(5);
        enqueue(&store, session, sequence, &expiring(&store, sequence, end));
    }
    let (sender, pages) = mpsc::sync_channel(2);
    let load = || {
        let sender = sender.clone();
        let request = PageRequest {
            from: 1,
            to: 4,
            count: 10,
        };
        let reply = Box::new(move |page: Vec<Delivery>, _| {
            let ends = page
                .iter()
                .map(|it| it.expires_at.map(Timestamp::as_millis));
            sender
                .send((numbers(&page), ends.collect::<Vec<_>>()))
                .unwrap();
        });
        store.submit(Operation::LoadPage(session, request, reply));
    };
    load();
    store.expire(at(5), Asked::default().give_up(|_| true));
    load();
    let page = || pages.recv_timeout(PATIENCE).unwrap();
    assert_eq!(page(), (vec![1, 2, 3], vec![None, Some(5), None]));
    assert_eq!(page(), (vec![1, 3], vec![None, None]));
    store.close().unwrap();
}

#[test]
fn what_expires_while_the_store_is_closed_is_found() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    enqueue(&store, session, 1, &expiring(&store, 1, Some(10)));
    enqueue(&store, session, 2, &expiring(&store, 2, None));
    store.close().unwrap();
    drop(store);
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.sessions[0].waiting(), 2);
    let asked = Asked::default();
    store.expire(at(10), asked.give_up(|_| true));
    store.close().unwrap();
    assert_eq!(asked.all(), [(session, 1, 10)]);
    drop(store);
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.sessions[0].waiting(), 1);
    store.close().unwrap();
}
