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
CREATE TABLE store(epoch INTEGER NOT NULL);
INSERT INTO store VALUES(0);
CREATE TABLE delayed(
    id INTEGER PRIMARY KEY, due INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER);
ALTER TABLE session ADD COLUMN sent_sequence INTEGER;
CREATE TABLE outbound(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
PRAGMA user_version = 3;
INSERT INTO session VALUES(7, 'c', 60, 5, 2);
INSERT INTO subscription VALUES(7, '#', 1, NULL);
INSERT INTO message VALUES(1, 't', x'31', x'', 1, 0, NULL, 2);
INSERT INTO message VALUES(2, 'ü/é', x'3200', x'0300027878', 1, 0, NULL, 1);
INSERT INTO queue VALUES(7, 2, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 4, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 5, 2, 1, 0, x'');
INSERT INTO queue VALUES(7, 6, 99, 1, 0, x'');
INSERT INTO outbound VALUES(7, 3);
