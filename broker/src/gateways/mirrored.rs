//! The filters that bridges have mirrored at their hubs, whose sessions outlive a restart.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqtt::TopicFilter;
use mqtt::packet::SubscriptionOptions;
use persistence::{Operation, RecoveredSession, SessionId, Store, StoredSubscription};

/// The store has them as the subscriptions of a session that nobody can have, whose Client
/// Identifier is this and the bridge's name.
pub(crate) const MIRROR_PREFIX: &str = "$mirror/";
/// It lasts until it is deleted.
const EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

/// What each bridge has mirrored, by the bridge's name, such as `bridge/hub`.
#[derive(Debug, Default)]
pub(crate) struct Mirrored(Mutex<BTreeMap<Arc<str>, Record>>);

#[derive(Debug)]
struct Record {
    session: SessionId,
    filters: HashSet<TopicFilter>,
}

impl Mirrored {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts back what the store knew, if this is such a session; otherwise returns it.
    pub(crate) fn recover(&self, recovered: RecoveredSession) -> Option<RecoveredSession> {
        let Some(name) = recovered.client_id.strip_prefix(MIRROR_PREFIX) else {
            return Some(recovered);
        };
        let filters = recovered.subscriptions.into_iter().map(|it| it.filter);
        let record = Record {
            session: recovered.id,
            filters: filters.collect(),
        };
        self.lock().insert(name.into(), record);
        None
    }

    /// What a bridge has mirrored.
    pub(crate) fn of(&self, name: &str) -> Vec<TopicFilter> {
        let records = self.lock();
        let record = records.get(name);
        record.map_or_else(Vec::new, |it| it.filters.iter().cloned().collect())
    }

    /// Notes that a bridge mirrors a filter, or not any longer.
    pub(crate) fn note(&self, store: &Store, name: &str, filter: &TopicFilter, is_mirrored: bool) {
        let mut records = self.lock();
        if !is_mirrored {
            let record = records.get_mut(name);
            if let Some(record) = record.filter(|it| it.filters.contains(filter)) {
                record.filters.remove(filter);
                let filter = filter.clone();
                store.submit(Operation::Unsubscribe(record.session, filter));
            }
            return;
        }
        let record = records.entry(name.into()).or_insert_with(|| {
            let session = store.next_session_id();
            store.submit(Operation::PutSession {
                session,
                client_id: format!("{MIRROR_PREFIX}{name}").into(),
                expiry_seconds: EXPIRY.as_secs(),
                expires_at: None,
            });
            let filters = HashSet::new();
            Record { session, filters }
        });
        if record.filters.insert(filter.clone()) {
            let subscription = StoredSubscription {
                filter: filter.clone(),
                options: SubscriptionOptions::default(),
                identifier: None,
            };
            store.submit(Operation::Subscribe(record.session, subscription));
        }
    }

    /// A bridge is no longer configured. What a hub may still have is kept, so that a bridge of this
    /// name can end it; returns how many filters that are.
    pub(crate) fn retire(&self, store: &Store, name: &str) -> usize {
        let mut records = self.lock();
        let left = records.get(name).map_or(0, |it| it.filters.len());
        if left == 0
            && let Some(record) = records.remove(name)
        {
            store.submit(Operation::DeleteSession(record.session));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use persistence::{Options, Store};

    use super::*;

    /// What another start finds in the store, with the sessions that are not of this kind.
    fn recovered(folder: &std::path::Path) -> (Store, Mirrored, usize) {
        let (store, recovered) = Store::open(folder, Options::default()).unwrap();
        let mirrored = Mirrored::default();
        let sessions = recovered.sessions.into_iter();
        let others = sessions.filter_map(|it| mirrored.recover(it)).count();
        (store, mirrored, others)
    }

    #[test]
    fn what_is_mirrored_survives_a_restart_until_it_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let filter = |text: &str| TopicFilter::new(text).unwrap();
        let (store, mirrored, _) = recovered(folder.path());
        for text in ["a", "b/#", "b/#"] {
            mirrored.note(&store, "bridge/hub", &filter(text), true);
        }
        mirrored.note(&store, "bridge/hub", &filter("a"), false);
        mirrored.note(&store, "bridge/other", &filter("a"), false);
        store.close().unwrap();

        let (store, mirrored, others) = recovered(folder.path());
        assert_eq!(others, 0);
        assert_eq!(mirrored.of("bridge/hub"), [filter("b/#")]);
        assert_eq!(mirrored.of("bridge/other"), []);
        // It goes on where it was.
        mirrored.note(&store, "bridge/hub", &filter("b/#"), false);
        mirrored.note(&store, "bridge/hub", &filter("c"), true);
        store.close().unwrap();
        assert_eq!(recovered(folder.path()).1.of("bridge/hub"), [filter("c")]);
    }

    #[test]
    fn of_a_bridge_that_is_gone_only_what_a_hub_may_have_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let filter = TopicFilter::new("a").unwrap();
        let (store, mirrored, _) = recovered(folder.path());
        mirrored.note(&store, "bridge/hub", &filter, true);
        assert_eq!(mirrored.retire(&store, "bridge/hub"), 1);
        assert_eq!(mirrored.retire(&store, "bridge/other"), 0);
        store.close().unwrap();
        let (store, mirrored, _) = recovered(folder.path());
        assert_eq!(mirrored.of("bridge/hub"), std::slice::from_ref(&filter));
        mirrored.note(&store, "bridge/hub", &filter, false);
        assert_eq!(mirrored.retire(&store, "bridge/hub"), 0);
        store.close().unwrap();
        let (_store, recovered) = Store::open(folder.path(), Options::default()).unwrap();
        assert_eq!(recovered.sessions.len(), 0);
    }
}
