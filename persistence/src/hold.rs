//! What is submitted together stays together: the writer takes nothing while somebody is amid it.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::Store;

thread_local! {
    /// This thread passes the gate at this moment. Who would pass it once more might wait for
    /// the writer, which waits for this thread.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Open for any number of threads that submit, closed while the writer takes what there is.
/// A writer that waits goes first, so that it is not kept out by those who come and go.
#[derive(Debug, Default)]
pub(crate) struct Gate(RwLock<()>);

impl Gate {
    pub(crate) fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Keeps together what this thread submits until the guard is dropped: all of it is in one
    /// commit, with what others submit meanwhile. Within another one it changes nothing.
    ///
    /// It is taken before any lock that is held over a submission, and not for long: a commit
    /// does not begin meanwhile, and nobody else's hold does once one is due.
    #[must_use]
    pub fn hold(&self) -> Hold<'_> {
        Hold::new(self.shared.as_ref().map(|it| &it.gate))
    }
}

/// See [`Store::hold`].
#[derive(Debug)]
pub struct Hold<'a> {
    inside: Option<RwLockReadGuard<'a, ()>>,
}

impl<'a> Hold<'a> {
    pub(crate) fn new(gate: Option<&'a Gate>) -> Self {
        let gate = gate.filter(|_| !IS_INSIDE.get());
        let inside = gate.map(|it| it.0.read().unwrap_or_else(PoisonError::into_inner));
        if inside.is_some() {
            IS_INSIDE.set(true);
        }
        Self { inside }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.inside.is_some() {
            IS_INSIDE.set(false);
        }
    }
}
