//! An acknowledgement that is encoded once and sent with any Packet Identifier.

use mqtt::packet::{Ack, AckKind, Packet};
use mqtt::{ProtocolVersion, ReasonCode};

/// PUBACK, PUBREC, PUBREL or PUBCOMP that says yes.
#[derive(Clone, Debug)]
pub(super) struct Acknowledgement {
    /// What is before the identifier, which is the end.
    head: Vec<u8>,
}

impl Acknowledgement {
    pub(super) fn new(kind: AckKind, version: ProtocolVersion) -> Self {
        let mut head = Vec::new();
        Packet::Ack(Ack::new(kind, 1, ReasonCode::Success)).encode(version, &mut head);
        head.truncate(head.len() - 2);
        Self { head }
    }

    /// Appends one.
    pub(super) fn put(&self, out: &mut Vec<u8>, packet_id: u16) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&packet_id.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_codec_makes() {
        for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
            for kind in [
                AckKind::Puback,
                AckKind::Pubrec,
                AckKind::Pubrel,
                AckKind::Pubcomp,
            ] {
                let (mut ours, mut expected) = (Vec::new(), Vec::new());
                Acknowledgement::new(kind, version).put(&mut ours, 0x1234);
                let ack = Ack::new(kind, 0x1234, ReasonCode::Success);
                Packet::Ack(ack).encode(version, &mut expected);
                assert_eq!(ours, expected, "{kind:?}");
            }
        }
    }
}
