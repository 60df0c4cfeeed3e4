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
