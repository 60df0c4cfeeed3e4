//! The handle that the rest of the daemon holds: submit and wait.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use crate::error::WriteError;
use crate::handover::Submitted;
use crate::hold::Gate;
use crate::quota::Asked;
use crate::statistics::Meter;
use crate::{Clock, Durability, Operation, Options, SessionId};

/// A place in the order of all operations; the first is 1, and 0 is durable from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// The store, shared by everybody who changes something durable.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) shared: Option<Arc<Shared>>,
}

/// What the handles and the writer thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) submitted: Mutex<Submitted>,
    pub(crate) gate: Gate,
    /// Wakes the writer.
    pub(crate) arrived: Condvar,
    /// [`Options::pending_bytes_max`], or less while the file system has little room.
    pub(crate) pending_bytes_max: AtomicUsize,
    /// As many bytes wait as may; written under the lock of `submitted`, so that whoever only
    /// asks needs no lock.
    pub(crate) crowded: AtomicBool,
    pub(crate) durable: AtomicU64,
    pub(crate) failing: AtomicBool,
    /// A bound of the quota is reached.
    pub(crate) full: AtomicBool,
    /// Entries that the queues have room for; written under the lock of `submitted`.
    pub(crate) room: AtomicU64,
    pub(crate) asked: Mutex<Asked>,
    pub(crate) waiters: Mutex<Waiters>,
    pub(crate) meter: Mutex<Meter>,
    pub(crate) next_message: AtomicU64,
    pub(crate) next_session: AtomicU64,
    pub(crate) next_delayed: AtomicU64,
    pub(crate) next_will: AtomicU64,
    /// No entry of a queue that was not looked at ends before this, in milliseconds.
    pub(crate) next_deadline: AtomicU64,
    pub(crate) writer: Mutex<Option<JoinHandle<Result<(), WriteError>>>>,
    pub(crate) file: PathBuf,
    pub(crate) clock: Clock,
}

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub(crate) durable: Vec<(u64, Waker)>,
    pub(crate) room: Vec<Waker>,
}

impl Store {
    /// A store that keeps nothing: every operation is durable at once and forgotten.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { shared: None }
    }

    /// True if anything is kept.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.shared.is_some()
    }

    /// The database file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.shared.as_ref().map(|shared| shared.file.as_path())
    }

    /// The time of what is stored, which goes on from where it was left. A store that keeps nothing
    /// has one that begins at each call.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let shared = self.shared.as_ref();
        shared.map_or_else(Clock::start, |it| it.clock)
    }

    /// A number for a message body that is about to be enqueued.
    #[must_use]
    pub fn next_message_id(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |it| it.next_message.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a new durable session.
    #[must_use]
    pub fn next_session_id(&self) -> SessionId {
        SessionId(
            self.shared
                .as_ref()
                .map_or(0, |it| it.next_session.fetch_add(1, Ordering::Relaxed)),
        )
    }

    /// A number for a message that is about to be delayed.
    #[must_use]
    pub fn next_delayed_id(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |it| it.next_delayed.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands an operation to the writer, which keeps [`Options::durability`] for it. Never waits;
    /// see [`Store::poll_room`].
    pub fn submit(&self, operation: Operation) -> Position {
        let durability = self.shared.as_ref().map(|it| it.options.durability);
        self.submit_as(operation, durability.unwrap_or_default())
    }

    /// Hands an operation to the writer with a promise of its own: at the position returned it
    /// has reached this durability.
    pub fn submit_as(&self, operation: Operation, durability: Durability) -> Position {
        let Some(shared) = &self.shared else {
            return Position(0);
        };
        let deadline = operation.deadline();
        let mut submitted = lock(&shared.submitted);
        let first = submitted.operations.is_empty();
        let full = submitted.push(operation, shared.options.commit_operations);
        if submitted.bytes >= shared.pending_bytes_max.load(Ordering::Relaxed) {
            shared.crowded.store(true, Ordering::Relaxed);
        }
        submitted.position += 1;
        submitted.sync |= durability == Durability::Full;
        let position = Position(submitted.position);
        shared.look_at(&submitted);
        drop(submitted);
        // A sweep that does not know of the operation comes before it.
        deadline.into_iter().for_each(|at| shared.note_deadline(at));
        if first || full {
            shared.arrived.notify_one();
        }
        position
    }

    /// Everything up to this position is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position(
            self.shared
                .as_ref()
                .map_or(u64::MAX, |it| it.durable.load(Ordering::Acquire)),
        )
    }

    /// True while the database cannot be written: nothing becomes durable until it can.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| it.failing.load(Ordering::Relaxed))
    }

    /// Ready once everything up to `position` is durable.
    pub fn poll_durable(&self, position: Position, context: &mut Context<'_>) -> Poll<()> {
        if self.durable() >= position {
            return Poll::Ready(());
        }
        if let Some(shared) = &self.shared {
            lock(&shared.waiters)
                .durable
                .push((position.0, context.waker().clone()));
        }
        // The commit may have come in between.
        if self.durable() >= position {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// True while fewer bytes wait for the writer than the options allow.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let Some(shared) = &self.shared else {
            return true;
        };
        lock(&shared.submitted).bytes < shared.pending_bytes_max.load(Ordering::Relaxed)
    }

    /// Ready while there is room. While the database cannot be written, when nobody knows how
    /// long it would be to wait, there is twice as much: enough for what clients acknowledge
    /// and subscribe to, if no messages are submitted without [`Store::has_room`].
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = &self.shared else {
            return Poll::Ready(());
        };
        if !shared.crowded.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        // The lock is held over the registration, so that a commit cannot slip in between.
        let submitted = lock(&shared.submitted);
        let spare = if self.is_failing() { 2 } else { 1 };
        if submitted.bytes / spare < shared.pending_bytes_max.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        lock(&shared.waiters).room.push(context.waker().clone());
        drop(submitted);
        Poll::Pending
    }
}

/// A poisoned lock means that a holder panicked between two plain assignments; the value is
/// still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
