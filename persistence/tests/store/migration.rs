//! Files of earlier versions.

use persistence::{Clock, Deadline, Recovered};

use super::*;

/// A database as version 1 left it, with a client connected.
pub(crate) const VERSION_1: &str =
    concat!(include_str!("tables_1.sql"), include_str!("version_1.sql"));
/// A database as version 3 left it in 2100, when one client had just gone and one was connected.
const VERSION_3: &str = concat!(
    include_str!("tables_1.sql"),
    include_str!("tables_3.sql"),
    include_str!("version_3.sql")
);
/// Another one, with an entry whose message is missing.
const VERSION_3_QUEUES: &str = concat!(
    include_str!("tables_1.sql"),
    include_str!("tables_3.sql"),
    include_str!("version_3_queues.sql")
);
const IN_2100: Timestamp = Timestamp::from_millis(4_102_444_800_000);

fn open_file(sql: &str) -> (tempfile::TempDir, Store, Recovered) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    (directory, store, recovered)
}

#[test]
fn a_file_of_version_1_is_opened_with_its_content() {
    let (directory, store, recovered) = open_file(VERSION_1);
    let [session] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!((session.id, &*session.client_id), (SessionId(7), "c"));
    assert_eq!((session.expiry_seconds, session.expires_at), (60, None));
    assert_eq!(session.subscriptions.len(), 1);
    assert_eq!(session.subscriptions[0].filter.as_str(), "t/#");
    assert_eq!(session.received, [9]);
    assert_eq!((session.waiting(), session.next_sequence), (2, 6));
    assert_eq!(session.sent_sequence, 5, "version 1 did not say");
    let mut retained = (*message("r", 3)).clone();
    retained.retain = true;
    assert_eq!(recovered.retained, [Arc::new(retained)]);
    assert!(recovered.delayed.is_empty());
    let (found, complete) = page(&store, session.id, 1, 10);
    assert_eq!((numbers(&found), complete), (vec![1, 2], true));
    assert_eq!(found[1].subscription_ids, [300_000]);
    assert!(store.next_message_id() > 2);

    // It is as good as one that was made by this version.
    let delayed = store.submit(Operation::Delay {
        id: store.next_delayed_id(),
        due: Timestamp::from_millis(1),
        message: message("t", 4),
    });
    wait_durable(&store, delayed);
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!((recovered.sessions.len(), recovered.delayed.len()), (1, 1));
    store.close().unwrap();
}

#[test]
fn every_version_gives_space_back() {
    const INCREMENTAL: u8 = 2;
    let directory = memory();
    let file = directory.path().join("tidegate.db");
    let auto_vacuum = || {
        let connection = rusqlite::Connection::open(&file).unwrap();
        let mode = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, u8>(0));
        mode.unwrap()
    };
    // It is decided before the first table is made.
    let made = rusqlite::Connection::open(&file).unwrap();
    made.execute_batch(VERSION_1).unwrap();
    drop(made);
    assert_eq!(auto_vacuum(), INCREMENTAL);
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    // It is written anew.
    fs::remove_file(&file).unwrap();
    wait_durable(&store, put_session(&store, SessionId(9), "d"));
    store.close().unwrap();
    assert_eq!(auto_vacuum(), INCREMENTAL);
    fs::remove_file(&file).unwrap();
    drop(store);
    fs::remove_file(directory.path().join("tidegate.epoch")).unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    store.close().unwrap();
    assert_eq!(auto_vacuum(), INCREMENTAL);
}

#[test]
fn the_time_of_a_file_of_version_3_goes_on_from_when_its_last_client_went() {
    let (_directory, store, recovered) = open_file(VERSION_3);
    let now = store.clock().now();
    let hour = Duration::from_secs(3_600);
    assert!(now >= IN_2100 && now.since(IN_2100) < hour, "{now:?}");
    let [away, online, endless] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(away.expires_at, Some(IN_2100.after(hour / 60)));
    assert_eq!(online.expires_at, None);
    assert!(endless.expires_at > Some(IN_2100.after(hour)));
    let retained = &recovered.retained[0];
    assert_eq!(
        retained.expires_at,
        Some(Timestamp::from_millis(4_102_444_802_000))
    );
    assert_eq!(
        recovered.delayed[0].due,
        Timestamp::from_millis(4_102_444_803_000)
    );
    store.close().unwrap();
}

#[test]
fn the_time_of_a_file_of_version_3_is_not_behind_the_wall_clock() {
    // Its last client had gone in 1970.
    let sql = VERSION_3.replace("4102444860000", "65000");
    let wall = Timestamp::from_millis(Clock::wall_millis());
    let (_directory, store, recovered) = open_file(&sql);
    assert_eq!(recovered.sessions.len(), 3);
    assert!(store.clock().now() >= wall);
    store.close().unwrap();
}

#[test]
fn the_queues_of_version_3_are_in_one_lane_and_their_bytes_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(VERSION_3_QUEUES).unwrap();
    drop(connection);

    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    let [session] = &recovered.sessions[..] else {
        panic!("{recovered:?}")
    };
    let waiting = Amount {
        messages: 4,
        bytes: 2 + 2 + (5 + 2 + 5),
    };
    let lane = StoredLane {
        first: 2,
        waiting,
        unsettled: 1,
    };
    assert_eq!(session.lanes, [lane]);
    assert_eq!((session.sent_sequence, session.next_sequence), (2, 7));
    assert_eq!(session.released, [3]);
    let (found, complete) = page(&store, session.id, 1, 10);
    let classes: Vec<_> = found.iter().map(|it| it.class).collect();
    assert_eq!(classes, [QueueClass::default(); 3]);
    assert!(complete);
    store.close().unwrap();
}

#[test]
fn what_waits_in_a_file_of_version_3_ends_with_its_message() {
    let (_directory, store, _) = open_file(VERSION_3);
    let (sender, found) = mpsc::sync_channel(1);
    let give_up = Box::new(move |found: &mut Vec<Deadline>| {
        sender.send(std::mem::take(found)).unwrap();
    });
    store.expire(IN_2100.after(Duration::from_secs(1)), give_up);
    let found = found.recv_timeout(PATIENCE).unwrap();
    let found = found.iter().map(|it| it.entry);
    let found = found.map(|it| (it.session.0, it.sequence, it.qos));
    let expected = [(7, 5, QoS::AtLeastOnce), (8, 1, QoS::ExactlyOnce)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let (page, _) = page(&store, SessionId(7), 1, 10);
    let ends: Vec<_> = page.iter().map(|it| it.expires_at).collect();
    assert_eq!(
        ends,
        [None, Some(Timestamp::from_millis(4_102_444_801_000))]
    );
    store.close().unwrap();
}

#[test]
fn a_store_has_one_broker_identifier_as_long_as_it_lives() {
    let (directory, store, recovered) = open_file(VERSION_1);
    let id = recovered.broker_id.unwrap();
    assert_eq!(id.len(), 16);
    store.close().unwrap();
    let (store, recovered) = Store::open(directory.path(), Options::default()).unwrap();
    assert_eq!(recovered.broker_id.as_ref(), Some(&id));
    store.close().unwrap();
    let another = tempfile::tempdir().unwrap();
    let (store, recovered) = Store::open(another.path(), Options::default()).unwrap();
    assert!(recovered.broker_id.is_some_and(|it| it != id));
    store.close().unwrap();
}
