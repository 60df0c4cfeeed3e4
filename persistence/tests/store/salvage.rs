//! What can be saved of damaged files.

use std::fs;
use std::path::PathBuf;

use persistence::{
    Exported, Exports, Findings, Inspection, Salvage, SalvageError, repair, salvage,
};

use super::*;

const PAGE: usize = 4096;

/// A store with this many entries of each kind.
fn filled(count: u64) -> tempfile::TempDir {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    for number in 1..=count {
        let filter = TopicFilter::new(&format!("plant/line{}/{number}/#", number % 10)).unwrap();
        let subscription = StoredSubscription {
            filter,
            options: mqtt::packet::SubscriptionOptions::default(),
            identifier: None,
        };
        store.submit(Operation::Subscribe(session, subscription));
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
        let topic = format!("plant/line{}/{number}", number % 10);
        let retained = message(&topic, number);
        store.submit(Operation::Retain(retained.topic.clone(), Some(retained)));
        let delayed = Operation::Delay {
            id: store.next_delayed_id(),
            due: Timestamp::from_millis(number),
            message: message("d", number),
        };
        store.submit(delayed);
        // Each is in a row of its own, and no run has more than are kept.
        store.submit(Operation::NoteName {
            run: format!("broker-{}:1", number / 90).into(),
            number: number % 90 * 1_024,
            at: Timestamp::from_millis(number),
        });
    }
    store.close().unwrap();
    directory
}

fn database(directory: &Path) -> PathBuf {
    directory.join("tidegate.db")
}

/// Makes pages of a table unreadable, and returns how many rows were on them.
fn destroy(directory: &Path, table: &str, places: &[usize]) -> u64 {
    let tool = rusqlite::Connection::open(database(directory)).unwrap();
    let mut statement = tool
        .prepare(
            "SELECT pageno, ncell FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path",
        )
        .unwrap();
    let pages = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)));
    let pages: Vec<(usize, u64)> = pages.unwrap().map(Result::unwrap).collect();
    drop(statement);
    drop(tool);
    let mut bytes = fs::read(database(directory)).unwrap();
    let mut rows = 0;
    for place in places {
        let (page, cells) = pages[*place];
        bytes[(page - 1) * PAGE..][..PAGE].fill(0x5a);
        rows += cells;
    }
    fs::write(database(directory), bytes).unwrap();
    rows
}

#[track_caller]
fn assert_whole(directory: &Path) {
    assert_eq!(Findings::of(directory).unwrap().problems, []);
    let (store, recovered) = Store::open(directory, synced()).unwrap();
    assert_eq!(recovered.damage, None);
    store.close().unwrap();
}

fn saved(salvage: &Salvage, table: &str) -> (u64, u64) {
    let found = salvage.tables.iter().find(|it| it.name == table).unwrap();
    assert_eq!((found.damaged, found.superseded), (0, 0), "{found:?}");
    (found.saved, found.gaps)
}

#[test]
fn a_whole_store_is_left_alone() {
    let directory = filled(3);
    let before = fs::read(database(directory.path())).unwrap();
    assert_eq!(repair(directory.path()).unwrap(), None);
    assert!(fs::read(database(directory.path())).unwrap() == before);
    assert_whole(directory.path());
}

#[test]
fn what_is_on_other_pages_is_saved() {
    const COUNT: u64 = 2_000;
    let whole = filled(COUNT);
    for table in [
        "subscription",
        "retained",
        "delayed",
        "queue",
        "message",
        "seen",
    ] {
        // The first, two beside each other, and the last.
        for places in [&[0][..], &[3, 4], &[2, 5], &[usize::MAX]] {
            let directory = crash(whole.path());
            let tool = rusqlite::Connection::open(database(directory.path())).unwrap();
            let sql = "SELECT count(*) FROM dbstat WHERE name = ?1 AND pagetype = 'leaf'";
            let leaves: usize = tool.query_row(sql, [table], |row| row.get(0)).unwrap();
            drop(tool);
            let places: Vec<_> = places.iter().map(|it| (*it).min(leaves - 1)).collect();
            let lost = destroy(directory.path(), table, &places);
            assert!(lost > 0 && lost < COUNT / 2, "{table} {lost}");
            let damaged = fs::read(database(directory.path())).unwrap();
            let salvage = repair(directory.path()).unwrap().unwrap();
            let (rows, gaps) = saved(&salvage, table);
            // A row that is no leaf's, but between two that are lost, need not be found.
            let hidden = COUNT - lost - rows;
            assert!(
                hidden <= u64::from(places == [3, 4]),
                "{table} {places:?} {hidden}"
            );
            assert!((1..=2).contains(&gaps), "{table} {places:?} {gaps}");
            let others = ["subscription", "retained", "delayed", "seen"];
            for other in others.into_iter().filter(|it| *it != table) {
                assert_eq!(saved(&salvage, other), (COUNT, 0), "{table}");
            }
            let unpaired = salvage.entries_without_message + salvage.messages_without_entry;
            let has_pairs = ["queue", "message"].contains(&table);
            assert_eq!(
                unpaired,
                if has_pairs { lost + hidden } else { 0 },
                "{table}"
            );
            assert_eq!(salvage.kept, directory.path().join("tidegate.db.damaged-1"));
            assert!(
                fs::read(&salvage.kept).unwrap() == damaged,
                "kept as it was"
            );
            assert_whole(directory.path());
        }
    }
}

#[test]
fn everything_is_saved_when_only_the_list_of_tables_is_lost() {
    const COUNT: u64 = 300;
    let directory = filled(COUNT);
    let mut bytes = fs::read(database(directory.path())).unwrap();
    bytes[..PAGE].fill(0x5a);
    fs::write(database(directory.path()), &bytes).unwrap();
    let salvage = repair(directory.path()).unwrap().unwrap();
    for table in ["subscription", "retained", "queue", "message", "delayed"] {
        assert_eq!(saved(&salvage, table), (COUNT, 0));
    }
    assert_eq!(saved(&salvage, "session"), (1, 0));
    assert!(fs::read(&salvage.kept).unwrap() == bytes);
    assert_whole(directory.path());
    let names = fs::read_dir(directory.path()).unwrap();
    let mut names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    assert!(
        names.all(|it| it.starts_with("tidegate.")),
        "no folder is left"
    );
}

#[test]
fn a_table_that_is_not_in_the_list_is_found() {
    let directory = filled(20);
    let mut bytes = fs::read(database(directory.path())).unwrap();
    let name = b"CREATE TABLE message";
    let place = bytes.windows(name.len()).position(|it| it == name).unwrap();
    bytes[place + name.len() - 1] ^= 1;
    fs::write(database(directory.path()), &bytes).unwrap();
    let salvage = repair(directory.path()).unwrap().unwrap();
    assert_eq!(saved(&salvage, "message"), (20, 0));
    assert_whole(directory.path());
}

#[test]
fn rows_that_cannot_be_understood_are_counted() {
    let directory = filled(20);
    let tool = rusqlite::Connection::open(database(directory.path())).unwrap();
    let sql = "UPDATE message SET topic = 'a/#' WHERE id IN (2, 3);
               UPDATE queue SET qos = 3 WHERE sequence = 5;
               UPDATE message SET refs = 9 WHERE id = 7;
               UPDATE retained SET properties = x'ff' WHERE topic LIKE '%/11';
               UPDATE subscription SET filter = cast(x'ff' AS TEXT) WHERE filter LIKE '%/12/#';
               UPDATE delayed SET payload = 'text' WHERE id = 13;";
    tool.execute_batch(sql).unwrap();
    drop(tool);
    let salvage = repair(directory.path()).unwrap().unwrap();
    let counts: Vec<_> = salvage
        .tables
        .iter()
        .map(|it| (it.name.as_str(), it.saved, it.damaged))
        .filter(|(_, _, damaged)| *damaged > 0)
        .collect();
    let expected = [
        ("delayed", 19, 1),
        ("message", 17, 2),
        ("queue", 17, 1),
        ("retained", 19, 1),
        ("subscription", 19, 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!(
        (
            salvage.entries_without_message,
            salvage.messages_without_entry
        ),
        (2, 1)
    );
    assert_whole(directory.path());
}

#[test]
fn entries_of_a_lost_session_are_counted() {
    let directory = filled(5);
    destroy(directory.path(), "session", &[0]);
    let salvage = repair(directory.path()).unwrap().unwrap();
    assert_eq!(
        (saved(&salvage, "session"), salvage.entries_without_session),
        ((0, 1), 5)
    );
    assert_whole(directory.path());
}

#[test]
fn a_store_in_use_is_not_repaired() {
    let directory = filled(1);
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    for refused in [
        repair(directory.path()).map(|_| ()),
        salvage(directory.path(), &database(directory.path())).map(|_| ()),
    ] {
        let in_use = matches!(refused, Err(SalvageError::Open(OpenStoreError::InUse(_))));
        assert!(in_use, "{refused:?}");
    }
    store.close().unwrap();
}

#[test]
fn nothing_is_made_of_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let absent = repair(directory.path()).unwrap_err();
    assert!(
        absent.to_string().starts_with("there is no store"),
        "{absent}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let foreign = rusqlite::Connection::open(database(directory.path())).unwrap();
    foreign.execute_batch("CREATE TABLE x(y)").unwrap();
    drop(foreign);
    let foreign = fs::read(database(directory.path())).unwrap();
    for bytes in [b"garbage", &foreign[..]] {
        fs::write(database(directory.path()), bytes).unwrap();
        let refused = repair(directory.path()).unwrap_err();
        assert!(matches!(refused, SalvageError::Nothing(_)), "{refused}");
        assert!(fs::read(database(directory.path())).unwrap() == bytes);
        let refused = salvage(directory.path(), &database(directory.path())).unwrap_err();
        assert!(matches!(refused, SalvageError::Damaged(_)), "{refused}");
    }
    let names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "the database and the lock: {names:?}");
}

#[test]
fn an_earlier_version_is_repaired_to_the_present_one() {
    let directory = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(database(directory.path())).unwrap();
    connection.execute_batch(migration::VERSION_1).unwrap();
    connection
        .execute_batch("UPDATE message SET refs = 8 WHERE id = 1")
        .unwrap();
    drop(connection);
    let salvage = repair(directory.path()).unwrap().unwrap();
    assert_eq!(
        (saved(&salvage, "message"), saved(&salvage, "session")),
        ((2, 0), (1, 0))
    );
    let tool = rusqlite::Connection::open(database(directory.path())).unwrap();
    let bytes = tool.query_row("SELECT min(bytes) FROM queue", [], |row| row.get(0));
    assert_eq!(bytes, Ok(2), "a topic and a payload of one letter");
    drop(tool);
    assert_whole(directory.path());
}

/// Everything that is queued and retained, in the order of an export.
fn exported(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let what = Exports {
        queues: true,
        retained: true,
        delayed: true,
        ..Exports::default()
    };
    let mut inspection = Inspection::open(directory).unwrap();
    let damaged = inspection.export(&what, &mut |found| {
        let payload = |it: &Message| String::from_utf8_lossy(&it.payload).into_owned();
        lines.push(match found {
            Exported::Queued(it) => format!("{} {}", it.client_id, payload(&it.delivery.message)),
            Exported::Retained(it) => format!("{} {}", it.topic, payload(&it)),
            Exported::Delayed(it) => format!("delayed {}", payload(&it.message)),
            Exported::Session(_) | Exported::Subscription(..) => panic!("not asked for"),
        });
        true
    });
    assert_eq!(damaged.unwrap(), 0);
    lines
}

/// A store with sessions that wait for messages, and a retained and a delayed message.
fn store_with(directory: &Path, queues: &[(&str, &[u64])], retained: &[(&str, u64)], delayed: u64) {
    let (store, _) = Store::open(directory, synced()).unwrap();
    for (client_id, numbers) in queues {
        let session = store.next_session_id();
        put_session(&store, session, client_id);
        store.submit(Operation::Receive(session, 4));
        for (sequence, number) in (1..).zip(*numbers) {
            let stored = stored(&store, *number);
            enqueue(&store, session, sequence, &stored);
        }
    }
    for (topic, number) in retained {
        let message = message(topic, *number);
        store.submit(Operation::Retain(message.topic.clone(), Some(message)));
    }
    store.submit(Operation::Delay {
        id: store.next_delayed_id(),
        due: Timestamp::from_millis(1),
        message: message("d", delayed),
    });
    store.close().unwrap();
}

#[test]
fn what_was_kept_is_added_to_a_store_that_went_on() {
    let directory = tempfile::tempdir().unwrap();
    let queues: [(&str, &[u64]); 2] = [("a", &[1, 2]), ("b", &[3])];
    store_with(directory.path(), &queues, &[("r", 1), ("s", 1)], 7);
    // It cannot be opened as it is, because one value is none.
    let tool = rusqlite::Connection::open(database(directory.path())).unwrap();
    tool.execute_batch("UPDATE inbound SET packet_id = -1 WHERE session_id = 1")
        .unwrap();
    drop(tool);
    let queues: [(&str, &[u64]); 2] = [("c", &[20]), ("a", &[10, 11, 12])];
    store_with(directory.path(), &queues, &[("r", 5)], 8);
    let kept = directory.path().join("tidegate.db.damaged-1");
    let before = fs::read(&kept).unwrap();
    let is_salvaged = || {
        let listed = persistence::kept_files(directory.path()).unwrap();
        let listed: Vec<_> = listed
            .into_iter()
            .map(|it| (it.file, it.is_salvaged))
            .collect();
        assert_eq!(listed[0].0, kept);
        listed.iter().all(|it| it.1)
    };
    assert!(!is_salvaged());

    let outcome = salvage(directory.path(), &kept).unwrap();
    assert_eq!(outcome.kept, kept);
    let lines = exported(directory.path());
    let expected = [
        "c 20",
        "a 10",
        "a 11",
        "a 12",
        "a 1",
        "a 2",
        "b 3",
        "r 5",
        "s 1",
        "delayed 8",
        "delayed 7",
    ];
    assert_eq!(lines, expected);
    assert!(fs::read(&kept).unwrap() == before, "kept as it was");
    assert!(is_salvaged());
    let (store, recovered) = Store::open(directory.path(), synced()).unwrap();
    let received = |client_id| {
        let mut sessions = recovered.sessions.iter();
        let found = sessions.find(|it| &*it.client_id == client_id).unwrap();
        (found.waiting(), found.received.clone())
    };
    assert_eq!(received("a"), (5, vec![4]));
    assert_eq!(received("b"), (1, vec![4]));
    store.close().unwrap();
    assert_whole(directory.path());

    let again = salvage(directory.path(), &kept).unwrap_err();
    assert!(matches!(again, SalvageError::Salvaged { .. }), "{again}");
    assert_eq!(exported(directory.path()), expected);
}

#[test]
fn what_was_kept_becomes_the_store_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    store_with(directory.path(), &[("a", &[1, 2])], &[], 7);
    let kept = directory.path().join("elsewhere.db");
    fs::rename(database(directory.path()), &kept).unwrap();
    salvage(directory.path(), &kept).unwrap();
    assert_eq!(exported(directory.path()), ["a 1", "a 2", "delayed 7"]);
    assert!(kept.exists());
    assert_whole(directory.path());
}

#[test]
fn what_is_in_the_log_only_is_not_touched_and_can_be_saved() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    let mut last = Position(0);
    for number in 1..=10 {
        last = enqueue(&store, session, number, &stored(&store, number));
    }
    wait_durable(&store, last);
    let crashed = crash(directory.path());
    store.close().unwrap();
    fs::File::create(database(crashed.path())).unwrap();
    let log = crashed.path().join("tidegate.db-wal");
    let before = fs::read(&log).unwrap();
    let refused = Inspection::open(crashed.path()).map(|_| ()).unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    assert!(!Findings::of(crashed.path()).unwrap().problems.is_empty());
    assert!(fs::read(&log).unwrap() == before, "it was touched");
    let salvage = repair(crashed.path()).unwrap().unwrap();
    assert_eq!(saved(&salvage, "queue"), (10, 0));
    let kept = crashed.path().join("tidegate.db.damaged-1-wal");
    assert!(fs::read(kept).unwrap() == before, "nothing is deleted");
    assert_whole(crashed.path());
}
