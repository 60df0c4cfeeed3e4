//! A PUBLISH that is larger than the client takes, of a server that cannot be told so.

use super::ClientConnection;
use crate::connection::PendingAck;
use crate::packet::{PacketType, PublishHeader};
use crate::{ProtocolViolation, ReasonCode};

/// What is known of it before all of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OversizedPublish<'p> {
    /// The Topic Name.
    pub topic: &'p str,
    /// Bytes of the whole packet, at most 268,435,460.
    pub length: usize,
    /// What ends it once all of it has come; none for QoS 0.
    pub ack: Option<PendingAck>,
}

impl ClientConnection {
    /// Reads the front of a packet that is too large, of which `bytes` has the beginning; none if
    /// more of them are needed, which are 65,544 at most.
    ///
    /// # Errors
    /// It is no PUBLISH, or malformed, or of a server that was told the Maximum Packet Size: the
    /// connection is closed.
    pub fn oversized<'p>(
        &self,
        bytes: &'p [u8],
    ) -> Result<Option<OversizedPublish<'p>>, ProtocolViolation> {
        let first = bytes.first();
        let is_publish = first.is_some_and(|it| it >> 4 == PacketType::Publish as u8);
        if self.version.is_v5() || !is_publish {
            let detail = "the packet is larger than its receiver accepts";
            return Err(ProtocolViolation::new(ReasonCode::PacketTooLarge, detail));
        }
        let Some((header, length)) = PublishHeader::begun(bytes, self.version)? else {
            return Ok(None);
        };
        Ok(Some(OversizedPublish {
            topic: header.topic,
            length,
            ack: self.acknowledgement(&header)?,
        }))
    }
}
