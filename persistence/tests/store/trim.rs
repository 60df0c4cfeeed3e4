//! Removing the oldest entries of a queue.

use mqtt::session::{TrimRequest, Trimmed};

use super::*;

/// A session with so many entries of two bytes each.
fn session(store: &Store, entries: u64) -> SessionId {
    let session = store.next_session_id();
    put_session(store, session, "c");
    for number in 1..=entries {
        let stored = stored(store, number);
        enqueue(store, session, number, &stored);
    }
    session
}

fn request(from: u64, messages: u64, bytes: u64) -> TrimRequest {
    TrimRequest {
        from,
        to: u64::MAX >> 1,
        skip: 0,
        wanted: Amount { messages, bytes },
    }
}

/// Trims and waits for the answer.
fn trim(store: &Store, session: SessionId, request: TrimRequest) -> Trimmed {
    let (sender, answer) = mpsc::sync_channel(1);
    let reply = Box::new(move |trimmed| sender.send(trimmed).unwrap());
    store.submit(Operation::Trim(session, request, reply));
    answer.recv_timeout(PATIENCE).expect("an answer")
}

fn removed(messages: u64, next: u64, complete: bool) -> Trimmed {
    Trimmed {
        removed: Amount {
            messages,
            bytes: messages * 2,
        },
        next,
        complete,
    }
}

#[test]
fn the_oldest_entries_go_with_their_bodies_and_stay_away() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let first = session(&store, 9);
    let second = store.next_session_id();
    put_session(&store, second, "d");
    let shared = stored(&store, 7);
    enqueue(&store, first, 10, &shared);
    enqueue(&store, second, 1, &shared);
    // It sees what was submitted before it.
    assert_eq!(trim(&store, first, request(1, 3, 0)), removed(3, 4, false));
    let (found, _) = page(&store, first, 1, 100);
    assert_eq!(numbers(&found), [4, 5, 6, 7, 8, 9, 7]);
    // As many as these bytes are, and not those in front.
    assert_eq!(trim(&store, first, request(5, 1, 3)), removed(2, 7, false));
    // Some stay in front of those that go.
    let skipping = TrimRequest {
        skip: 2,
        ..request(1, 1, 0)
    };
    assert_eq!(trim(&store, first, skipping), removed(1, 9, false));
    // Nothing behind the end goes.
    let ending = TrimRequest {
        to: 10,
        ..request(8, 5, 0)
    };
    assert_eq!(trim(&store, first, ending), removed(1, 10, true));
    assert_eq!(trim(&store, first, request(8, 5, 0)), removed(1, 11, true));
    assert_eq!(trim(&store, first, request(8, 5, 0)), removed(0, 0, true));
    let (found, _) = page(&store, first, 1, 100);
    assert_eq!(numbers(&found), [4, 7]);
    let (found, _) = page(&store, second, 1, 100);
    assert_eq!(numbers(&found), [7], "somebody else has it too");
    store.close().unwrap();

    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let waiting: Vec<_> = recovered.sessions.iter().map(|it| it.waiting()).collect();
    assert_eq!(waiting, [2, 1]);
    store.close().unwrap();
    let connection = rusqlite::Connection::open(directory.path().join("tidegate.db")).unwrap();
    let bodies = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0));
    assert_eq!(bodies, Ok(3));
}

#[test]
fn what_is_not_written_yet_is_trimmed_too() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let session = session(&store, 5);
    let (sender, answers) = mpsc::sync_channel(3);
    for _ in 0..3 {
        let sender = sender.clone();
        let reply = Box::new(move |trimmed| sender.send(trimmed).unwrap());
        store.submit(Operation::Trim(session, request(1, 1, 0), reply));
    }
    let stored = stored(&store, 6);
    wait_durable(&store, enqueue(&store, session, 6, &stored));
    let found: Vec<Trimmed> = answers.try_iter().collect();
    let expected = [
        removed(1, 2, false),
        removed(1, 3, false),
        removed(1, 4, false),
    ];
    assert_eq!(found, expected);
    assert_eq!(numbers(&page(&store, session, 1, 10).0), [4, 5, 6]);
    store.close().unwrap();
}
