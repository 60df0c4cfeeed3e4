//! The table against a list of subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt::packet::SubscriptionOptions;
use mqtt::{Sharing, TopicFilter};
use persistence::Store;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Match, Router, Subscription};
use crate::exchange::tests::{attach, exchange};
use crate::link::Link;

/// What the router says of a topic: the numbers of the sessions, and the filters of the groups
/// with their members.
type Found = (Vec<usize>, BTreeMap<String, BTreeSet<usize>>);

fn found(router: &Router, links: &[Arc<Link>], topic: &str) -> Found {
    let mut matches = Vec::new();
    router.matches(topic, &mut matches);
    assert_eq!(router.has_subscriber(topic), !matches.is_empty());
    let number = |link: &Arc<Link>| links.iter().position(|it| Arc::ptr_eq(it, link)).unwrap();
    let (mut each, mut groups) = (Vec::new(), BTreeMap::new());
    for it in matches {
        match it {
            Match::Each(subscription) => each.push(number(&subscription.link)),
            Match::Group(group) => {
                let is_member = |link: &&Arc<Link>| group.any(|it| Arc::ptr_eq(&it.link, link));
                let members = links.iter().filter(is_member).map(number).collect();
                groups.insert(group.filter.to_string(), members);
            }
        }
    }
    each.sort_unstable();
    (each, groups)
}

fn expected(model: &BTreeSet<(&str, usize)>, topic: &str) -> Found {
    let (mut each, mut groups) = (Vec::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for (text, session) in model {
        let filter = TopicFilter::new(text).unwrap();
        if !filter.matches(topic) {
            continue;
        }
        if filter.sharing() == Sharing::Each {
            each.push(*session);
        } else {
            groups
                .entry(filter.to_string())
                .or_default()
                .insert(*session);
        }
    }
    each.sort_unstable();
    (each, groups)
}

const SESSIONS: usize = 12;
const FILTERS: [&str; 15] = [
    "a",
    "a/b",
    "a/+",
    "a/#",
    "+/b",
    "$share/g/a/b",
    "$share/h/a/b",
    "$share/g/a/+",
    "$exclusive/a/b",
    "$exclusive/a/+",
    "$exclusive/c",
    "$SYS/a",
    "$SYS/#",
    "$share/g/$SYS/+",
    "c",
];

proptest! {
    #[test]
    fn router_agrees_with_a_list_of_subscriptions(
        steps in prop::collection::vec((select(&FILTERS[..]), 0..SESSIONS, 0..3), 0..300),
    ) {
        let exchange = exchange(Store::disabled());
        let links: Vec<_> = (0..SESSIONS)
            .map(|it| attach(&exchange, &it.to_string(), true, 0).link)
            .collect();
        let router = Router::new();
        let mut model = BTreeSet::new();
        for (text, session, step) in steps {
            let filter = TopicFilter::new(text).unwrap();
            if step == 0 {
                router.unsubscribe(&filter, &links[session]);
                model.remove(&(text, session));
                continue;
            }
            let is_other = |it: &&(&str, usize)| it.0 == text && it.1 != session;
            let is_free = filter.sharing() != Sharing::Exclusive || !model.iter().any(|it| is_other(&it));
            let subscription = Subscription {
                link: Arc::clone(&links[session]),
                options: SubscriptionOptions::default(),
                identifier: None,
            };
            prop_assert_eq!(router.subscribe(&filter, subscription), is_free);
            if is_free {
                model.insert((text, session));
            }
        }
        for topic in ["a", "a/b", "a/c", "b/b", "c", "d", "$SYS/a", "$SYS/b"] {
            prop_assert_eq!(found(&router, &links, topic), expected(&model, topic));
        }
        let is_reserved = |text: &str| TopicFilter::new(text).unwrap().pattern().starts_with('$');
        prop_assert_eq!(router.has_reserved(), model.iter().any(|it| is_reserved(it.0)));
        for (text, session) in model {
            router.unsubscribe(&TopicFilter::new(text).unwrap(), &links[session]);
        }
        prop_assert!(router.exact.iter().all(|it| it.read().is_empty()));
        prop_assert!(router.wildcard.read().is_empty());
        prop_assert!(!router.has_reserved());
        // Neither the table nor a group has a link any more; its session has one.
        prop_assert!(links.iter().all(|it| Arc::strong_count(it) == 2));
    }
}

#[test]
fn what_is_known_of_a_topic_is_old_when_a_filter_changes_that_may_match_it() {
    let exchange = exchange(Store::disabled());
    let link = attach(&exchange, "c", true, 0).link;
    let router = Router::new();
    let change = |filter: &str, subscribe: bool| {
        let filter = TopicFilter::new(filter).unwrap();
        if subscribe {
            let subscription = Subscription {
                link: Arc::clone(&link),
                options: SubscriptionOptions::default(),
                identifier: None,
            };
            assert!(router.subscribe(&filter, subscription));
        } else {
            router.unsubscribe(&filter, &link);
        }
    };
    let topics = ["a", "a/b", "/b", "$a/b"];
    for filter in [
        "a",
        "a/b",
        "a/+",
        "a/#",
        "+/b",
        "#",
        "/+",
        "$a/#",
        "$share/g/a/#",
    ] {
        for subscribe in [true, false] {
            let before = topics.map(|topic| router.matches(topic, &mut Vec::new()));
            assert!(before.iter().all(|it| router.is_current(it)));
            change(filter, subscribe);
            for (topic, generation) in topics.iter().zip(&before) {
                let matches = TopicFilter::new(filter).unwrap().matches(topic);
                assert!(
                    !(matches && router.is_current(generation)),
                    "{filter} {topic}"
                );
            }
        }
    }
    // Most others stay.
    let topics: Vec<_> = (0..100).map(|number| format!("{number}/b")).collect();
    let before = topics.iter().map(|it| router.matches(it, &mut Vec::new()));
    let before: Vec<_> = before.collect();
    change("a/#", true);
    let current = before.iter().filter(|it| router.is_current(it)).count();
    assert!(current > 50, "{current}");
    change("+/b", true);
    assert!(!before.iter().any(|it| router.is_current(it)));
}
