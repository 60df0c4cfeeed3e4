//! The store's own time over restarts.

use std::ops::RangeInclusive;
use std::time::Instant;

use persistence::Clock;
use rusqlite::Connection;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// More than what the clock of the tests and that of the store differ, and the two readings.
const ROUNDING: Duration = Duration::from_millis(5);
/// What is said in another boot.
const OTHER_BOOT: &str = "boot_id = '0123456789abcdef0123456789abcdef'";

/// Opens a store, and says how far its time has come.
fn open(directory: &Path) -> (Store, Timestamp) {
    let (store, _) = Store::open(directory, Options::default()).unwrap();
    let now = store.clock().now();
    (store, now)
}

fn database(directory: &Path) -> Connection {
    Connection::open(directory.join("tidegate.db")).unwrap()
}

/// How much of its own time passes for a store that is closed, when what it has noted is changed
/// meanwhile; at most this, with what the test itself takes.
fn passes(change: &str) -> RangeInclusive<Duration> {
    let directory = memory();
    let (store, _) = open(directory.path());
    let before = store.clock().now();
    let start = Instant::now();
    store.close().unwrap();
    if !change.is_empty() {
        let sql = format!("UPDATE store SET {change}");
        assert_eq!(database(directory.path()).execute(&sql, []), Ok(1));
    }
    let (store, after) = open(directory.path());
    let most = start.elapsed() + ROUNDING;
    store.close().unwrap();
    let passed = after.since(before);
    passed.saturating_sub(most)..=passed
}

#[test]
fn it_goes_on_as_long_as_the_machine_whatever_the_wall_clock_says() {
    for change in [
        "",
        "wall = wall + 31536000000",
        "wall = wall - 31536000000",
        "wall = wall + 3600000",
        "wall = 5000",
    ] {
        let passed = passes(change);
        assert!(passed.contains(&Duration::ZERO), "{change}: {passed:?}");
    }
    // Since the machine was booted.
    let passed = passes("time = time - boot_clock, boot_clock = 0");
    assert!(passed.contains(&Duration::ZERO), "{passed:?}");
}

#[test]
fn it_goes_on_by_the_wall_clock_after_another_boot() {
    let passed = passes(&format!("{OTHER_BOOT}, wall = wall - 3600000"));
    assert!(passed.contains(&HOUR), "{passed:?}");
    for change in ["wall = wall + 31536000000", "wall = 5000"] {
        let passed = passes(&format!("{OTHER_BOOT}, {change}"));
        assert!(passed.contains(&Duration::ZERO), "{change}: {passed:?}");
    }
    let passed = passes(&format!("{OTHER_BOOT}, wall = wall - 31536000000"));
    assert!(*passed.end() < YEAR / 10, "{passed:?}");
    let passed = passes("boot_id = NULL, wall = wall - 3600000");
    assert!(passed.contains(&HOUR), "{passed:?}");
}

#[test]
fn a_store_begins_with_the_wall_clock() {
    let before = Timestamp::from_millis(Clock::wall_millis());
    let directory = memory();
    let (store, now) = open(directory.path());
    assert!(now >= before, "{now:?}");
    assert!(now <= Timestamp::from_millis(Clock::wall_millis()).after(HOUR));
    store.close().unwrap();
    assert!(Store::disabled().clock().now() >= before);
}

#[test]
fn a_crash_does_not_turn_it_back() {
    let directory = memory();
    let (store, _) = open(directory.path());
    // The start notes it too.
    wait_durable(&store, store.submit(Operation::NoteTime));
    let start = store.clock().now();
    while store.clock().now().since(start) < ROUNDING {
        std::thread::yield_now();
    }
    let before = store.clock().now();
    wait_durable(&store, store.submit(Operation::NoteTime));
    let left = crash(directory.path());
    // Nothing is known of what has passed since.
    let sql = format!("UPDATE store SET {OTHER_BOOT}, wall = 5000");
    assert_eq!(database(left.path()).execute(&sql, []), Ok(1));
    let (next, now) = open(left.path());
    assert!(now >= before);
    next.close().unwrap();
    store.close().unwrap();
}

#[test]
fn it_is_noted_on_request_and_with_what_is_synced() {
    let directory = memory();
    let (store, _) = open(directory.path());
    let noted = || -> u64 {
        let connection = database(directory.path());
        let sql = "SELECT time FROM store";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut operations = [Operation::NoteTime, Operation::NoteTime].into_iter();
    for _ in 0..2 {
        let before = store.clock().now();
        wait_durable(&store, store.submit(operations.next().unwrap()));
        assert!(Timestamp::from_millis(noted()) >= before);
    }
    let before = store.clock().now();
    store.close().unwrap();
    assert!(Timestamp::from_millis(noted()) >= before, "at the end");
    drop(store);

    let (store, _) = Store::open(directory.path(), patient()).unwrap();
    let before = store.clock().now();
    wait_durable(&store, put_session(&store, SessionId(1), "c"));
    assert!(Timestamp::from_millis(noted()) >= before);
    store.close().unwrap();
}
