//! The waiting line: in memory, in the store, or refused.

use std::collections::VecDeque;

use mqtt::QoS;
use mqtt::session::{
    Acknowledged, Delivery, Enqueue, Outgoing, PageRequest, QueueLimits, Session, WhenFull,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, delivery, number};

const MESSAGES_MAX: usize = 4;
const BYTES_MAX: usize = 3_000;
const STORED_MESSAGES_MAX: u64 = 12;
const LIMITS: QueueLimits = QueueLimits {
    messages_max: MESSAGES_MAX,
    bytes_max: BYTES_MAX,
    live_bytes_max: 0,
    stored_messages_max: STORED_MESSAGES_MAX,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};

#[derive(Clone, Debug)]
enum Step {
    /// A delivery with so many bytes of payload.
    Enqueue(usize),
    /// The next one is sent and acknowledged.
    Take,
    WantPage,
    /// The store answers, with so many entries at most.
    LoadPage(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop_oneof![0..100_usize, 1_000..4_000_usize].prop_map(Step::Enqueue),
        4 => Just(Step::Take),
        3 => Just(Step::WantPage),
        3 => (1..5_usize).prop_map(Step::LoadPage),
    ];
    vec(step, 1..300)
}

/// The line as it should be, and which part of it is in memory.
#[derive(Default)]
struct Model {
    line: VecDeque<Delivery>,
    in_memory: usize,
    /// The store said that there may be more although there was not: one more is believed to be
    /// there until it is asked again.
    is_unsure: bool,
    next_number: u64,
}

impl Model {
    fn bytes_in_memory(&self) -> usize {
        let front = self.line.iter().take(self.in_memory);
        front.map(|it| it.message.memory_bytes()).sum()
    }

    /// What becomes of the next delivery.
    fn enqueue(&mut self, mut delivery: Delivery, stored: bool) -> Enqueue {
        let is_full = self.in_memory >= MESSAGES_MAX
            || self.in_memory > 0 && self.bytes_in_memory() >= BYTES_MAX;
        let spills = is_full || self.has_more();
        let believed = self.line.len() as u64 + u64::from(self.is_unsure);
        if spills && !stored || believed >= STORED_MESSAGES_MAX {
            return Enqueue::Dropped;
        }
        self.next_number += 1;
        let sequence = self.next_number;
        delivery.sequence = sequence;
        self.line.push_back(delivery);
        if spills {
            return Enqueue::Spilled { sequence };
        }
        self.in_memory += 1;
        Enqueue::Kept { sequence }
    }

    /// True if something may be in the store only.
    fn has_more(&self) -> bool {
        self.is_unsure || self.in_memory < self.line.len()
    }

    /// The rows of a page, and whether there are no more.
    fn page(&mut self, request: PageRequest, count_max: usize) -> (Vec<Delivery>, bool) {
        let range = request.from..request.to;
        let rows = self.line.iter().filter(|it| range.contains(&it.sequence));
        let count = request.count.min(count_max);
        let page: Vec<_> = rows.take(count).cloned().collect();
        self.in_memory += page.len();
        let complete = page.len() < count;
        self.is_unsure = !complete && (self.is_unsure || self.in_memory == self.line.len());
        (page, complete)
    }
}

fn take(session: &mut Session) -> Option<u64> {
    let outgoing = session.next(NOW, &mut Vec::new())?;
    let Outgoing::Publish {
        delivery,
        packet_id,
        ..
    } = outgoing
    else {
        panic!("{outgoing:?}");
    };
    let done = session.inflight_mut().puback(packet_id);
    assert_eq!(done, Acknowledged::Done(delivery.sequence));
    Some(number(&delivery))
}

fn check(steps: Vec<Step>, stored: bool) {
    let mut session = Session::new(LIMITS, stored);
    session.resume(1);
    let mut model = Model::default();
    let mut wanted = None;
    let drain = [Step::Take, Step::WantPage, Step::LoadPage(4)];
    let steps = steps
        .into_iter()
        .chain(std::iter::repeat_n(drain, 20).flatten());
    for step in steps {
        match step {
            Step::Enqueue(bytes) => {
                let delivery = delivery(QoS::AtLeastOnce, model.next_number + 1, bytes);
                let has_room = session.has_room(&delivery);
                let outcome = session.enqueue(delivery.clone());
                assert_eq!(outcome, model.enqueue(delivery, stored));
                assert_eq!(outcome != Enqueue::Dropped, has_room);
            }
            Step::Take => {
                let expected = if model.in_memory > 0 {
                    model.in_memory -= 1;
                    model.line.pop_front()
                } else {
                    None
                };
                assert_eq!(take(&mut session), expected.as_ref().map(number));
            }
            Step::WantPage => {
                let request = session.page_wanted();
                assert!(request.is_none() || wanted.is_none(), "one page at a time");
                assert!(request.is_none() || model.has_more());
                let room = MESSAGES_MAX - model.in_memory;
                assert!(request.is_none_or(|it| it.count <= room.max(1)));
                wanted = wanted.or(request);
            }
            Step::LoadPage(count_max) => {
                if let Some(request) = wanted.take() {
                    let (page, complete) = model.page(request, count_max);
                    session.page_loaded(page, complete);
                }
            }
        }
        assert!(model.in_memory <= MESSAGES_MAX);
        assert_eq!(session.is_drained(), model.in_memory == 0);
    }
    assert_eq!(
        (model.line.len(), session.backlog()),
        (0, 0),
        "all is taken"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_line_that_goes_on_in_the_store_is_one_line(steps in steps()) {
        check(steps, true);
    }

    #[test]
    fn a_line_that_no_store_keeps_has_the_length_of_its_memory(steps in steps()) {
        check(steps, false);
    }
}
