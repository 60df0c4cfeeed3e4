//! Files that are damaged when the store is opened.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

/// What a store knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    clients: Vec<String>,
    filters: Vec<String>,
    retained: Vec<u64>,
    delayed: Vec<u64>,
    queue: Vec<u64>,
}

impl Content {
    /// Opens the store, reads everything and closes it.
    fn read(directory: &Path) -> (Self, Option<Damage>) {
        let (store, recovered) = Store::open(directory, synced()).unwrap();
        let mut content = Self::default();
        for session in &recovered.sessions {
            content.clients.push(session.client_id.to_string());
            let filters = session.subscriptions.iter();
            content
                .filters
                .extend(filters.map(|it| it.filter.to_string()));
            let (mut first, mut complete) = (1, false);
            while !complete {
                let found;
                (found, complete) = page(&store, session.id, first, 7);
                first = found.last().map_or(first, |it| it.sequence + 1);
                content
                    .queue
                    .extend(found.iter().map(|it| number(&it.message)));
            }
        }
        content.retained = recovered.retained.iter().map(|it| number(it)).collect();
        content.delayed = recovered
            .delayed
            .iter()
            .map(|it| number(&it.message))
            .collect();
        store.close().unwrap();
        (content, recovered.damage)
    }

    /// Whether this is what another one was earlier.
    fn is_prefix_of(&self, other: &Self) -> bool {
        other.clients.starts_with(&self.clients)
            && other.filters.starts_with(&self.filters)
            && other.retained.starts_with(&self.retained)
            && other.delayed.starts_with(&self.delayed)
            && other.queue.starts_with(&self.queue)
    }
}

/// The number that a payload begins with; 0 if it does not.
fn number(message: &Message) -> u64 {
    let text = String::from_utf8_lossy(&message.payload);
    let digits = text.split(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// A message that fills a part of a page or several pages.
fn body(topic: &str, number: u64) -> Arc<Message> {
    let length = [10, 700, 9_000][usize::try_from(number % 3).unwrap()];
    let payload = format!("{number} {}", "x".repeat(length));
    let mut message = (*message(topic, number)).clone();
    message.payload = payload.into_bytes().into();
    Arc::new(message)
}

fn add(store: &Store, session: SessionId, number: u64) {
    let topic = TopicName::new(&format!("r/{number:03}")).unwrap();
    store.submit(Operation::Retain(topic, Some(body("r", number))));
    store.submit(Operation::Delay {
        id: store.next_delayed_id(),
        due: Timestamp::from_millis(number),
        message: body("d", number),
    });
    let stored = StoredMessage {
        id: store.next_message_id(),
        message: body("t", number),
    };
    wait_durable(store, enqueue(store, session, number, &stored));
}

/// What a crash leaves: half of it in the database, half of it in the log.
struct Victim {
    folder: tempfile::TempDir,
    content: Content,
}

impl Victim {
    fn new() -> Self {
        let directory = memory();
        let (store, _) = Store::open(directory.path(), synced()).unwrap();
        let session = store.next_session_id();
        put_session(&store, session, "c");
        let subscription = StoredSubscription {
            filter: TopicFilter::new("t/#").unwrap(),
            options: mqtt::packet::SubscriptionOptions::default(),
            identifier: None,
        };
        store.submit(Operation::Subscribe(session, subscription));
        (1..=20).for_each(|number| add(&store, session, number));
        store.close().unwrap();
        let (store, _) = Store::open(directory.path(), synced()).unwrap();
        (21..=40).for_each(|number| add(&store, session, number));
        let folder = crash(directory.path());
        store.close().unwrap();
        let (content, damage) = Content::read(crash(folder.path()).path());
        assert_eq!(damage, None);
        assert_eq!(content.queue, (1..=40).collect::<Vec<_>>());
        assert_eq!(content.retained, content.queue);
        assert_eq!(content.delayed, content.queue);
        Self { folder, content }
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(file)).unwrap()
    }

    /// Opens it with a file changed. It has everything, or says what it has not, and keeps it.
    fn open_with(&self, file: &str, bytes: &[u8]) -> (Content, Option<Damage>) {
        let directory = crash(self.folder.path());
        fs::write(directory.path().join(file), bytes).unwrap();
        let (content, damage) = Content::read(directory.path());
        match &damage {
            None => {}
            Some(Damage::Unreadable { kept, .. }) => {
                assert_eq!(content, Content::default());
                let suffix = file.strip_prefix("tidegate.db").unwrap();
                assert!(fs::read(beside(kept, suffix)).unwrap() == bytes, "kept");
            }
            Some(Damage::Older { kept, .. }) => {
                assert!(content.is_prefix_of(&self.content), "{content:?}");
                let log = kept.as_ref().map(|it| fs::read(it).unwrap());
                if file == LOG {
                    assert!(log.unwrap_or_default() == bytes, "kept");
                }
            }
            Some(Damage::Missing { .. }) => panic!("{damage:?}"),
        }
        // It is said once, and what is left is whole.
        let again = Content::read(directory.path());
        assert_eq!(again, (content, None));
        (again.0, damage)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

const DATABASE: &str = "tidegate.db";
const LOG: &str = "tidegate.db-wal";

const PAGE: usize = 4096;

/// This many places, evenly spread but at no multiple of a page.
fn places(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| index * length / count + index % 61)
}

fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1 << (place % 8);
    bytes
}

#[test]
fn a_truncated_log_is_said() {
    let victim = Victim::new();
    let log = victim.bytes(LOG);
    for place in places(log.len() - 61, 40) {
        let (content, damage) = victim.open_with(LOG, &log[..place]);
        assert!(damage.is_some(), "{place}");
        assert_ne!(content, victim.content, "{place}");
    }
}

#[test]
fn a_damaged_log_is_said() {
    let victim = Victim::new();
    let log = victim.bytes(LOG);
    for place in places(log.len() - 61, 60) {
        let (content, damage) = victim.open_with(LOG, &flipped(&log, place));
        assert_eq!(damage.is_none(), content == victim.content, "{place}");
    }
}

#[test]
fn a_truncated_database_is_said() {
    let victim = Victim::new();
    let database = victim.bytes(DATABASE);
    for place in places(database.len() - 61, 40) {
        let (_, damage) = victim.open_with(DATABASE, &database[..place]);
        assert!(damage.is_some(), "{place} of {}", database.len());
    }
}

#[test]
fn a_damaged_database_is_opened_or_kept() {
    let victim = Victim::new();
    let database = victim.bytes(DATABASE);
    // Where the pages say what is in them, and anywhere.
    let structure = (0..database.len() / PAGE).map(|page| page * PAGE + page % 20);
    let anywhere = places(database.len() - 61, 60);
    let mut found = 0;
    for place in structure.chain(anywhere) {
        let (_, damage) = victim.open_with(DATABASE, &flipped(&database, place));
        found += u32::from(damage.is_some());
    }
    assert!(found > 10, "{found}");
}

#[test]
fn a_database_that_is_gone_is_said_once() {
    let victim = Victim::new();
    let directory = crash(victim.folder.path());
    for file in [DATABASE, LOG, "tidegate.db-shm"] {
        fs::remove_file(directory.path().join(file)).unwrap();
    }
    let (content, damage) = Content::read(directory.path());
    assert_eq!(content, Content::default());
    let file = directory.path().join(DATABASE);
    assert_eq!(damage, Some(Damage::Missing { file }));
    assert_eq!(Content::read(directory.path()), (content, None));
}

#[test]
fn an_older_database_in_its_place_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    add(&store, SessionId(1), 1);
    store.close().unwrap();
    let backup = fs::read(directory.path().join(DATABASE)).unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    add(&store, SessionId(1), 2);
    store.close().unwrap();
    let file = directory.path().join(DATABASE);
    fs::write(&file, backup).unwrap();
    let (content, damage) = Content::read(directory.path());
    assert_eq!(content.retained, [1]);
    assert_eq!(damage, Some(Damage::Older { file, kept: None }));
    assert_eq!(Content::read(directory.path()), (content, None));
}

#[test]
fn files_that_are_no_store_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(DATABASE);
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("CREATE TABLE message(x)").unwrap();
    drop(foreign);
    let foreign = fs::read(&file).unwrap();
    for (number, bytes) in [(1, &foreign[..]), (2, &b"a text"[..])] {
        fs::write(&file, bytes).unwrap();
        let (_, damage) = Content::read(directory.path());
        let kept = directory
            .path()
            .join(format!("{DATABASE}.damaged-{number}"));
        let found = matches!(&damage, Some(Damage::Unreadable { kept: it, .. }) if *it == kept);
        assert!(found, "{damage:?}");
        assert!(fs::read(kept).unwrap() == bytes, "{number}");
    }
}

#[test]
fn a_database_that_is_a_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(DATABASE);
    std::os::unix::fs::symlink("elsewhere", &file).unwrap();
    let refused = Store::open(directory.path(), synced()).map(|_| ());
    assert!(matches!(refused, Err(OpenStoreError::Link(it)) if it == file));
}

#[test]
fn damaged_entries_of_a_queue_are_left_out() {
    let victim = Victim::new();
    let tool = rusqlite::Connection::open(victim.folder.path().join(DATABASE)).unwrap();
    let sql = "UPDATE message SET topic = 'a/#' WHERE id IN (2, 3, 4, 5, 6, 7, 8, 9, 40);
               DELETE FROM message WHERE id = 11;
               UPDATE queue SET qos = 3 WHERE sequence = 12;";
    tool.execute_batch(sql).unwrap();
    drop(tool);
    let (content, damage) = Content::read(victim.folder.path());
    let expected: Vec<u64> = [1, 10].into_iter().chain(13..=39).collect();
    assert_eq!((content.queue, damage), (expected, None));
}

#[test]
fn messages_that_the_disk_has_changed_are_left_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let session = store.next_session_id();
    put_session(&store, session, "c");
    (1..=4).for_each(|number| add(&store, session, number));
    store.close().unwrap();
    let tool = rusqlite::Connection::open(directory.path().join(DATABASE)).unwrap();
    let sql = "UPDATE message SET payload = CAST('1' || payload AS BLOB) WHERE id = 2;
               UPDATE message SET topic = 'u' WHERE id = 3;
               UPDATE message SET payload = x'', checksum = NULL WHERE id = 4;
               UPDATE retained SET payload = substr(payload, 2) WHERE topic = 'r/001';
               UPDATE delayed SET properties = x'0101' WHERE id = 1;";
    tool.execute_batch(sql).unwrap();
    drop(tool);
    let (store, recovered) = Store::open(directory.path(), synced()).unwrap();
    let kept: Vec<_> = recovered.retained.iter().map(|it| number(it)).collect();
    assert_eq!((kept, recovered.left_out), (vec![2, 3, 4], 2));
    let kept: Vec<_> = recovered.delayed.iter().map(|it| it.id).collect();
    assert_eq!((kept, recovered.damage), (vec![2, 3, 4], None));
    assert_eq!(store.statistics().left_out, 2);
    // What nobody has summed up, as before version 7, is taken as it is.
    let (found, complete) = page(&store, session, 1, 10);
    let sequences: Vec<_> = found.iter().map(|it| it.sequence).collect();
    assert_eq!((sequences, complete), (vec![1, 4], true));
    assert_eq!(store.statistics().left_out, 4);
    store.close().unwrap();

    let problems = persistence::Findings::of(directory.path())
        .unwrap()
        .problems;
    let counts: Vec<_> = problems.iter().map(|it| (it.what, it.count)).collect();
    let expected = [
        ("messages that cannot be understood", 2),
        ("retained messages that cannot be understood", 1),
        ("delayed messages that cannot be understood", 1),
    ];
    assert_eq!(counts, expected);
    assert!(
        problems[0].first == "2: its bytes have changed",
        "{problems:?}"
    );
    let salvage = persistence::repair(directory.path()).unwrap().unwrap();
    assert_eq!(salvage.entries_without_message, 2);
    let (content, damage) = Content::read(directory.path());
    assert_eq!((content.retained, damage), (vec![2, 3, 4], None));
}

#[test]
fn a_queue_that_cannot_be_read_does_not_hold_up_what_comes() {
    let victim = Victim::new();
    let directory = crash(victim.folder.path());
    // Closing puts everything into the database, opening reads the log only.
    Content::read(directory.path());
    let (store, recovered) = Store::open(directory.path(), synced()).unwrap();
    let session = recovered.sessions[0].id;
    let file = directory.path().join(DATABASE);
    let tool = rusqlite::Connection::open(&file).unwrap();
    let mut pages = tool
        .prepare("SELECT pageno FROM dbstat WHERE name = 'message' AND pagetype = 'leaf'")
        .unwrap();
    let pages = pages.query_map([], |row| row.get::<_, usize>(0)).unwrap();
    // In place: the store may look at the file at any moment.
    let bytes = fs::File::options().write(true).open(&file).unwrap();
    for page in pages {
        let offset = (page.unwrap() - 1) * PAGE;
        bytes.write_all_at(&[0xff; PAGE], offset as u64).unwrap();
    }
    let (_, complete) = page(&store, session, 1, 100);
    assert!(complete);
    store.close().unwrap();
}

/// Destroys the page of a table that has the middle of it, while the store is open.
fn destroy_page(directory: &Path, table: &str) {
    let file = directory.join(DATABASE);
    let tool = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path";
    let mut pages = tool.prepare(sql).unwrap();
    let pages = pages
        .query_map([table], |row| row.get::<_, u64>(0))
        .unwrap();
    let pages: Vec<_> = pages.map(|it| it.unwrap()).collect();
    let page = pages[pages.len() / 2];
    // The store does not use what it has read before when another process has written.
    let sql = "UPDATE store SET epoch = epoch; PRAGMA wal_checkpoint(TRUNCATE)";
    tool.execute_batch(sql).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&file).unwrap();
    FileExt::write_all_at(&file, &[0xff; PAGE], (page - 1) * PAGE as u64).unwrap();
}

/// Goes on with a store that has a damaged page in a table; how many retained messages, delayed
/// messages and sessions are lost.
fn lost_with_a_page_of(table: &str) -> [usize; 3] {
    let directory = memory();
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    let session = SessionId(1);
    put_session(&store, session, "1");
    (1..400).for_each(|id| _ = put_session(&store, SessionId(id), &id.to_string()));
    (1..100).for_each(|number| add(&store, session, number));
    store.close().unwrap();
    drop(store);
    let (store, _) = Store::open(directory.path(), synced()).unwrap();
    destroy_page(directory.path(), table);
    for number in 1..100 {
        store.submit(Operation::Dequeue(session, 100 - number));
        store.submit(Operation::Undelay(number));
        let id = 4 * number;
        put_session(&store, SessionId(id), &id.to_string());
        add(&store, session, number + 100);
    }
    for number in 30..70 {
        let topic = TopicName::new(&format!("r/{number:03}")).unwrap();
        wait_durable(&store, store.submit(Operation::Retain(topic, None)));
    }
    assert!(directory.path().join("tidegate.db.damaged-1").exists());
    let left = crash(directory.path());
    store.close().unwrap();
    let (content, damage) = Content::read(left.path());
    assert_eq!(damage, None, "{table}");
    assert_eq!(content.queue, (101..200).collect::<Vec<_>>(), "{table}");
    let (retained, delayed) = (content.retained.len(), content.delayed.len());
    [158 - retained, 99 - delayed, 399 - content.clients.len()]
}

#[test]
fn a_page_that_is_damaged_while_the_store_is_open_costs_what_is_on_it() {
    let tables = [
        "retained", "delayed", "session", "message", "queue", "store",
    ];
    std::thread::scope(|scope| {
        for (place, table) in tables.into_iter().enumerate() {
            scope.spawn(move || {
                let mut lost = lost_with_a_page_of(table);
                if let Some(on_it) = lost.get_mut(place) {
                    assert!(*on_it < 150, "{table}: {on_it}");
                    *on_it = 0;
                }
                assert_eq!(lost, [0, 0, 0], "{table}");
            });
        }
    });
}

#[test]
fn commits_are_synced_when_nothing_follows_them() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let epoch = || fs::read(directory.path().join("tidegate.epoch")).unwrap_or_default();
    // Of two commits within a second one is not synced by itself, and so does not count.
    let mut before;
    loop {
        before = epoch();
        wait_durable(&store, put_session(&store, SessionId(1), "c"));
        if epoch() == before {
            break;
        }
    }
    let start = std::time::Instant::now();
    while epoch() == before {
        assert!(start.elapsed() < PATIENCE, "never synced");
        std::thread::sleep(Duration::from_millis(5));
    }
    store.close().unwrap();
}
