//! The receiver's side of QoS 2: which Packet Identifiers have been taken in (§4.3.3).

use std::collections::BTreeSet;

/// Packet Identifiers between PUBLISH and PUBREL.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    unreleased: BTreeSet<u16>,
}

/// Whether a QoS 2 PUBLISH is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Take it in.
    New,
    /// It was taken in already; only the PUBREC is repeated [MQTT-4.3.3-10].
    Repeated,
}

impl Inbound {
    /// Identifiers that a store remembered.
    #[must_use]
    pub fn recovered(packet_ids: impl IntoIterator<Item = u16>) -> Self {
        Self {
            unreleased: packet_ids.into_iter().collect(),
        }
    }

    /// A PUBLISH with this identifier came.
    pub fn receive(&mut self, packet_id: u16) -> Receive {
        if self.unreleased.insert(packet_id) {
            Receive::New
        } else {
            Receive::Repeated
        }
    }

    /// Whether a PUBLISH with this identifier came and was not released.
    #[must_use]
    pub fn contains(&self, packet_id: u16) -> bool {
        self.unreleased.contains(&packet_id)
    }

    /// A PUBREL came; false if the identifier was not known.
    pub fn release(&mut self, packet_id: u16) -> bool {
        self.unreleased.remove(&packet_id)
    }

    /// Identifiers that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.unreleased.len()
    }

    /// True if none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unreleased.is_empty()
    }
}
