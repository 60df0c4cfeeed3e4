//! Messages of a client that are not published.

use mqtt::connection::PendingAck;
use mqtt::packet::Property;
use mqtt::{Message, ReasonCode};
use persistence::Position;

use super::client::Client;
use super::outbox::Reply;
use crate::exchange::Refusal;
use crate::metrics::count;

/// What 0x83 means: it would be refused however often it is sent.
const NEVER_RETAINED: &str =
    "it is never retained: larger than retain.max_payload_size or retain.max_size";

impl Client {
    /// True if a message that asks for an answer is not to be taken now.
    pub(super) fn refuses(&self, message: &Message) -> bool {
        self.unanswered || self.exchange.refuses(message, self.refusal())
    }

    /// Answers a message that is not published. QoS 0 has no answer, and MQTT 3 no negative one.
    pub(super) fn refuse(&mut self, ack: Option<PendingAck>, reason: ReasonCode) {
        let Some(ack) = ack else {
            return;
        };
        // The client may use the identifier again at once [MQTT-4.3.3-9].
        if ack.is_pubrec() && self.protocol.version().is_v5() {
            self.link.lock().session.inbound.release(ack.packet_id());
        }
        let ack = ack.with_reason(reason);
        let mut reply = Reply::Ack(ack);
        if reason == ReasonCode::ImplementationSpecificError {
            let (said, mut answer) = (Property::ReasonString(NEVER_RETAINED), Vec::new());
            self.protocol.encode_ack_saying(ack, said, &mut answer);
            reply = Reply::Encoded(answer);
        }
        self.outbox.reply(Position(0), reply);
    }

    /// Does not take a message that the store cannot take, so that its publisher keeps it. MQTT 5
    /// has an answer for that; an MQTT 3 client sends it again when it connects again, which it is
    /// made to after a while.
    pub(super) fn refuse_for_now(&mut self, ack: PendingAck) {
        let now = self.exchange.now();
        count(&self.exchange.counters.refused);
        if self.refusal() == Refusal::Answer {
            return self.refuse(Some(ack), ReasonCode::QuotaExceeded);
        }
        self.unanswered = true;
        let mut state = self.link.lock();
        if ack.is_pubrec() {
            state.session.inbound.release(ack.packet_id());
        }
        state.unanswered_since.get_or_insert(now);
    }

    /// How the client can be told that a message is not taken.
    pub(super) fn refusal(&self) -> Refusal {
        if self.protocol.version().is_v5() {
            Refusal::Answer
        } else {
            Refusal::Silence
        }
    }
}
