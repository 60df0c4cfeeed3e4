//! A store that is looked at, with and without a daemon on it.

use std::fs;

use persistence::{Exported, Exports, Findings, Inspection};

use super::*;

/// Two sessions that wait for one message, one of them for another too, a retained and a delayed
/// message.
fn fill(store: &Store) {
    let (first, second) = (store.next_session_id(), store.next_session_id());
    put_session(store, first, "a");
    put_session_until(store, second, "b", None);
    let subscription = StoredSubscription {
        filter: TopicFilter::new("t/#").unwrap(),
        options: mqtt::packet::SubscriptionOptions::default(),
        identifier: Some(4),
    };
    store.submit(Operation::Subscribe(first, subscription));
    let (one, two) = (stored(store, 1), stored(store, 22));
    enqueue(store, first, 1, &one);
    enqueue(store, second, 1, &one);
    enqueue(store, second, 2, &two);
    let topic = TopicName::new("r").unwrap();
    store.submit(Operation::Retain(topic, Some(message("r", 333))));
    let delayed = Operation::Delay {
        id: store.next_delayed_id(),
        due: Timestamp::from_millis(9),
        message: message("d", 4_444),
    };
    wait_durable(store, store.submit(delayed));
}

/// The files of a directory with their content, but the index of the log, where a reader says
/// which part of the log it needs.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_str().unwrap().ends_with("-shm"))
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn everything() -> Exports {
    Exports {
        sessions: true,
        queues: true,
        retained: true,
        delayed: true,
        client_id: None,
    }
}

fn export(directory: &Path, what: &Exports) -> (Vec<String>, u64) {
    let mut lines = Vec::new();
    let mut inspection = Inspection::open(directory).unwrap();
    let damaged = inspection.export(what, &mut |found| {
        lines.push(match found {
            Exported::Session(it) => format!("session {}", it.client_id),
            Exported::Subscription(client_id, it) => {
                format!("subscription {client_id} {}", it.filter)
            }
            Exported::Queued(it) => {
                let payload = String::from_utf8_lossy(&it.delivery.message.payload).into_owned();
                format!("queued {} {} {payload}", it.client_id, it.delivery.sequence)
            }
            Exported::Retained(it) => format!("retained {}", it.topic),
            Exported::Delayed(it) => format!("delayed {}", it.due.as_millis()),
        });
        true
    });
    (lines, damaged.unwrap())
}

#[track_caller]
fn assert_complete(directory: &Path) {
    let before = files(directory);
    let findings = Findings::of(directory).unwrap();
    assert_eq!(
        (&findings.problems[..], &findings.remarks[..]),
        (&[][..], &[][..])
    );
    assert!(findings.epoch > 0);
    assert_eq!(findings.epoch, findings.noted_epoch);

    let stats = Inspection::open(directory).unwrap().stats().unwrap();
    assert_eq!(
        (stats.sessions, stats.connected, stats.subscriptions),
        (2, 1, 1)
    );
    let amount = |messages, bytes| Amount { messages, bytes };
    // A topic of one letter, and a digit for each.
    assert_eq!(stats.bodies, amount(2, 2 + 3));
    assert_eq!(stats.queued, amount(3, 2 + 2 + 3));
    assert_eq!(stats.retained, amount(1, 4));
    assert_eq!(stats.delayed, amount(1, 5));
    let [deepest, other] = &stats.deepest[..] else {
        panic!("{stats:?}")
    };
    assert_eq!(deepest.client_id.as_deref(), Some("b"));
    assert_eq!((deepest.queued, deepest.first_sequence), (amount(2, 5), 1));
    assert_eq!(
        (deepest.expiry_seconds, deepest.expires_at),
        (Some(60), None)
    );
    assert_eq!(other.expires_at, Some(Timestamp::from_millis(5)));
    assert!(stats.database_bytes > 0 && stats.pages > 0);

    let (lines, damaged) = export(directory, &everything());
    let expected = [
        "session a",
        "subscription a t/#",
        "queued a 1 1",
        "session b",
        "queued b 1 1",
        "queued b 2 22",
        "retained r",
        "delayed 9",
    ];
    assert_eq!((&lines[..], damaged), (&expected.map(str::to_owned)[..], 0));
    assert!(files(directory) == before, "something was written");
}

#[test]
fn a_store_is_looked_at_beside_a_daemon_after_a_crash_and_when_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    fill(&store);
    let crashed = crash(directory.path());
    assert_complete(crashed.path());
    assert_complete(directory.path());
    store.close().unwrap();
    assert_complete(directory.path());
    let names: Vec<_> = files(directory.path()).into_iter().map(|it| it.0).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    store.close().unwrap();
}

#[test]
fn what_comes_while_a_closed_store_is_looked_at_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    fill(&store);
    store.close().unwrap();
    let mut inspection = Inspection::open(directory.path()).unwrap();
    assert_eq!(inspection.stats().unwrap().sessions, 2);
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    wait_durable(&store, put_session(&store, store.next_session_id(), "c"));
    assert_eq!(inspection.stats().unwrap().sessions, 3);
    store.close().unwrap();
}

#[test]
fn one_client_is_read_out_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    fill(&store);
    let what = Exports {
        queues: true,
        client_id: Some("b".to_owned()),
        ..Exports::default()
    };
    let (lines, _) = export(directory.path(), &what);
    assert_eq!(lines, ["queued b 1 1", "queued b 2 22"]);
    store.close().unwrap();
}

#[test]
fn a_long_queue_is_read_out_in_its_order() {
    const COUNT: u64 = 1_234;
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    for number in 1..=COUNT {
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
    }
    store.close().unwrap();
    let mut numbers = Vec::new();
    let mut inspection = Inspection::open(directory.path()).unwrap();
    let read_out = inspection.export(&everything(), &mut |found| {
        if let Exported::Queued(it) = found {
            numbers.push(it.delivery.sequence);
        }
        numbers.len() < 1_200
    });
    assert_eq!(read_out.unwrap(), 0);
    assert_eq!(
        numbers,
        (1..=1_200).collect::<Vec<_>>(),
        "it ends when nobody wants more"
    );
}

/// What is wrong with a store after these statements.
fn damaged_by(sql: &str) -> Vec<(&'static str, u64)> {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    fill(&store);
    store.close().unwrap();
    let tool = rusqlite::Connection::open(directory.path().join("tidegate.db")).unwrap();
    tool.execute_batch(sql).unwrap();
    drop(tool);
    let findings = Findings::of(directory.path()).unwrap();
    let problems = findings.problems.into_iter();
    problems.map(|it| (it.what, it.count)).collect()
}

#[test]
fn each_kind_of_damage_is_found() {
    let references = "messages that stand in more or fewer queues than they count";
    let table: [(&str, &[(&str, u64)]); 9] = [
        (
            "DELETE FROM message WHERE id = 1",
            &[("queue entries without their message", 2)],
        ),
        (
            "UPDATE message SET refs = 7 WHERE id = 1",
            &[(references, 1)],
        ),
        ("DELETE FROM queue WHERE session_id = 1", &[(references, 1)]),
        (
            "UPDATE message SET topic = 'a/#'",
            &[("messages that cannot be understood", 2)],
        ),
        (
            "UPDATE queue SET qos = 3 WHERE sequence = 2",
            &[("queue entries that cannot be understood", 1)],
        ),
        (
            "UPDATE queue SET subscription_ids = x'01' WHERE sequence = 2",
            &[("queue entries that cannot be understood", 1)],
        ),
        (
            "UPDATE retained SET properties = x'ff'",
            &[("retained messages that cannot be understood", 1)],
        ),
        (
            "UPDATE subscription SET options = 255",
            &[("subscriptions that cannot be understood", 1)],
        ),
        ("UPDATE store SET epoch = 0", &[("lost changes", 1)]),
    ];
    for (sql, expected) in table {
        assert_eq!(damaged_by(sql), expected, "{sql}");
    }
}

#[test]
fn queues_of_sessions_without_a_record_are_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let spilled = stored(&store, 1);
    wait_durable(&store, enqueue(&store, SessionId(5), 1, &spilled));
    let findings = Findings::of(directory.path()).unwrap();
    assert_eq!((findings.problems.len(), findings.remarks.len()), (0, 1));
    let stats = Inspection::open(directory.path()).unwrap().stats().unwrap();
    assert_eq!(stats.deepest[0].client_id, None);
    store.close().unwrap();
}

#[test]
fn earlier_versions_can_be_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(migration::VERSION_1).unwrap();
    drop(connection);
    let findings = Findings::of(directory.path()).unwrap();
    assert_eq!(
        (findings.version, &findings.problems[..]),
        (Some(1), &[][..])
    );
    let stats = Inspection::open(directory.path()).unwrap().stats().unwrap();
    assert_eq!((stats.sessions, stats.queued.messages), (1, 2));
    assert_eq!(export(directory.path(), &everything()).0.len(), 5);
}

#[test]
fn what_is_no_store_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let refused = Findings::of(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenStoreError::Absent(_)), "{refused}");
    let file = directory.path().join("tidegate.db");
    fs::write(&file, "garbage").unwrap();
    let findings = Findings::of(directory.path()).unwrap();
    assert_eq!(findings.problems[0].what, "no readable database");
    assert!(Inspection::open(directory.path()).unwrap_err().is_damage());

    fs::remove_file(&file).unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("CREATE TABLE message(x)").unwrap();
    let findings = Findings::of(directory.path()).unwrap();
    assert_eq!(findings.problems[0].what, "tables of no version");
    connection.pragma_update(None, "user_version", 99).unwrap();
    let refused = Findings::of(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenStoreError::Newer { found: 99, .. }));
}
