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
