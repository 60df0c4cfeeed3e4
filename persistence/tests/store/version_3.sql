PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE session(
    id INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE,
    expiry_seconds INTEGER NOT NULL, expires_at INTEGER, sent_sequence INTEGER);
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
CREATE TABLE delayed(
    id INTEGER PRIMARY KEY, due INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER);
CREATE TABLE outbound(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
PRAGMA user_version = 3;
INSERT INTO store VALUES(0);
INSERT INTO session VALUES(7, 'c', 60, 4102444860000, 3);
INSERT INTO session VALUES(8, 'online', 9223372036854775807, NULL, NULL);
INSERT INTO session VALUES(9, 'endless', 9223372036854775807, 9223372036854775807, 0);
INSERT INTO message VALUES(1, 't', x'31', x'', 1, 0, NULL, 1);
INSERT INTO message VALUES(2, 't', x'32', x'', 1, 0, 4102444801000, 2);
INSERT INTO queue VALUES(7, 4, 1, 1, 0, x'');
INSERT INTO queue VALUES(7, 5, 2, 1, 0, x'');
INSERT INTO queue VALUES(8, 1, 2, 2, 0, x'');
INSERT INTO retained VALUES('r', x'33', x'', 1, 1, 4102444802000);
INSERT INTO delayed VALUES(1, 4102444803000, 't', x'34', x'', 1, 0, NULL);
