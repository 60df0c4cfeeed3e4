//! The routes that a connection has used last: publishers repeat their topics.

use std::sync::Arc;

use mqtt::TopicName;

use crate::exchange::{Exchange, Route};

/// Topics whose routes are kept, the last ones.
const ROUTES_MAX: usize = 8;
/// Sessions of a route above which it is not kept: looking it up again is little beside them.
const TARGETS_MAX: usize = 1_024;

/// Routes by the topics in the packets, which rewriting may change. A connection that publishes
/// nothing takes no memory for them.
#[derive(Debug, Default)]
pub(super) struct Routes(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
    routes: Vec<(TopicName, Arc<Route>)>,
    /// Where the next one goes.
    next: usize,
}

impl Routes {
    /// The route of a topic, if it is known and current.
    pub(super) fn get(&self, topic: &str, exchange: &Exchange) -> Option<(TopicName, Arc<Route>)> {
        let mut routes = self.0.as_ref()?.routes.iter();
        let found = routes.find(|(known, _)| known.as_str() == topic)?;
        exchange.is_current(&found.1).then(|| found.clone())
    }

    /// Keeps a route, in place of the one of its topic or of the oldest.
    pub(super) fn put(&mut self, topic: TopicName, route: Arc<Route>) {
        let Known { routes, next } = &mut **self.0.get_or_insert_default();
        let place = routes.iter().position(|(known, _)| *known == topic);
        if route.targets.len() > TARGETS_MAX {
            place.map(|place| routes.swap_remove(place));
        } else if let Some(place) = place {
            routes[place] = (topic, route);
        } else if routes.len() < ROUTES_MAX {
            routes.push((topic, route));
        } else {
            routes[*next] = (topic, route);
            *next = (*next + 1) % ROUTES_MAX;
        }
    }
}
