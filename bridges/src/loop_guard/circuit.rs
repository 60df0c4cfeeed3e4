//! Whether what bridges bring can leave through them again.

use crate::config::{Config, Subscription};

/// Whether something that one of these bridges brings from its hub may be forwarded by one of them.
/// Only then can their broker be part of a circle. In doubt it is said to be.
pub fn may_return<'c>(bridges: impl Iterator<Item = &'c Config> + Clone) -> bool {
    let mut all = bridges.clone();
    all.any(|from| bridges.clone().any(|to| passes(from, to)))
}

/// The bridges that such a thing may come or leave by without its name: they speak MQTT 3, which
/// has no properties, so the guard does not stop what goes round through them.
pub fn nameless<'c, N>(
    bridges: impl Iterator<Item = (N, &'c Config)> + Clone,
) -> impl Iterator<Item = (N, &'c Config)> {
    let of_3 = bridges.clone().filter(|(_, it)| it.proto_ver < 5);
    of_3.filter(move |(_, own)| {
        let mut others = bridges.clone().map(|(_, it)| it);
        others.any(|other| passes(own, other) || passes(other, own))
    })
}

/// Whether something that one bridge brings may be forwarded by the other.
fn passes(from: &Config, to: &Config) -> bool {
    to.forwards.iter().any(|forward| {
        let out = forward.local_topic.0.pattern();
        let mut rules = from.subscription.iter();
        from.transparent || rules.any(|it| local(it).is_none_or(|local| meet(out, &local)))
    })
}

/// The filter of what a rule brings; none if that is not simple to say.
fn local(rule: &Subscription) -> Option<String> {
    let prefix = rule.prefix.0.as_literal()?;
    let topic = match &rule.local_topic {
        Some(topic) => topic.0.as_literal()?,
        None => "",
    };
    let topic = Some(topic).filter(|it| !it.is_empty());
    let topic = topic.unwrap_or_else(|| rule.remote_topic.0.pattern());
    let has_suffix = rule.suffix.0.as_literal() != Some("");
    (!has_suffix).then(|| format!("{prefix}{topic}"))
}

/// Whether a topic may match both filters.
fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(level), Some(its)) if level == its || level == "+" || its == "+" => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_in_and_out_can_go_round() {
        for (text, expected) in [
            ("forwards = [{ local_topic = '#' }]", false),
            ("subscription = [{ remote_topic = '#' }]", false),
            (
                "forwards = [{ local_topic = '#' }]\nsubscription = [{ remote_topic = '#' }]",
                true,
            ),
            (
                "forwards = [{ local_topic = 'data/#' }]\n\
                 subscription = [{ remote_topic = 'cmd/#' }]",
                false,
            ),
            (
                "forwards = [{ local_topic = 'data/#' }]\n\
                 subscription = [{ remote_topic = '7/cmd/#', local_topic = 'cmd/#' }]",
                false,
            ),
            (
                "forwards = [{ local_topic = 'data/#' }]\n\
                 subscription = [{ remote_topic = 'cmd/#', prefix = 'data/' }]",
                true,
            ),
            (
                "forwards = [{ local_topic = 'data/#' }]\n\
                 subscription = [{ remote_topic = '+/+', local_topic = '$2/$1' }]",
                true,
            ),
            (
                "forwards = [{ local_topic = 'a/+/c' }]\n\
                 subscription = [{ remote_topic = '+/b' }, { remote_topic = 'a/b/+' }]",
                true,
            ),
            (
                "transparent = true\nforwards = [{ local_topic = 'a' }]",
                true,
            ),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert_eq!(may_return([&config].into_iter()), expected, "{text}");
        }
        let out: Config = toml::from_str("forwards = [{ local_topic = 'a/#' }]").unwrap();
        let back: Config = toml::from_str("subscription = [{ remote_topic = 'a' }]").unwrap();
        assert!(may_return([&out, &back].into_iter()));
    }

    #[test]
    fn a_bridge_of_mqtt_3_in_a_circle_is_nameless() {
        let config = |proto_ver: u8, text: &str| -> Config {
            toml::from_str(&format!("proto_ver = {proto_ver}\n{text}")).unwrap()
        };
        let both = "forwards = [{ local_topic = '#' }]\nsubscription = [{ remote_topic = '#' }]";
        let out = "forwards = [{ local_topic = 'a/#' }]";
        let back = "subscription = [{ remote_topic = 'a' }]";
        let other = "subscription = [{ remote_topic = 'b' }]";
        for (bridges, expected) in [
            (vec![(4, both)], vec![0]),
            (vec![(3, both)], vec![0]),
            (vec![(5, both)], vec![]),
            (vec![(4, out), (5, back)], vec![0]),
            (vec![(5, out), (4, back)], vec![1]),
            (vec![(4, out), (3, back)], vec![0, 1]),
            (vec![(4, out), (4, other)], vec![]),
            (vec![(5, out), (5, back), (4, other)], vec![]),
        ] {
            let bridges = bridges
                .into_iter()
                .map(|(version, text)| config(version, text));
            let bridges: Vec<_> = bridges.collect();
            let found = nameless(bridges.iter().enumerate()).map(|it| it.0);
            assert_eq!(found.collect::<Vec<_>>(), expected, "{bridges:?}");
        }
    }

    #[test]
    fn filters_meet_where_a_topic_matches_both() {
        for (one, other, expected) in [
            ("#", "a", true),
            ("a/#", "a", true),
            ("a/#", "b/#", false),
            ("a/+", "a", false),
            ("a/+", "+/b", true),
            ("a/b", "a/b/c", false),
            ("+/b/#", "a/+/c", true),
        ] {
            assert_eq!(meet(one, other), expected, "{one} {other}");
            assert_eq!(meet(other, one), expected, "{other} {one}");
        }
    }
}
