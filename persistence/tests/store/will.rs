//! Wills.

use mqtt::connection::WillMessage;
use persistence::RecoveredWill;

use super::*;

const SESSION: SessionId = SessionId(7);

fn will(number: u64) -> Arc<WillMessage> {
    Arc::new(WillMessage {
        message: (*message("will/t", number)).clone(),
        expiry: number
            .is_multiple_of(2)
            .then(|| Duration::from_secs(number)),
        delay: Duration::from_secs(number),
    })
}

fn put(store: &Store, id: u64) -> Position {
    let (session, will) = (SESSION, will(id));
    store.submit(Operation::PutWill { id, session, will })
}

fn delay(store: &Store, id: u64) -> Position {
    store.submit(Operation::DelayWill(id, Timestamp::from_millis(id)))
}

fn remove(store: &Store, id: u64) -> Position {
    store.submit(Operation::RemoveWill(id))
}

fn left(directory: &Path) -> Vec<RecoveredWill> {
    let left = crash(directory);
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    store.close().unwrap();
    recovered.wills
}

fn numbers(wills: &[RecoveredWill]) -> Vec<(u64, Option<u64>)> {
    let number = |it: &RecoveredWill| {
        assert_eq!((it.session, &it.will), (SESSION, &will(it.id)));
        (it.id, it.due.map(Timestamp::as_millis))
    };
    wills.iter().map(number).collect()
}

#[test]
fn wills_come_back_with_the_time_at_which_they_are_due() {
    let directory = tempfile::tempdir().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert!(recovered.wills.is_empty());
    for id in 1..=4 {
        assert_eq!(store.next_will_id(), id);
        wait_durable(&store, put(&store, id));
    }
    assert_eq!(
        numbers(&left(directory.path())),
        [1, 2, 3, 4].map(|it| (it, None))
    );
    wait_durable(&store, delay(&store, 2));
    wait_durable(&store, delay(&store, 3));
    wait_durable(&store, remove(&store, 1));
    wait_durable(&store, remove(&store, 3));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(numbers(&recovered.wills), [(2, Some(2)), (4, None)]);
    assert_eq!(store.next_will_id(), 5);
    // A session of theirs has ended, if it was ever there.
    assert!(store.next_session_id() > SESSION);
    store.close().unwrap();
}

#[test]
fn the_operations_of_one_batch_come_to_what_they_come_to_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    // The first commit comes at once; what follows within the interval is one batch.
    put(&store, 1);
    put(&store, 2);
    wait_durable(&store, put(&store, 3));
    delay(&store, 1);
    remove(&store, 1);
    remove(&store, 2);
    put(&store, 4);
    delay(&store, 3);
    wait_durable(&store, delay(&store, 4));
    assert_eq!(
        numbers(&left(directory.path())),
        [(3, Some(3)), (4, Some(4))]
    );
    store.close().unwrap();
}

#[test]
fn a_will_that_comes_and_goes_before_its_commit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    wait_durable(&store, put(&store, 1));
    let before = log_length(directory.path());
    put(&store, 2);
    delay(&store, 2);
    put(&store, 3);
    remove(&store, 3);
    wait_durable(&store, remove(&store, 2));
    assert_eq!(log_length(directory.path()), before, "nothing was written");
    store.close().unwrap();
}
