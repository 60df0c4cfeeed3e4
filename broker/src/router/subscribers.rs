//! Everybody who subscribes to one filter.

use std::sync::Arc;

use mqtt::{Sharing, TopicFilter};

use super::{Match, Members, Subscription};
use crate::link::Link;
use crate::share::ShareGroup;

/// The subscriptions to one filter. One alone, which is what most filters have, is in its place.
#[derive(Debug, Default)]
pub(super) enum Subscribers {
    #[default]
    Nobody,
    One(Subscription),
    Many(Box<Crowd>),
}

// The table has one for each filter.
const _: () = assert!(size_of::<Option<Subscribers>>() == 16);

/// The subscriptions to one filter if there are several, or groups.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    each: Members,
    groups: Vec<Arc<ShareGroup>>,
}

impl Subscribers {
    /// Makes or replaces a subscription. False if the filter is another session's exclusively.
    pub(super) fn put(&mut self, filter: &TopicFilter, new: Subscription) -> bool {
        let is_shared = filter.sharing() != Sharing::Each;
        match self {
            Self::Nobody if !is_shared => {
                *self = Self::One(new);
                return true;
            }
            Self::One(known) if !is_shared && Arc::ptr_eq(&known.link, &new.link) => {
                *known = new;
                return true;
            }
            Self::Many(crowd) => return crowd.put(filter, new),
            Self::Nobody | Self::One(_) => {}
        }
        let mut crowd = Box::<Crowd>::default();
        if let Self::One(known) = std::mem::take(self) {
            crowd.each.put(known);
        }
        let is_put = crowd.put(filter, new);
        *self = Self::Many(crowd);
        is_put
    }

    /// Removes the session's subscription; true if none is left.
    pub(super) fn remove(&mut self, filter: &TopicFilter, link: &Link) -> bool {
        match self {
            Self::Nobody => true,
            Self::One(known) => {
                filter.sharing() == Sharing::Each && std::ptr::eq(&*known.link, link)
            }
            Self::Many(crowd) => {
                crowd.remove(filter, link);
                let is_empty = crowd.each.is_empty() && crowd.groups.is_empty();
                if let Some(last) = crowd.take_last() {
                    *self = Self::One(last);
                }
                is_empty
            }
        }
    }

    /// The group of a Shared Subscription.
    pub(super) fn group(&self, share: &TopicFilter) -> Option<&Arc<ShareGroup>> {
        match self {
            Self::Nobody | Self::One(_) => None,
            Self::Many(crowd) => crowd.groups.iter().find(|group| group.filter == *share),
        }
    }

    /// The highest of what these subscriptions have.
    pub(super) fn highest<T: Ord>(&self, of: impl Fn(&Subscription) -> Option<T>) -> Option<T> {
        match self {
            Self::Nobody => None,
            Self::One(subscription) => of(subscription),
            Self::Many(crowd) => {
                let each = crowd.each.iter().filter_map(&of).max();
                let groups = crowd.groups.iter().filter_map(|it| it.highest(&of)).max();
                each.max(groups)
            }
        }
    }

    pub(super) fn append(&self, found: &mut Vec<Match>) {
        match self {
            Self::Nobody => {}
            Self::One(subscription) => found.push(Match::Each(subscription.clone())),
            Self::Many(crowd) => {
                found.extend(crowd.each.iter().cloned().map(Match::Each));
                found.extend(crowd.groups.iter().cloned().map(Match::Group));
            }
        }
    }
}

impl Crowd {
    fn put(&mut self, filter: &TopicFilter, new: Subscription) -> bool {
        if filter.sharing() == Sharing::Each {
            self.each.put(new);
            return true;
        }
        if let Some(group) = self.groups.iter().find(|it| it.filter == *filter) {
            return group.join(new);
        }
        let group = ShareGroup::new(filter.clone());
        let is_joined = group.join(new);
        self.groups.push(Arc::new(group));
        is_joined
    }

    fn remove(&mut self, filter: &TopicFilter, link: &Link) {
        if filter.sharing() == Sharing::Each {
            self.each.remove(link);
        } else {
            self.groups
                .retain(|group| group.filter != *filter || !group.leave(link));
        }
    }

    /// The only subscription, if there is nothing else.
    fn take_last(&mut self) -> Option<Subscription> {
        let is_last = self.groups.is_empty() && self.each.len() == 1;
        is_last.then(|| self.each.pop()).flatten()
    }
}
