//! The names of messages that were taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use persistence::{Findings, NAMES_MAX, RUNS_MAX, RecoveredNames, repair};
use proptest::prelude::*;

use super::*;

/// Numbers of a run that a store may have, see `NAMES_MAX`.
const BLOCK: u64 = 1_024;

fn note_at(store: &Store, run: &str, number: u64, at: u64) -> Position {
    store.submit(Operation::NoteName {
        run: run.into(),
        number,
        at: Timestamp::from_millis(at),
    })
}

fn note(store: &Store, run: &str, number: u64) -> Position {
    note_at(store, run, number, number)
}

fn numbers_of(names: &[RecoveredNames]) -> impl Iterator<Item = (&str, u64)> {
    names.iter().flat_map(|it| {
        let bits = (0..it.bits.len() * 8).filter(|bit| it.bits[bit / 8] & 1 << (bit % 8) != 0);
        bits.map(|bit| (&*it.run, it.first + bit as u64))
    })
}

/// What is known after a crash at this moment, with the rows that it takes.
fn left(directory: &Path) -> (BTreeMap<String, BTreeSet<u64>>, usize) {
    let left = crash(directory);
    let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
    store.close().unwrap();
    let mut known: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (run, number) in numbers_of(&recovered.names) {
        known.entry(run.to_owned()).or_default().insert(number);
    }
    assert_eq!(Findings::of(left.path()).unwrap().problems, []);
    (known, recovered.names.len())
}

#[test]
fn names_are_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (store, recovered) = Store::open(directory.path(), patient()).unwrap();
    assert_eq!(recovered.names, []);
    // The first commit comes at once; what follows within the interval is one batch.
    wait_durable(&store, note(&store, "a:1", 5));
    for number in [7, 5, 1_023, 1_024, 0] {
        note(&store, "a:1", number);
    }
    wait_durable(&store, note(&store, "b:1", 5));
    let (known, rows) = left(directory.path());
    assert_eq!(known["a:1"], BTreeSet::from([0, 5, 7, 1_023, 1_024]));
    assert_eq!(known["b:1"], BTreeSet::from([5]));
    assert_eq!((known.len(), rows), (2, 3));
    // As a commit does that is tried again.
    wait_durable(&store, note(&store, "a:1", 7));
    assert_eq!(left(directory.path()).0, known);
    store.close().unwrap();
}

#[test]
fn the_last_numbers_of_each_run_are_kept() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    for number in (0..=4 * NAMES_MAX).step_by(64) {
        note(&store, "a:1", number);
    }
    // Too old to be of use.
    note(&store, "a:1", NAMES_MAX);
    note(&store, "b:1", u64::MAX - NAMES_MAX);
    note(&store, "b:1", u64::MAX);
    wait_durable(&store, note(&store, "b:1", 1));
    let (known, rows) = left(directory.path());
    assert!(rows as u64 <= NAMES_MAX / BLOCK + 3, "{rows}");
    let first = *known["a:1"].first().unwrap();
    assert!((3 * NAMES_MAX - BLOCK..=3 * NAMES_MAX).contains(&first));
    let expected: BTreeSet<u64> = (first..=4 * NAMES_MAX).step_by(64).collect();
    assert_eq!(known["a:1"], expected);
    let expected = BTreeSet::from([u64::MAX - NAMES_MAX, u64::MAX]);
    assert_eq!(known["b:1"], expected);
    store.close().unwrap();
}

#[test]
fn the_run_that_was_silent_for_longest_makes_way() {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    for at in 0..RUNS_MAX {
        wait_durable(&store, note_at(&store, &format!("{at}:1"), 1, at));
    }
    wait_durable(&store, note_at(&store, "0:1", 2, RUNS_MAX));
    wait_durable(&store, note_at(&store, "new:1", 1, RUNS_MAX + 1));
    let (known, _) = left(directory.path());
    assert_eq!(known.len() as u64, RUNS_MAX);
    assert_eq!(known["0:1"], BTreeSet::from([1, 2]));
    assert!(known.contains_key("new:1") && !known.contains_key("1:1"));
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let runs: Vec<_> = recovered.names.iter().map(|it| &*it.run).collect();
    assert_eq!((runs[0], runs[runs.len() - 1]), ("2:1", "new:1"));
    store.close().unwrap();
}

#[test]
fn a_name_is_in_the_commit_of_its_message() {
    /// Fewer than would have the log written to the database, which cannot be copied meanwhile.
    const COUNT: u64 = 1_000;
    const CRASHES: usize = 10;
    let directory = memory();
    let options = Options {
        commit_interval: Duration::ZERO,
        commit_operations: 1,
        ..Options::default()
    };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let session = store.next_session_id();
    wait_durable(&store, put_session(&store, session, "c"));
    let is_over = AtomicBool::new(false);
    let add = |number| {
        let _together = store.hold();
        let stored = stored(&store, number);
        enqueue(&store, session, number, &stored);
        note(&store, "a:1", number)
    };
    wait_durable(&store, add(1));
    thread::scope(|scope| {
        scope.spawn(|| {
            let numbers = (2..=COUNT).take_while(|_| !is_over.load(Ordering::SeqCst));
            numbers.for_each(|it| wait_durable(&store, add(it)));
        });
        for _ in 0..CRASHES {
            let left = crash(directory.path());
            let (store, recovered) = Store::open(left.path(), Options::default()).unwrap();
            let (entries, _) = page(&store, session, 1, 10_000);
            let names = numbers_of(&recovered.names).map(|(_, number)| number);
            let names: Vec<_> = names.collect();
            assert!(!names.is_empty());
            assert_eq!(numbers(&entries), names);
            store.close().unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    store.close().unwrap();
}

#[test]
fn what_the_disk_has_changed_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    for number in [5, 2_000, 4_000] {
        wait_durable(&store, note(&store, "a:1", number));
    }
    store.close().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    for sql in [
        "UPDATE seen SET bits = zeroblob(128) WHERE block = 0",
        "UPDATE seen SET block = 1 << 60 WHERE block = 3",
    ] {
        assert_eq!(connection.execute(sql, []), Ok(1));
    }
    drop(connection);
    let [problem] = &Findings::of(directory.path()).unwrap().problems[..] else {
        panic!("one kind of problem");
    };
    assert_eq!(
        (problem.what, problem.count),
        ("names that cannot be understood", 2)
    );
    let repaired = crash(directory.path());
    let salvage = repair(repaired.path()).unwrap().unwrap();
    let table = salvage.tables.iter().find(|it| it.name == "seen").unwrap();
    assert_eq!((table.saved, table.damaged), (1, 2));
    assert_eq!(left(repaired.path()).0["a:1"], BTreeSet::from([2_000]));
    // It does not keep others from being noted.
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.damage, None);
    assert_eq!(
        numbers_of(&recovered.names).collect::<Vec<_>>(),
        [("a:1", 2_000)]
    );
    wait_durable(&store, note(&store, "a:1", 5));
    assert_eq!(left(directory.path()).0["a:1"], BTreeSet::from([5, 2_000]));
    store.close().unwrap();
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    /// Names that are one commit.
    Note(Vec<(u8, u64)>),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly near each other, as they come, and sometimes far away.
    let number = prop_oneof![
        8 => 0..40_000_u64,
        1 => NAMES_MAX..3 * NAMES_MAX,
        1 => any::<u64>(),
    ];
    let names = proptest::collection::vec((0..3_u8, number), 1..20);
    let step = prop_oneof![4 => names.prop_map(Step::Note), 1 => Just(Step::Reopen)];
    proptest::collection::vec(step, 1..12)
}

/// The numbers that are to be known of a run after those that came, and those that may be.
fn bounds(came: &BTreeSet<u64>) -> (u64, u64) {
    let last = came.last().copied().unwrap_or_default();
    let oldest_block = (last / BLOCK).saturating_sub(NAMES_MAX / BLOCK);
    (last.saturating_sub(NAMES_MAX), oldest_block * BLOCK)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What is known is what came, back to the end of the window, however it is cut into commits.
    #[test]
    fn what_is_known_is_what_came(steps in steps()) {
        let directory = memory();
        let mut store = Store::open(directory.path(), Options::default()).unwrap().0;
        let mut came: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Note(names) => {
                    let together = store.hold();
                    let mut last = Position(0);
                    for (run, number) in names {
                        let run = format!("{run}:1");
                        last = note(&store, &run, number);
                        // One that is too old when it comes may be forgotten.
                        let came = came.entry(run).or_default();
                        if number >= bounds(came).1 {
                            came.insert(number);
                        }
                    }
                    drop(together);
                    wait_durable(&store, last);
                }
                Step::Reopen => {
                    store.close().unwrap();
                    store = Store::open(directory.path(), Options::default()).unwrap().0;
                }
            }
        }
        let (known, _) = left(directory.path());
        for (run, came) in &came {
            let (least, oldest) = bounds(came);
            let known = &known[run];
            prop_assert!(came.range(least..).all(|it| known.contains(it)));
            prop_assert!(known.iter().all(|it| *it >= oldest && came.contains(it)));
        }
        prop_assert_eq!(known.len(), came.len());
        store.close().unwrap();
    }
}
