//! Whether one filter has all topics of another.

use mqtt::{Sharing, TopicFilter};

/// Whether everything that `filter` matches comes by a subscription to `rule`.
pub(super) fn covers(rule: &TopicFilter, filter: &TopicFilter) -> bool {
    // A member of a group does not get everything.
    if matches!(rule.sharing(), Sharing::Group(_)) {
        return false;
    }
    let (mut ours, mut its) = (rule.pattern().split('/'), filter.pattern().split('/'));
    loop {
        match (ours.next(), its.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(own), Some(level)) if own == level => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_has_no_other_topics() {
        for (rule, filter, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/b", "a/+", false),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/+", true),
            ("a/#", "a/#", true),
            ("a/#", "#", false),
            ("#", "+/a", true),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("$share/g/a", "a", false),
        ] {
            let [ours, its] = [rule, filter].map(|it| TopicFilter::new(it).unwrap());
            assert_eq!(covers(&ours, &its), expected, "{rule} {filter}");
        }
    }
}
