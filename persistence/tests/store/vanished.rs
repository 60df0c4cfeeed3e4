//! The files are deleted, replaced or truncated while the store is open.

use std::fs;

use super::*;

/// An open store with a session and one message in its queue.
struct Opened {
    // Its parent, which is not the store's, so that the data directory may go too.
    folder: tempfile::TempDir,
    store: Store,
    session: SessionId,
    sequence: u64,
}

impl Opened {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("data"), Options::default()).unwrap();
        let session = store.next_session_id();
        put_session(&store, session, "c");
        let mut opened = Self {
            folder,
            store,
            session,
            sequence: 0,
        };
        opened.add();
        opened
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self, suffix: &str) -> std::path::PathBuf {
        self.data().join(format!("tidegate.db{suffix}"))
    }

    fn submit(&mut self) -> Position {
        self.sequence += 1;
        let stored = stored(&self.store, self.sequence);
        enqueue(&self.store, self.session, self.sequence, &stored)
    }

    /// Adds a message and waits until it is durable.
    fn add(&mut self) {
        let position = self.submit();
        wait_durable(&self.store, position);
    }

    /// Everything durable is there after a crash, and after closing.
    #[track_caller]
    fn assert_kept(self) {
        let left = crash(&self.data());
        assert_content(left.path(), self.session, self.sequence);
        self.store.close().unwrap();
        assert_content(&self.data(), self.session, self.sequence);
    }

    /// The names in the data directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data()).unwrap();
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[track_caller]
fn assert_content(directory: &Path, session: SessionId, last: u64) {
    let (store, recovered) = Store::open(directory, Options::default()).unwrap();
    assert_eq!((recovered.sessions.len(), recovered.damage), (1, None));
    let (found, complete) = page(&store, session, 1, 1_000);
    assert_eq!(numbers(&found), (1..=last).collect::<Vec<_>>());
    assert!(complete);
    store.close().unwrap();
}

/// Closes the store, which says that this many operations are not written.
#[track_caller]
fn assert_unwritten(store: &Store, expected: u64) {
    match store.close() {
        Err(CloseStoreError::Unwritten { operations, .. }) => assert_eq!(operations, expected),
        closed => panic!("{closed:?}"),
    }
}

#[test]
fn deleted_files_are_written_anew() {
    let deletions: [&[&str]; 5] = [
        &["", "-wal", "-shm"],
        &[""],
        &["-wal"],
        &["-shm"],
        &["", "-wal"],
    ];
    for suffixes in deletions {
        let mut opened = Opened::new();
        for suffix in suffixes {
            fs::remove_file(opened.file(suffix)).unwrap();
        }
        opened.add();
        opened.add();
        opened.assert_kept();
    }
}

#[test]
fn a_deleted_directory_is_made_again() {
    let mut opened = Opened::new();
    for _ in 0..3 {
        fs::remove_dir_all(opened.data()).unwrap();
        opened.add();
    }
    let second = Store::open(&opened.data(), Options::default());
    assert!(matches!(second, Err(OpenStoreError::InUse(_))), "locked");
    opened.assert_kept();
}

#[test]
fn what_runs_goes_on_when_its_files_are_written_anew() {
    let mut opened = Opened::new();
    let store = opened.store.clone();
    // A client that is connected, and a session without a record, as those that only spill are.
    put_session_until(&store, opened.session, "c", None);
    let spilling = store.next_session_id();
    let own = stored(&store, 7);
    wait_durable(&store, enqueue(&store, spilling, 1, &own));
    fs::remove_dir_all(opened.data()).unwrap();
    opened.add();
    opened.add();
    assert_eq!(numbers(&page(&store, spilling, 1, 10).0), [7]);
    let left = crash(&opened.data());
    let (second, recovered) = Store::open(left.path(), Options::default()).unwrap();
    assert_eq!(recovered.sessions[0].sent_sequence, opened.sequence);
    second.close().unwrap();
    opened.assert_kept();
}

#[test]
fn a_directory_that_is_moved_away_is_made_again() {
    let mut opened = Opened::new();
    fs::rename(opened.data(), opened.folder.path().join("away")).unwrap();
    opened.add();
    opened.assert_kept();
}

#[test]
fn a_deleted_lock_is_taken_again() {
    let mut opened = Opened::new();
    fs::remove_file(opened.data().join("tidegate.lock")).unwrap();
    opened.add();
    let second = Store::open(&opened.data(), Options::default());
    assert!(matches!(second, Err(OpenStoreError::InUse(_))), "locked");
    opened.assert_kept();
}

#[test]
fn what_replaces_the_database_is_kept_beside_it() {
    let mut opened = Opened::new();
    fs::write(opened.folder.path().join("other"), "something else").unwrap();
    fs::rename(opened.folder.path().join("other"), opened.file("")).unwrap();
    opened.add();
    let kept = opened.file(".damaged-1");
    assert_eq!(fs::read(&kept).unwrap(), b"something else");
    fs::remove_file(opened.file("")).unwrap();
    fs::create_dir(opened.file("")).unwrap();
    opened.add();
    assert!(opened.file(".damaged-2").is_dir());
    assert_eq!(fs::read(&kept).unwrap(), b"something else");
    opened.assert_kept();
}

#[test]
fn another_database_does_not_take_the_place() {
    let mut other = Opened::new();
    other.add();
    other.store.close().unwrap();
    let mut opened = Opened::new();
    fs::rename(other.file(""), opened.file("")).unwrap();
    opened.add();
    opened.assert_kept();
}

#[test]
fn nothing_is_durable_while_the_directory_cannot_be_made() {
    let mut opened = Opened::new();
    fs::remove_dir_all(opened.data()).unwrap();
    fs::write(opened.data(), "in the way").unwrap();
    let position = opened.submit();
    let waker = Waker::noop();
    let state = opened
        .store
        .poll_durable(position, &mut Context::from_waker(waker));
    assert_eq!(state, Poll::Pending);
    fs::remove_file(opened.data()).unwrap();
    wait_durable(&opened.store, position);
    opened.assert_kept();
}

#[test]
fn nothing_is_durable_in_vain_when_the_store_is_closed() {
    let mut opened = Opened::new();
    let before = opened.store.durable();
    fs::remove_dir_all(opened.data()).unwrap();
    fs::write(opened.data(), "in the way").unwrap();
    opened.submit();
    opened.submit();
    assert_unwritten(&opened.store, 2);
    assert_eq!(opened.store.durable(), before);
}

#[test]
fn what_is_gone_when_the_store_is_closed_is_said() {
    let opened = Opened::new();
    fs::remove_dir_all(opened.data()).unwrap();
    fs::write(opened.data(), "in the way").unwrap();
    let closed = opened.store.close();
    assert!(
        matches!(closed, Err(CloseStoreError::Gone(_))),
        "{closed:?}"
    );
}

#[test]
fn what_is_deleted_while_nothing_is_written_is_there_when_the_store_is_closed() {
    let opened = Opened::new();
    fs::remove_dir_all(opened.data()).unwrap();
    opened.store.close().unwrap();
    assert_content(&opened.data(), opened.session, 1);
}

#[test]
fn nothing_is_durable_after_the_files_were_truncated() {
    for suffix in ["", "-wal"] {
        let mut opened = Opened::new();
        let before = opened.store.durable();
        let file = fs::OpenOptions::new().write(true).open(opened.file(suffix));
        file.unwrap().set_len(0).unwrap();
        opened.submit();
        assert_unwritten(&opened.store, 1);
        assert_eq!(opened.store.durable(), before, "{suffix}");
        assert!(opened.names().iter().all(|it| !it.contains("damaged")));
    }
}

#[test]
fn another_process_may_look_and_clear_up() {
    let mut opened = Opened::new();
    for number in 0..200 {
        let topic = TopicName::new(&format!("r/{number}")).unwrap();
        let retain = Operation::Retain(topic, Some(message("r", number)));
        opened.store.submit(retain);
    }
    opened.add();
    for number in 0..200 {
        let topic = TopicName::new(&format!("r/{number}")).unwrap();
        opened.store.submit(Operation::Retain(topic, None));
    }
    opened.add();
    let tool = rusqlite::Connection::open(opened.file("")).unwrap();
    for sql in ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"] {
        tool.execute_batch(sql).unwrap();
        opened.add();
    }
    tool.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(tool);
    opened.add();
    opened.assert_kept();
}
