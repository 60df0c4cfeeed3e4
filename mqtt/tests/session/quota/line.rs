//! Queues without a store.

use mqtt::QoS;
use mqtt::session::{Enqueue, Outgoing, QueueLimits, Session, WhenFull};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{BYTES_MAX, MESSAGES_MAX, limits, when_full};
use crate::{NOW, delivery, number};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Without a store the line is as simple as this.
    #[test]
    fn a_line_in_memory_drops_what_its_policy_says(
        steps in vec((0..200_usize, 0..=3_u8, any::<bool>()), 1..100),
        when_full in when_full(),
    ) {
        let limits = QueueLimits {
            messages_max: 100,
            bytes_max: 1 << 20,
            ..limits(when_full)
        };
        let mut session = Session::new(limits, false);
        session.resume(100);
        let mut line: Vec<(u8, u64, u64)> = Vec::new();
        for ((bytes, lane, takes), count) in steps.into_iter().zip(1..) {
            let mut delivery = delivery(QoS::AtLeastOnce, count, bytes);
            delivery.class.lane = lane;
            let size = delivery.message.byte_count() as u64;
            let is_full = |line: &[(u8, u64, u64)]| {
                line.len() as u64 >= MESSAGES_MAX
                    || line.iter().map(|it| it.2).sum::<u64>() + size > BYTES_MAX
            };
            let mut after = line.clone();
            while is_full(&after) {
                let losers = after.iter().filter(|it| match when_full {
                    WhenFull::RejectNew => it.0 < lane,
                    WhenFull::DropOldest => it.0 <= lane,
                });
                let Some(&loser) = losers.min_by_key(|it| (it.0, it.1)) else {
                    break;
                };
                after.retain(|it| *it != loser);
            }
            let fits = !is_full(&after);
            prop_assert_eq!(session.enqueue(delivery) != Enqueue::Dropped, fits);
            let evicted = session.take_evicted();
            if fits {
                prop_assert_eq!(evicted.len(), line.len() - after.len());
                after.push((lane, count, size));
                line = after;
            } else {
                prop_assert!(evicted.is_empty());
            }
            if takes {
                let sent = session.next(NOW, &mut Vec::new());
                let first = line.iter().copied().min_by_key(|it| (3 - it.0, it.1));
                let taken = sent.map(|it| match it {
                    Outgoing::Publish { delivery, packet_id, .. } => {
                        session.inflight_mut().puback(packet_id);
                        number(&delivery)
                    }
                    Outgoing::Release(_) => 0,
                });
                prop_assert_eq!(taken, first.map(|it| it.1));
                line.retain(|it| Some(*it) != first);
            }
        }
    }
}
