//! Looking for the names that a filter matches, without looking at all others.

use std::collections::BTreeSet;
use std::collections::btree_set::Range;
use std::ops::Bound;

use super::super::filter::split_level;
use super::{ByTopic, HasTopic};

/// What follows `/` in the order of bytes: `a0` is behind everything that begins with `a/`.
const BEHIND_SEPARATOR: &str = "0";
/// Behind everything that begins with `$`.
const BEHIND_RESERVED: &str = "%";

/// The values whose names are looked at, in their order, and whether they match.
pub(super) struct Search<'t, V> {
    values: &'t BTreeSet<ByTopic<V>>,
    pattern: &'t str,
    rest: Range<'t, ByTopic<V>>,
    /// No name before this matches, from where the search is.
    seek: String,
}

/// What looking at a name says of it and of those behind it.
enum Look {
    Match,
    /// It does not match; the next one may.
    Next,
    /// No name before the one that was written down matches.
    Seek,
    /// No name behind it matches.
    End,
}

impl<'t, V: HasTopic> Search<'t, V> {
    pub(super) fn new(
        values: &'t BTreeSet<ByTopic<V>>,
        pattern: &'t str,
        start: Bound<&str>,
    ) -> Self {
        Self {
            values,
            pattern,
            rest: values.range::<str, _>((start, Bound::Unbounded)),
            seek: String::new(),
        }
    }

    /// The next value whose name may match.
    fn candidate(&mut self) -> Option<&'t V> {
        let next = &self.rest.next()?.0;
        if *next.topic().as_str() >= *self.seek {
            return Some(next);
        }
        let start = Bound::Included(&*self.seek);
        self.rest = self.values.range::<str, _>((start, Bound::Unbounded));
        self.rest.next().map(|it| &it.0)
    }

    /// Looks at a name, and writes down from where on the next match can be.
    fn look(&mut self, name: &str) -> Look {
        // `$` topics are not matched by a wildcard in the first level [MQTT-4.7.2-1].
        if name.starts_with('$') && self.pattern.starts_with(['+', '#']) {
            return self.seek_behind("", BEHIND_RESERVED);
        }
        let (mut levels, mut rest) = (Some(self.pattern), Some(name));
        // The name up to the end of the last level that `+` stands for.
        let mut free = None;
        while let Some((level, more)) = levels.map(split_level) {
            if level == "#" {
                return Look::Match;
            }
            let Some(text) = rest else {
                return Look::Next;
            };
            let (head, tail) = split_level(text);
            let before = name.get(..name.len() - text.len()).unwrap_or_default();
            if level == "+" {
                free = name.get(..before.len() + head.len());
            } else if level != head {
                return self.seek_level(before, text, (level, more.is_some()), free);
            }
            (levels, rest) = (more, tail);
        }
        match rest {
            None => Look::Match,
            Some(_) => self.leave(free),
        }
    }

    /// A name that goes on with `text` behind `before` should go on with this level, and more
    /// behind it or not.
    fn seek_level(
        &mut self,
        before: &str,
        text: &str,
        (level, has_more): (&str, bool),
        free: Option<&str>,
    ) -> Look {
        if text < level {
            return self.seek_behind(before, level);
        }
        // `a-` is between `a` and `a/`.
        let behind = text.strip_prefix(level);
        if has_more && behind.is_some_and(|it| it < "/") {
            self.seek_behind(before, level);
            self.seek.push('/');
            return Look::Seek;
        }
        self.leave(free)
    }

    /// Nothing else that begins like this up to the last free level matches.
    fn leave(&mut self, free: Option<&str>) -> Look {
        free.map_or(Look::End, |free| self.seek_behind(free, BEHIND_SEPARATOR))
    }

    fn seek_behind(&mut self, before: &str, behind: &str) -> Look {
        self.seek.clear();
        self.seek.push_str(before);
        self.seek.push_str(behind);
        Look::Seek
    }
}

impl<'t, V: HasTopic> Iterator for Search<'t, V> {
    type Item = (&'t V, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.candidate()?;
        match self.look(value.topic().as_str()) {
            Look::Match => return Some((value, true)),
            Look::Next | Look::Seek => {}
            Look::End => self.rest = Range::default(),
        }
        Some((value, false))
    }
}
