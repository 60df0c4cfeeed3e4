//! What a removal takes of the log where the file system has little left.

use std::path::Path;
use std::sync::Arc;

use mqtt::{Message, QoS, TopicName};

use super::*;
use crate::{Operation, StoredMessage};

const SESSION: SessionId = SessionId(1);
/// Removed together, they write several times what the log may have.
const ENTRIES: u64 = 20_000;
/// The log when it is copied, and what the last part and the end of the removal write.
const LOG_BYTES_MAX: u64 = 3 << 19;

/// A database with a queue of small messages, near the end of its room.
fn filled(directory: &Path) -> Database {
    let (mut database, ..) = Database::open(directory).unwrap();
    let mut batch = Batch::default();
    let message = Message::new(TopicName::new("t").unwrap(), vec![b'x'; 100]);
    let message = Arc::new(message);
    batch.fold(Operation::PutSession {
        session: SESSION,
        client_id: "c".into(),
        expiry_seconds: 60,
        expires_at: None,
    });
    for number in 1..=ENTRIES {
        let stored = StoredMessage {
            id: number,
            message: Arc::clone(&message),
        };
        batch.fold(Operation::Enqueue {
            session: SESSION,
            sequence: number,
            stored,
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
            latest_only: false,
            expires_at: None,
        });
    }
    database.commit(&batch, true).unwrap();
    database.checkpoint().unwrap();
    database.spare_log(true);
    // The log begins again, and its file is cut.
    commit(&mut database, [Operation::NoteTime]);
    assert!(log_bytes(&database) <= LOG_BYTES_MAX);
    database
}

fn commit(database: &mut Database, operations: impl IntoIterator<Item = Operation>) {
    let mut batch = Batch::default();
    for operation in operations {
        assert!(batch.fold(operation).is_none());
    }
    database.commit(&batch, true).unwrap();
}

fn log_bytes(database: &Database) -> u64 {
    database.files.look().unwrap().log.bytes
}

/// Nothing is left of the queue, and the log's file is not longer than this. It is cut only with the
/// transaction that begins it again, so it shows how much the last ones took.
fn assert_is_empty(database: &Database) {
    let bytes = log_bytes(database);
    assert!(bytes <= LOG_BYTES_MAX, "{bytes}");
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        database.number(&sql).unwrap()
    };
    assert_eq!(["queue", "message"].map(count), [0, 0]);
    assert_eq!(database.queued, 0);
}

#[test]
fn a_long_queue_that_is_done_with_goes_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = filled(directory.path());
    let done = (1..=ENTRIES).map(|it| Operation::Dequeue(SESSION, it));
    commit(&mut database, done);
    assert_is_empty(&database);
}

#[test]
fn a_long_queue_whose_session_ends_goes_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = filled(directory.path());
    commit(&mut database, [Operation::DeleteSession(SESSION)]);
    assert_is_empty(&database);
}
