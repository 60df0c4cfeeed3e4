//! What survives the process: durable sessions with their queues, retained and delayed messages,
//! wills, and the names of messages that other brokers have sent, in one SQLite database.
//!
//! One thread owns the database and is its only writer. Everybody else submits [`Operation`]s,
//! which it applies in the order of submission, many in one transaction (group commit). Each
//! submission returns a [`Position`]; once [`Store::durable`] has reached it, the operation and
//! all before it have reached the configured [`Durability`].
//!
//! | durability | reached when | kill -9 | power cut |
//! |---|---|---|---|
//! | `memory` | at once; it is not submitted | lost | lost |
//! | `normal` | committed to the WAL; synced within a second | nothing lost | at most the last second, a prefix is kept |
//! | `full` | committed and synced | nothing lost | nothing lost |
//!
//! Commit elision: a queue entry that is removed before its transaction begins is never written,
//! so consumers that keep up cost no flash.
//!
//! What belongs together is submitted under a [`Hold`], and is in one commit.
//!
//! The store is bounded as a whole ([`Quota`]), and a database that is drained gives space back to the
//! file system. What it does is counted ([`Statistics`]).
//!
//! Invariants: nothing is reported durable before its commit succeeded and the database was seen
//! where a restart looks for it. A failed commit is retried with the same content; until it
//! succeeds nothing after it is durable either. A sync that failed is not taken for done when the
//! next one succeeds: what it should have written is written anew. Files that are deleted or replaced while they are
//! open are written anew. Message bodies are stored once, however many queues they stand in. Only the writer thread touches the
//! database; a lock file keeps a second process away.

mod batch;
mod checksum;
mod clock;
mod crash_point;
mod damage;
mod database;
mod durability;
mod entry;
mod error;
mod expiry;
mod files;
mod handover;
mod hold;
mod in_flight;
mod inspect;
mod lifetime;
mod log;
mod names;
mod oldest;
mod operation;
mod options;
mod page;
mod quota;
mod recovery;
mod references;
mod row;
mod salvage;
mod schema;
mod space;
mod statistics;
mod store;
mod throttle;
mod trim;
mod volume;
mod will;
mod writer;

pub use clock::Clock;
pub use crash_point::CrashPoint;
pub use damage::Damage;
pub use durability::Durability;
pub use entry::QueueEntry;
pub use error::{CloseStoreError, OpenStoreError};
pub use expiry::{Deadline, GiveUp, Sweep};
pub use files::holder;
pub use hold::Hold;
pub use inspect::{
    Depth, Exported, Exports, Findings, FlushLatency, Inspection, KeptFile, Problem, QueuedMessage,
    SessionRecord, Stats, kept_files,
};
pub use names::{NAMES_MAX, RUNS_MAX, RecoveredNames};
pub use oldest::MakeWay;
pub use operation::{Operation, PageReply, SessionId, StoredMessage, TrimReply};
pub use options::Options;
pub use quota::Quota;
pub use recovery::{DelayedMessage, Recovered, RecoveredSession};
pub use row::StoredSubscription;
pub use salvage::{Salvage, SalvageError, SalvagedTable, repair, salvage};
pub use statistics::Statistics;
pub use store::{Position, Store};
pub use volume::{RESERVE_BYTES, Volume};
pub use will::RecoveredWill;
