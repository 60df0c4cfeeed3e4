//! What ends by itself, in a store that is opened again.

use std::path::Path;
use std::time::Duration;

use persistence::{Options, Recovered, RecoveredSession, Store};

use super::tests::{attach, exchange};

const HOUR: u64 = 3_600;

fn open(directory: &Path) -> (Store, Recovered) {
    Store::open(directory, Options::default()).unwrap()
}

fn only(recovered: Recovered) -> RecoveredSession {
    let mut sessions = recovered.sessions.into_iter();
    let session = sessions.next().unwrap();
    assert!(sessions.next().is_none());
    session
}

#[test]
fn the_end_of_a_session_is_not_put_off_by_each_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    attach(&exchange(store.clone()), "c", false, HOUR);
    // As a crash leaves it, with its client connected.
    store.close().unwrap();
    drop(store);

    let (store, recovered) = open(directory.path());
    let session = only(recovered);
    assert_eq!(session.expires_at, None);
    let before = store.clock().now();
    exchange(store.clone()).recover_session(session);
    let after = store.clock().now();
    store.close().unwrap();
    drop(store);

    let (store, recovered) = open(directory.path());
    let expires_at = only(recovered).expires_at.unwrap();
    let hour = Duration::from_secs(HOUR);
    let expected = before.after(hour)..=after.after(hour);
    assert!(expected.contains(&expires_at), "{expires_at:?}");
    store.close().unwrap();
}
