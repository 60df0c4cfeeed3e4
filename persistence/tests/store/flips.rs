//! Bits that change and files that end too early, at many places.

use std::collections::BTreeMap;
use std::fs;

use persistence::{Findings, SalvageError, repair};

use super::*;

/// Places in each file.
const PLACES: usize = 1_000;
const DATABASE: &str = "tidegate.db";
const LOG: &str = "tidegate.db-wal";

/// The same numbers in every run, and all over the range.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

fn quick() -> Options {
    Options {
        commit_interval: Duration::ZERO,
        ..synced()
    }
}

/// Mostly small, so that many of the bits say where something is, and not what.
fn body(topic: &str, number: u64) -> Arc<Message> {
    let length = if number.is_multiple_of(20) {
        5_000
    } else {
        number % 7 * 6
    };
    let mut message = (*message(topic, number)).clone();
    let padding = "x".repeat(usize::try_from(length).unwrap());
    message.payload = format!("{number} {padding}").into_bytes().into();
    Arc::new(message)
}

/// Each change is a commit of its own, so that the files are the same in every run.
fn add(store: &Store, sessions: [SessionId; 2], number: u64) {
    let topic = format!("r/{number:03}");
    let retained = body(&topic, number);
    let retain = Operation::Retain(TopicName::new(&topic).unwrap(), Some(retained));
    wait_durable(store, store.submit(retain));
    let delay = Operation::Delay {
        id: store.next_delayed_id(),
        due: Timestamp::from_millis(number),
        message: body("d", number),
    };
    wait_durable(store, store.submit(delay));
    let stored = StoredMessage {
        id: store.next_message_id(),
        message: body("t", number),
    };
    // Every third message stands in both queues.
    if number.is_multiple_of(3) {
        wait_durable(store, enqueue(store, sessions[0], number, &stored));
    }
    wait_durable(store, enqueue(store, sessions[1], number, &stored));
    let filter = TopicFilter::new(&format!("f/{number}")).unwrap();
    let subscription = StoredSubscription {
        filter,
        options: mqtt::packet::SubscriptionOptions::default(),
        identifier: None,
    };
    wait_durable(
        store,
        store.submit(Operation::Subscribe(sessions[0], subscription)),
    );
    let name = Operation::NoteName {
        run: "other:1".into(),
        number: number * 100,
        at: Timestamp::from_millis(number),
    };
    wait_durable(store, store.submit(name));
}

/// Everything that a store has, a line for each, and how many messages were left out.
fn read(directory: &Path) -> Result<(Vec<String>, Recovered, u64), OpenStoreError> {
    let (store, recovered) = Store::open(directory, quick())?;
    let mut lines = Vec::new();
    for (index, session) in recovered.sessions.iter().enumerate() {
        lines.push(format!("session {}", session.client_id));
        let filters = session.subscriptions.iter();
        lines.extend(filters.map(|it| format!("filter {}", it.filter)));
        let (found, complete) = page(&store, session.id, 1, 10_000);
        assert!(complete);
        lines.extend(found.iter().map(|it| {
            let text = String::from_utf8_lossy(&it.message.payload).into_owned();
            format!("queue {index} {text}")
        }));
    }
    let text = |it: &Message| {
        let payload = String::from_utf8_lossy(&it.payload).into_owned();
        format!("{} {payload}", it.topic)
    };
    lines.extend(
        recovered
            .retained
            .iter()
            .map(|it| format!("retained {}", text(it))),
    );
    lines.extend(
        recovered
            .delayed
            .iter()
            .map(|it| format!("delayed {}", text(&it.message))),
    );
    for names in &recovered.names {
        let bits = 0..names.bits.len() * 8;
        let bits = bits.filter(|bit| names.bits[bit / 8] & 1 << (bit % 8) != 0);
        lines.extend(bits.map(|bit| format!("name {} {}", names.run, names.first + bit as u64)));
    }
    let left_out = store.statistics().left_out;
    store.close().unwrap();
    Ok((lines, recovered, left_out))
}

/// How many lines begin with each word, but for names: nothing is lost with one that is damaged.
fn counts(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.iter().filter(|it| !it.starts_with("name ")) {
        *counts.entry(line.split(' ').next().unwrap()).or_insert(0) += 1;
    }
    counts
}

/// What a crash leaves: most of it in the database, the rest in the log.
struct Victim {
    folder: tempfile::TempDir,
    lines: Vec<String>,
}

impl Victim {
    fn new() -> Self {
        let directory = memory();
        let (store, _) = Store::open(directory.path(), quick()).unwrap();
        let sessions = [store.next_session_id(), store.next_session_id()];
        wait_durable(&store, put_session(&store, sessions[0], "a"));
        wait_durable(&store, put_session(&store, sessions[1], "b"));
        (1..=50).for_each(|number| add(&store, sessions, number));
        store.close().unwrap();
        let (store, _) = Store::open(directory.path(), quick()).unwrap();
        (51..=60).for_each(|number| add(&store, sessions, number));
        let folder = crash(directory.path());
        store.close().unwrap();
        let (lines, recovered, _) = read(crash(folder.path()).path()).unwrap();
        assert_eq!(recovered.damage, None);
        Self { folder, lines }
    }
}

/// What is done to a file: three times of four a bit changes, else it ends there.
fn harm(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let place = random.below(bytes.len());
    if random.below(4) == 0 {
        bytes.truncate(place);
        return format!("cut at {place}");
    }
    let bit = random.below(8);
    bytes[place] ^= 1 << bit;
    format!("bit {bit} of byte {place}")
}

/// Does harm at many places, each time to the file as a crash left it. Opening says what is
/// missing, if anything is; nobody panics. Returns how often the harm was said.
#[track_caller]
fn harm_everywhere(file: &str, seed: u64) -> usize {
    let victim = Victim::new();
    let whole = fs::read(victim.folder.path().join(file)).unwrap();
    let mut random = Random(seed);
    let mut said = 0;
    for _ in 0..PLACES {
        let directory = crash(victim.folder.path());
        let mut bytes = whole.clone();
        let place = harm(&mut bytes, &mut random);
        fs::write(directory.path().join(file), &bytes).unwrap();

        let findings = Findings::of(directory.path()).unwrap();
        let opened = crash(directory.path());
        let (lines, recovered, left_out) = read(opened.path()).unwrap();
        match &recovered.damage {
            Some(Damage::Unreadable { .. }) => assert_eq!(lines, [""; 0], "{place}"),
            Some(Damage::Older { .. }) => {
                let is_subset = lines.iter().all(|it| victim.lines.contains(it));
                assert!(is_subset, "{place}: {lines:?}");
            }
            Some(Damage::Missing { .. }) => panic!("{place}: {recovered:?}"),
            None => {
                let changed = lines.iter().filter(|it| !victim.lines.contains(it));
                // Nobody sums up the names of sessions and what they are subscribed to.
                let is_name =
                    |it: &&String| it.starts_with("session ") || it.starts_with("filter ");
                let unseen: Vec<_> = changed.filter(|it| !is_name(it)).collect();
                assert_eq!(unseen, [""; 0], "{place}");
                let is_complete = counts(&lines) == counts(&victim.lines);
                assert_eq!(is_complete, left_out == 0, "{place}");
            }
        }
        if recovered.damage.is_some() || left_out > 0 {
            said += 1;
            assert!(!findings.problems.is_empty(), "{place}");
        }
        repair_whole(directory.path(), &findings, &place);
    }
    said
}

/// Repairs a store: if it was whole, nothing changes, and otherwise it is whole afterwards.
fn repair_whole(directory: &Path, findings: &Findings, place: &str) {
    match repair(directory) {
        Ok(None) => assert_eq!(findings.problems, [], "{place}"),
        Ok(Some(salvage)) => {
            assert!(!findings.problems.is_empty(), "{place}");
            assert!(salvage.kept.exists(), "{place}: {salvage:?}");
            let findings = Findings::of(directory).unwrap();
            assert_eq!(findings.problems, [], "{place}");
        }
        Err(SalvageError::Nothing(_)) => assert!(!findings.problems.is_empty(), "{place}"),
        Err(error) => panic!("{place}: {error}"),
    }
}

#[test]
fn harm_to_the_database_is_said() {
    let said = harm_everywhere(DATABASE, 0x1234_5678_9abc_def0);
    // One in four is a cut.
    assert!(said > PLACES / 5, "{said}");
}

#[test]
fn harm_to_the_log_is_said() {
    assert_eq!(harm_everywhere(LOG, 0x0fed_cba9_8765_4321), PLACES);
}
