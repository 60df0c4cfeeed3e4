PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE session(
    id INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE,
    expiry_seconds INTEGER NOT NULL, expires_at INTEGER);
CREATE TABLE subscription(
    session_id INTEGER NOT NULL, filter TEXT NOT NULL,
    options INTEGER NOT NULL, identifier INTEGER,
    PRIMARY KEY(session_id, filter)) WITHOUT ROWID;
CREATE TABLE message(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER, refs INTEGER NOT NULL);
CREATE TABLE queue(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL, message_id INTEGER NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, subscription_ids BLOB NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
CREATE TABLE inbound(
    session_id INTEGER NOT NULL, packet_id INTEGER NOT NULL,
    PRIMARY KEY(session_id, packet_id)) WITHOUT ROWID;
CREATE TABLE retained(
    topic TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
PRAGMA user_version = 1;
