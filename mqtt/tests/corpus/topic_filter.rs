//! Topic Names and Topic Filters against the rules of §4.7 taken literally.
//!
//! The input is text. Each of its lines is tried as a name and as a filter; then every filter is
//! matched against every name.

use std::collections::BTreeSet;

use mqtt::{FilterTree, NameTree, Sharing, TOPIC_LEVELS_MAX, TopicFilter, TopicName};

const LINES_MAX: usize = 12;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: BTreeSet<&str> = text.split('\n').take(LINES_MAX).collect();
    for line in &lines {
        check_rules(line);
    }
    let names: BTreeSet<TopicName> = lines
        .iter()
        .filter_map(|line| TopicName::new(line).ok())
        .collect();
    let filters: BTreeSet<TopicFilter> = lines
        .iter()
        .filter_map(|line| TopicFilter::new(line).ok())
        .collect();
    for filter in &filters {
        for name in &names {
            check_captures(filter, name.as_str());
        }
    }
    check_filter_tree(&filters, &names);
    check_name_tree(&filters, &names);
}

/// What §4.7, §4.8.2 and the limit on levels say about a string.
fn check_rules(text: &str) {
    let is_topic = (1..=65_535).contains(&text.len())
        && !text.contains('\0')
        && text.split('/').count() <= TOPIC_LEVELS_MAX;
    let is_name = is_topic && !text.contains(['+', '#']);
    assert_eq!(TopicName::check(text).is_ok(), is_name, "name {text:?}");
    let prefix = split_prefix(text).filter(|(_, pattern)| is_topic && is_pattern(pattern));
    let filter = TopicFilter::new(text).ok();
    let found = filter.as_ref().map(|it| (it.sharing(), it.pattern()));
    assert_eq!(found, prefix, "filter {text:?}");
    if let Some(filter) = &filter {
        assert_eq!(filter.as_str(), text);
        let is_plain = !filter.pattern().contains(['+', '#']);
        assert_eq!(filter.has_wildcard(), !is_plain, "{text:?}");
    }
}

/// Who shares a filter, and what it matches; none if the prefix is malformed.
fn split_prefix(text: &str) -> Option<(Sharing<'_>, &str)> {
    let mut levels = text.splitn(3, '/');
    match (levels.next()?, levels.next(), levels.next()) {
        ("$share", None, _) => Some((Sharing::Each, text)),
        ("$share", Some(name), Some(pattern)) => {
            let is_name = !name.is_empty() && !name.contains(['+', '#']);
            is_name.then_some((Sharing::Group(name), pattern))
        }
        ("$share", Some(_), None) => None,
        _ => match text.split_once('/') {
            Some(("$exclusive", pattern)) => Some((Sharing::Exclusive, pattern)),
            _ => Some((Sharing::Each, text)),
        },
    }
}

fn is_pattern(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let (last, parents) = levels.split_last().unwrap();
    let is_level = |level: &str| level == "+" || !level.contains(['+', '#']);
    !text.is_empty()
        && parents.iter().all(|level| is_level(level))
        && (*last == "#" || is_level(last))
}

/// §4.7.1 and §4.7.2, level by level.
fn matches(pattern: &str, name: &str) -> bool {
    fn levels_match(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => levels_match(filter, name),
            ([level, filter @ ..], [other, name @ ..]) => {
                level == other && levels_match(filter, name)
            }
            ([], _) | (_, []) => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let is_hidden = name.starts_with('$') && matches!(pattern[0], "+" | "#");
    !is_hidden && levels_match(&pattern, &name.split('/').collect::<Vec<_>>())
}

/// A filter matches as it should, and with its captures in place of the wildcards it is the name.
fn check_captures(filter: &TopicFilter, name: &str) {
    let captures = filter.captures(name);
    let expected = matches(filter.pattern(), name);
    assert_eq!(filter.matches(name), expected, "{filter} on {name}");
    assert_eq!(captures.is_some(), expected, "{filter} on {name}");
    let Some(captures) = captures else { return };
    let mut pieces = captures.iter().copied();
    let levels = filter.pattern().split('/').map(|level| match level {
        "+" | "#" => pieces.next().expect("a piece for each wildcard"),
        _ => level,
    });
    let filled = levels.collect::<Vec<_>>().join("/");
    assert_eq!(pieces.next(), None, "a wildcard for each piece");
    // `a/#` captures nothing from `a`.
    let parent = filled.strip_suffix('/').unwrap_or(&filled);
    assert!(filled == name || parent == name, "{filter} on {name}");
}

fn check_filter_tree(filters: &BTreeSet<TopicFilter>, names: &BTreeSet<TopicName>) {
    let mut left: BTreeSet<&str> = filters.iter().map(TopicFilter::pattern).collect();
    let mut tree: FilterTree<&str> = FilterTree::default();
    for pattern in &left {
        *tree.get_or_insert_default(pattern) = pattern;
    }
    while !left.is_empty() {
        assert_eq!(tree.len(), left.len());
        for name in names {
            let mut found = Vec::new();
            tree.visit_matches(name.as_str(), |pattern| found.push(*pattern));
            found.sort_unstable();
            let expected = left.iter().filter(|it| matches(it, name.as_str()));
            assert!(found.iter().eq(expected), "{name:?} in {left:?}: {found:?}");
        }
        // Every other pattern, so that branches are cut at different places.
        let removed: Vec<_> = left.iter().step_by(2).copied().collect();
        for pattern in removed {
            left.remove(pattern);
            assert_eq!(tree.get_mut(pattern).copied(), Some(pattern));
            assert_eq!(tree.remove(pattern), Some(pattern));
            assert_eq!(tree.remove(pattern), None);
            assert_eq!(tree.get_mut(pattern), None);
        }
    }
    assert!(tree.is_empty());
}

fn check_name_tree(filters: &BTreeSet<TopicFilter>, names: &BTreeSet<TopicName>) {
    let mut tree = NameTree::default();
    for name in names {
        assert_eq!(tree.insert(name.clone()), None);
    }
    assert_eq!(tree.len(), names.len());
    for filter in filters {
        for after in names.iter().map(Some).chain([None]) {
            let found = tree.matches(filter, after);
            let expected = names
                .iter()
                .filter(|name| matches(filter.pattern(), name.as_str()))
                .filter(|name| after.is_none_or(|after| *name > after));
            assert!(found.eq(expected), "{filter} after {after:?} in {names:?}");
        }
    }
    for name in names {
        assert_eq!(tree.get(name), Some(name));
        assert_eq!(tree.remove(name).as_ref(), Some(name));
        assert_eq!(tree.get(name), None);
    }
    assert!(tree.is_empty());
}
