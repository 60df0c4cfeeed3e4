//! The gateways and bridges that there are, and what each says of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway::Status;

use super::age::Ages;

/// A gateway or bridge, whether it runs or not.
#[derive(Clone, Debug)]
pub(crate) struct Hosted {
    /// Unique in the daemon, such as `zmq/plant` or `bridge/hub`.
    pub(crate) name: Arc<str>,
    /// What it says of itself.
    pub(crate) status: Arc<Status>,
    /// How long what is in its outbox waits.
    pub(super) ages: Arc<Mutex<Ages>>,
    /// It is not configured any more.
    is_leaving: Arc<AtomicBool>,
}

impl Hosted {
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}

/// The gateways and bridges by name. It changes when the configuration is read anew.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<BTreeMap<Arc<str>, Hosted>>);

impl Roster {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Hosted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them at this moment, in the order of their names.
    pub(crate) fn list(&self) -> Vec<Hosted> {
        self.lock().values().cloned().collect()
    }

    /// Enters one, or returns the one that there is, which goes on counting.
    pub(crate) fn enter(&self, name: &str) -> Hosted {
        let mut hosted = self.lock();
        let name: Arc<str> = name.into();
        let entry = hosted.entry(Arc::clone(&name)).or_insert_with(|| Hosted {
            name,
            status: Arc::new(Status::default()),
            ages: Arc::default(),
            is_leaving: Arc::default(),
        });
        entry.is_leaving.store(false, Ordering::Relaxed);
        entry.clone()
    }

    /// Notes that one is not configured any more; it may still run.
    pub(crate) fn note_leaving(&self, name: &str) {
        if let Some(hosted) = self.lock().get(name) {
            hosted.is_leaving.store(true, Ordering::Relaxed);
        }
    }

    /// Strikes one out: nothing of it is left.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }
}
