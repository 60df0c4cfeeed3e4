//! What QoS 1 promises of numbered messages: all of them, in order in each topic, and repeated
//! only where a connection was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Where and how much may be repeated.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// How often a topic may go back to an earlier number: once for each lost connection.
    pub steps_max: usize,
    /// How many messages of a topic may be repeated each time: the windows of unacknowledged
    /// messages on the way.
    pub messages_max: usize,
}

/// Nothing is repeated.
pub const NO_REPEATS: Repeats = Repeats {
    steps_max: 0,
    messages_max: 0,
};

/// Checks that the messages carry all these numbers, and per topic in order. A repetition goes on
/// in order from the number that it went back to: `1 2 3 2 3 4` is allowed, `1 2 3 2 4` is not.
///
/// # Panics
/// They do not.
#[track_caller]
pub fn assert_complete(
    what: &str,
    messages: &[(String, u64)],
    numbers: RangeInclusive<u64>,
    repeats: Repeats,
) {
    let found: BTreeSet<u64> = messages.iter().map(|(_, number)| *number).collect();
    let missing: Vec<u64> = numbers.clone().filter(|it| !found.contains(it)).collect();
    let shown: Vec<_> = missing.iter().take(10).collect();
    let count = missing.len();
    assert!(
        missing.is_empty(),
        "{what}: {count} are missing: {shown:?}…"
    );
    assert_eq!(found.len(), numbers.count(), "{what}: others came too");
    assert_ordered(what, messages, repeats);
}

/// Checks the order only.
///
/// # Panics
/// It is wrong.
#[track_caller]
pub fn assert_ordered(what: &str, messages: &[(String, u64)], repeats: Repeats) {
    let mut topics: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (topic, number) in messages {
        topics.entry(topic).or_default().push(*number);
    }
    for (topic, numbers) in topics {
        check_topic(&numbers, repeats)
            .unwrap_or_else(|problem| panic!("{what}: {topic}: {problem}"));
    }
}

fn check_topic(numbers: &[u64], repeats: Repeats) -> Result<(), String> {
    let order: Vec<u64> = numbers
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut steps = 0;
    // Positions in `order`: the next one that is due, and the highest that was due.
    let (mut next, mut highest) = (0, 0);
    for number in numbers {
        let position = order
            .binary_search(number)
            .map_err(|_| "not a number".to_owned())?;
        if position > next {
            let due = order.get(next).copied().unwrap_or_default();
            return Err(format!("{number} came before {due}"));
        }
        if position < next {
            steps += 1;
            let count = highest - position;
            if count > repeats.messages_max {
                return Err(format!("went back by {count} messages, to {number}"));
            }
        }
        next = position + 1;
        highest = highest.max(next);
    }
    if steps > repeats.steps_max {
        return Err(format!("went back {steps} times"));
    }
    if next < highest {
        return Err("ended in a repetition".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Repeats = Repeats {
        steps_max: 1,
        messages_max: 2,
    };

    #[test]
    fn repetitions_are_told_from_disorder() {
        let table: [(&[u64], Repeats, bool); 9] = [
            (&[1, 2, 3], NO_REPEATS, true),
            (&[2, 1, 3], NO_REPEATS, false),
            (&[2, 1, 3], ONE, false),
            (&[1, 1, 2], NO_REPEATS, false),
            (&[1, 2, 3, 2, 3, 4], ONE, true),
            (&[1, 2, 3, 2, 4], ONE, false),
            (&[1, 2, 3, 1, 2, 3], ONE, false),
            (&[1, 1, 2, 2], ONE, false),
            (&[1, 2, 3, 2], ONE, false),
        ];
        for (numbers, repeats, expected) in table {
            let result = check_topic(numbers, repeats);
            assert_eq!(result.is_ok(), expected, "{numbers:?} {result:?}");
        }
    }

    #[test]
    #[should_panic(expected = "1 are missing: [2]")]
    fn a_missing_number_is_found() {
        let messages = [("a".to_owned(), 1), ("b".to_owned(), 3)];
        assert_complete("test", &messages, 1..=3, NO_REPEATS);
    }
}
