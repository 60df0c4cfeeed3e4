//! Routes: who receives the messages of one publisher to one topic, and how.

use std::cell::RefCell;
use std::num::NonZero;
use std::sync::Arc;

use mqtt::session::{Delivery, QueueClass};
use mqtt::{Message, QoS, TopicName};
use persistence::Durability;

use super::Exchange;
use crate::link::{Link, Storing};
use crate::router::{Generation, Match, Subscription};
use crate::share::{Choice, ShareGroup};

/// What the routing table and the rules say of one topic and one publisher. It can be kept as
/// long as it is current.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) topic: TopicName,
    /// What the publisher calls the topic, if that was rewritten.
    pub(crate) stated: Option<TopicName>,
    /// The sessions, each of them once.
    pub(crate) targets: Vec<Target>,
    /// The Shared Subscriptions.
    pub(crate) groups: Vec<Arc<ShareGroup>>,
    /// How safe its messages are.
    pub(crate) durability: Durability,
    /// How those of QoS 1 and 2 wait.
    class: QueueClass,
    generation: Generation,
}

/// One session that a message goes to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) link: Arc<Link>,
    /// The highest of its subscriptions.
    pub(crate) qos: QoS,
    /// The least, which is above 0 for bridges that keep everything.
    least_qos: QoS,
    retain_as_published: bool,
    /// Subscription Identifiers.
    pub(crate) identifiers: Box<[u32]>,
}

thread_local! {
    /// The matches of the topic that this thread is looking up; kept for its allocation.
    static MATCHES: RefCell<Vec<Match>> = const { RefCell::new(Vec::new()) };
}

impl Exchange {
    /// Looks up who receives what this publisher, or nobody in particular, publishes to a topic.
    pub(crate) fn resolve(&self, topic: &TopicName, publisher: Option<&Link>) -> Route {
        let mut matches = MATCHES.with(RefCell::take);
        let generation = self.router.matches(topic.as_str(), &mut matches);
        let mut each = Vec::with_capacity(matches.len());
        let mut groups = Vec::new();
        for found in matches.drain(..) {
            match found {
                Match::Each(subscription) => each.push(subscription),
                Match::Group(group) => groups.push(group),
            }
        }
        MATCHES.set(matches);
        Route {
            topic: topic.clone(),
            stated: None,
            targets: merge(each, publisher),
            groups,
            durability: self.bounds.durability.of(topic),
            class: self.bounds.queue_rules.class_of(topic, QoS::AtLeastOnce),
            generation,
        }
    }

    /// True while the route is what a new one would be.
    pub(crate) fn is_current(&self, route: &Route) -> bool {
        self.router.is_current(&route.generation)
    }

    /// What a choice in a group may depend on.
    pub(super) fn choice<'a>(&self, topic: &'a TopicName, publisher: &'a str) -> Choice<'a> {
        Choice {
            strategy: self.bounds.share_strategy,
            topic,
            publisher,
        }
    }
}

impl Route {
    /// The topic as its packets have it.
    pub(crate) fn stated(&self) -> &TopicName {
        self.stated.as_ref().unwrap_or(&self.topic)
    }

    /// Sessions that get a message at most; 1 if there are none.
    pub(crate) const fn receivers(&self) -> NonZero<u64> {
        let receivers = self.targets.len() + self.groups.len();
        NonZero::<u64>::MIN.saturating_add((receivers as u64).saturating_sub(1))
    }

    /// True if something of a message is to be in the store in several places.
    pub(super) fn is_stored_twice(&self) -> bool {
        let durable = self.targets.iter().filter(|it| it.link.durable().is_some());
        durable.count() + self.groups.len() > 1
    }

    /// How messages of this QoS wait; those of QoS 0 do not.
    pub(super) fn class(&self, qos: QoS) -> QueueClass {
        let class = qos.is_acknowledged().then_some(self.class);
        class.unwrap_or_default()
    }

    /// True if messages of both routes can be put in together: into the same sessions, and alike.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Target, &Target)| {
            Arc::ptr_eq(&one.link, &other.link)
                && one.qos == other.qos
                && one.least_qos == other.least_qos
                && one.identifiers == other.identifiers
        };
        self.targets.len() == other.targets.len()
            && self.groups.is_empty()
            && other.groups.is_empty()
            && self.durability == other.durability
            && self.class == other.class
            && self.targets.iter().zip(&other.targets).all(is_same)
    }
}

impl From<Subscription> for Target {
    fn from(subscription: Subscription) -> Self {
        let Subscription {
            link,
            options,
            identifier,
        } = subscription;
        Self {
            least_qos: link.least_qos(),
            link,
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            identifiers: identifier.map(NonZero::get).into_iter().collect(),
        }
    }
}

impl Target {
    /// The QoS with which a message is delivered that was published with this one.
    pub(crate) fn delivered_qos(&self, published: QoS) -> QoS {
        published.max(self.least_qos).min(self.qos)
    }

    pub(super) fn delivery(&self, message: &Arc<Message>, storing: &Storing<'_>) -> Delivery {
        Delivery {
            sequence: 0,
            message: Arc::clone(message),
            qos: self.delivered_qos(message.qos),
            retain: message.retain && self.retain_as_published,
            subscription_ids: self.identifiers.to_vec(),
            class: storing.class,
            expires_at: storing.expires_at,
        }
    }
}

/// Makes one target of the overlapping subscriptions of a session, with the highest QoS and all
/// identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-3].
fn merge(mut each: Vec<Subscription>, publisher: Option<&Link>) -> Vec<Target> {
    // Not the session counts, which may be another one by now, but its client [MQTT-3.8.3-3].
    let own = |it: &Subscription| publisher.is_some_and(|by| by.client_id == it.link.client_id);
    each.retain(|it| !(it.options.no_local && own(it)));
    let address = |it: &Subscription| Arc::as_ptr(&it.link).addr();
    if each.len() > 1 {
        each.sort_unstable_by_key(address);
    }
    let mut targets: Vec<Target> = Vec::with_capacity(each.len());
    for subscription in each {
        let known = targets.last_mut();
        let Some(target) = known.filter(|it| Arc::ptr_eq(&it.link, &subscription.link)) else {
            targets.push(subscription.into());
            continue;
        };
        target.qos = target.qos.max(subscription.options.qos);
        target.retain_as_published |= subscription.options.retain_as_published;
        let identifiers = target.identifiers.iter().copied();
        let more = subscription.identifier.map(NonZero::get);
        target.identifiers = identifiers.chain(more).collect();
    }
    targets
}
