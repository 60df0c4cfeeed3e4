//! Deliveries of QoS 0 that wait, which few sessions have.

use std::collections::VecDeque;

use super::Delivery;

/// They take memory only while there are some.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Option<Box<Waiting>>);

#[derive(Clone, Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Live {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of memory that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.bytes)
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += delivery.message.memory_bytes();
        waiting.deliveries.push_back(delivery);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let waiting = self.0.as_mut()?;
        let delivery = waiting.deliveries.pop_front();
        waiting.bytes -= delivery.as_ref().map_or(0, |it| it.message.memory_bytes());
        if waiting.deliveries.is_empty() {
            self.0 = None;
        }
        delivery
    }
}
