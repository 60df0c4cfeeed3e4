//! What is live makes way after the backlog.

use mqtt::session::{WhenFull, number_of, range_of};

use super::{MESSAGES_MAX, Operation, Step, Topic, World, limits};

impl World {
    /// The store was asked to trim this range, and has not done so.
    pub(super) fn is_trimmed(&self, range: u8) -> bool {
        self.operations.iter().any(|it| match it {
            Operation::Trim(request) => range_of(request.to) == range,
            Operation::Put(_)
            | Operation::Remove(_)
            | Operation::Load(_)
            | Operation::Trimmed(..) => false,
        })
    }
}

/// The store is to trim one, and then the first one is superseded. They may be the same, and so
/// they are here: then the other one of the backlog still waits.
#[test]
fn a_backlog_of_which_one_is_trimmed_and_superseded_makes_way_first() {
    let mut world = World::new(limits(WhenFull::DropOldest));
    world.step(&Step::Share(50));
    world.enqueue(0, 1, Topic::Latest(0));
    world.enqueue(0, 1, Topic::Any);
    world.step(&Step::Connect);
    for _ in 2..MESSAGES_MAX {
        world.enqueue(0, 1, Topic::Any);
    }
    while world.work() {}
    // Now only the store has them.
    world.restart();
    world.enqueue(0, 1, Topic::Any);
    world.enqueue(0, 1, Topic::Latest(0));
    world.enqueue(0, 1, Topic::Any);
    while world.work() {}
    world.check();
    let mut numbers: Vec<u64> = world.waiting.keys().map(|it| number_of(*it)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(4..4 + MESSAGES_MAX));
    world.drain();
}

/// The first trim needs so many bytes that it takes what the second one was to remove. Then the
/// third one takes one of what came meanwhile, and the other one still waits.
#[test]
fn a_trim_that_takes_more_than_it_was_to_makes_no_room_twice() {
    let mut world = World::new(limits(WhenFull::DropOldest));
    for bytes in [810, 0, 0, 0, 0, 0, 0, 0] {
        world.enqueue(bytes, 2, Topic::Any);
    }
    world.enqueue(0, 1, Topic::Any);
    world.enqueue(91, 1, Topic::Any);
    while world.work() {}
    // Now only the store has them.
    world.restart();
    world.enqueue(12, 2, Topic::Any);
    world.enqueue(12, 2, Topic::Any);
    world.step(&Step::Work(2));
    assert!(world.is_trimmed(1), "the second one is under way");
    let is_first = |it: &u64| range_of(*it) == 1;
    assert!(!world.waiting.keys().any(is_first), "both are gone");
    world.enqueue(0, 1, Topic::Any);
    world.enqueue(0, 1, Topic::Any);
    world.enqueue(0, 2, Topic::Any);
    world.step(&Step::Share(50));
    world.step(&Step::Connect);
    world.enqueue(0, 1, Topic::Any);
    world.enqueue(0, 1, Topic::Any);
    while world.work() {}
    world.check();
    assert_eq!(world.waiting.len() as u64, MESSAGES_MAX);
    assert!(
        !world.waiting.keys().any(is_first),
        "the backlog went first"
    );
    world.drain();
}
