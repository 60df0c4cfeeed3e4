//! Deliveries of QoS 2 that their receiver has, and whose contents are kept until PUBCOMP.
//!
//! The specification lets a sender give up the content with PUBREC (§4.3.3). A receiver that
//! forgets its session before it has handled PUBREL then loses the message, so a sender that has
//! promised not to lose it keeps it.

use super::{Acknowledged, Inflight, State};
use crate::QoS;

impl Inflight {
    /// A PUBREC came from a receiver that may forget it: the content is kept until PUBCOMP.
    pub fn received(&mut self, packet_id: u16) -> Acknowledged {
        let index = self.position(packet_id, |state| !state.awaits(QoS::AtLeastOnce));
        match index.and_then(|it| self.entries.get_mut(it)) {
            Some(entry) => {
                entry.state = match std::mem::replace(&mut entry.state, State::Released) {
                    State::Published(delivery) => State::Received(delivery),
                    State::Encoded(_) => State::Released,
                    state @ (State::Released | State::Received(_)) => state,
                };
                Acknowledged::Release(entry.sequence)
            }
            None => Acknowledged::Unknown,
        }
    }

    /// True if something is kept that the receiver has and may forget.
    #[must_use]
    pub fn keeps_received(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|it| matches!(it.state, State::Received(_)))
    }

    /// The receiver has forgotten what it had: what is kept of it is to be published again, in its
    /// order, at the next connection.
    pub fn receiver_forgot(&mut self) {
        for entry in &mut self.entries {
            entry.state = match std::mem::replace(&mut entry.state, State::Released) {
                State::Received(delivery) => State::Published(delivery),
                state @ (State::Published(_) | State::Encoded(_) | State::Released) => state,
            };
        }
    }
}
