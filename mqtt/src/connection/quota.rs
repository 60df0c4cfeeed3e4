//! Flow control towards the sender (§4.9): its messages of QoS 1 and 2 that are not acknowledged to
//! the end.

use super::PendingAck;
use crate::packet::AckKind;
use crate::{ProtocolViolation, ReasonCode};

/// How many there are on one connection. MQTT 3 knows no Receive Maximum, so none are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceiveQuota(u16);

impl ReceiveQuota {
    /// Counts a message against the Receive Maximum [MQTT-3.3.4-9].
    pub(super) fn begin(&mut self, receive_maximum: u16) -> Result<(), ProtocolViolation> {
        if self.0 >= receive_maximum {
            let detail = "more messages than the receive maximum are unacknowledged";
            return Err(ProtocolViolation::new(
                ReasonCode::ReceiveMaximumExceeded,
                detail,
            ));
        }
        self.0 += 1;
        Ok(())
    }

    /// This is sent. The last acknowledgement of a message makes room for another; that of one
    /// from an earlier connection, which was not counted, makes none beyond the maximum.
    pub(super) const fn end(&mut self, ack: PendingAck) {
        let is_last = match ack.kind {
            AckKind::Puback | AckKind::Pubcomp => true,
            AckKind::Pubrec => ack.reason.is_error(),
            AckKind::Pubrel => false,
        };
        if is_last {
            self.0 = self.0.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_acknowledgement_of_a_message_makes_room() {
        let table = [
            (AckKind::Puback, ReasonCode::Success, true),
            (AckKind::Puback, ReasonCode::NotAuthorized, true),
            (AckKind::Pubrec, ReasonCode::Success, false),
            (AckKind::Pubrec, ReasonCode::NotAuthorized, true),
            (AckKind::Pubcomp, ReasonCode::Success, true),
            (AckKind::Pubcomp, ReasonCode::PacketIdentifierNotFound, true),
            (AckKind::Pubrel, ReasonCode::Success, false),
        ];
        for (kind, reason, makes_room) in table {
            let mut quota = ReceiveQuota::default();
            // What was not counted makes no room.
            quota.end(PendingAck::puback(9));
            assert!(quota.begin(2).is_ok());
            assert!(quota.begin(2).is_ok());
            quota.end(PendingAck::new(kind, 1, reason));
            let outcome = quota.begin(2).map_err(|it| it.reason);
            let expected = makes_room
                .then_some(())
                .ok_or(ReasonCode::ReceiveMaximumExceeded);
            assert_eq!(outcome, expected, "{kind:?}");
        }
    }
}
