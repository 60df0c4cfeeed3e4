//! The routes that a connection has used last: publishers repeat their topics.

use std::sync::Arc;

use mqtt::TopicName;

use crate::exchange::{Exchange, Route};

/// Topics whose routes are kept, the last ones.
const ROUTES_MAX: usize = 8;
/// Sessions of a route above which it is not kept: looking it up again is little beside them.
const TARGETS_MAX: usize = 1_024;

/// Routes by the topics in the packets, which rewriting may change.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: Vec<(TopicName, Arc<Route>)>,
    /// Where the next one goes.
    next: usize,
}

impl Routes {
    /// The route of a topic, if it is known and current.
    pub(super) fn get(&self, topic: &str, exchange: &Exchange) -> Option<(TopicName, Arc<Route>)> {
        let mut known = self.known.iter();
        let found = known.find(|(known, _)| known.as_str() == topic)?;
        exchange.is_current(&found.1).then(|| found.clone())
    }

    /// Keeps a route, in place of the one of its topic or of the oldest.
    pub(super) fn put(&mut self, topic: TopicName, route: Arc<Route>) {
        let place = self.known.iter().position(|(known, _)| *known == topic);
        if route.targets.len() > TARGETS_MAX {
            place.map(|place| self.known.swap_remove(place));
        } else if let Some(place) = place {
            self.known[place] = (topic, route);
        } else if self.known.len() < ROUTES_MAX {
            self.known.push((topic, route));
        } else {
            self.known[self.next] = (topic, route);
            self.next = (self.next + 1) % ROUTES_MAX;
        }
    }
}
