//! What one hub has of the filters.

use std::collections::HashMap;

use mqtt::{QoS, TopicFilter};

/// How a filter stands at a hub that has it or was asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be there from an earlier connection.
    Unknown,
    /// The hub was asked to make or end the subscription and has not answered.
    InQuestion,
    /// It is there, as it was asked for.
    Has(QoS),
    /// The hub has refused it on this connection.
    Refused,
}

/// What one hub may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    standings: HashMap<TopicFilter, Standing>,
    /// Those that are not refused.
    held: usize,
}

impl Place {
    /// Begins a connection. Returns the filters that were known.
    pub(super) fn begin(&mut self, session_present: bool) -> Vec<TopicFilter> {
        let known = self.filters();
        if session_present {
            self.standings.retain(|_, it| *it != Standing::Refused);
            self.standings
                .values_mut()
                .for_each(|it| *it = Standing::Unknown);
        } else {
            self.standings = HashMap::new();
        }
        self.held = self.standings.len();
        known
    }

    pub(super) fn filters(&self) -> Vec<TopicFilter> {
        self.standings.keys().cloned().collect()
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<Standing> {
        self.standings.get(filter).copied()
    }

    pub(super) fn set(&mut self, filter: &TopicFilter, standing: Option<Standing>) {
        let before = match standing {
            Some(standing) => self.standings.insert(filter.clone(), standing),
            None => self.standings.remove(filter),
        };
        let counts =
            |it: Option<Standing>| usize::from(it.is_some_and(|it| it != Standing::Refused));
        self.held = self.held + counts(standing) - counts(before);
    }

    /// Filters that the hub may have.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Whether the hub may have a filter.
    pub(super) fn holds(&self, filter: &TopicFilter) -> bool {
        self.get(filter).is_some_and(|it| it != Standing::Refused)
    }
}
