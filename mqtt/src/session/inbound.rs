//! The receiver's side of QoS 2: which Packet Identifiers have been taken in (§4.3.3).

/// Packet Identifiers between PUBLISH and PUBREL.
///
/// They follow each other as a rule, so a word has a bit for each of 64.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// In their order; none is empty.
    words: Vec<Word>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    /// The identifiers from 64 times this on.
    number: u16,
    bits: u64,
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
        let mut inbound = Self::default();
        for packet_id in packet_ids {
            inbound.receive(packet_id);
        }
        inbound
    }

    /// The word that has this identifier, or the place for it, and its bit.
    fn find(&self, packet_id: u16) -> (Result<usize, usize>, u64) {
        let number = packet_id / 64;
        let place = self.words.binary_search_by_key(&number, |it| it.number);
        (place, 1 << (packet_id % 64))
    }

    /// A PUBLISH with this identifier came.
    pub fn receive(&mut self, packet_id: u16) -> Receive {
        let (place, bit) = self.find(packet_id);
        match place {
            Ok(place) if self.words[place].bits & bit != 0 => return Receive::Repeated,
            Ok(place) => self.words[place].bits |= bit,
            Err(place) => {
                let number = packet_id / 64;
                self.words.insert(place, Word { number, bits: bit });
            }
        }
        self.len += 1;
        Receive::New
    }

    /// Whether a PUBLISH with this identifier came and was not released.
    #[must_use]
    pub fn contains(&self, packet_id: u16) -> bool {
        let (place, bit) = self.find(packet_id);
        place.is_ok_and(|place| self.words[place].bits & bit != 0)
    }

    /// A PUBREL came; false if the identifier was not known.
    pub fn release(&mut self, packet_id: u16) -> bool {
        let (Ok(place), bit) = self.find(packet_id) else {
            return false;
        };
        let word = &mut self.words[place];
        let is_known = word.bits & bit != 0;
        word.bits &= !bit;
        if word.bits == 0 {
            self.words.remove(place);
        }
        self.len -= usize::from(is_known);
        // An idle session keeps nothing.
        if self.len == 0 {
            self.words = Vec::new();
        }
        is_known
    }

    /// The identifiers that are held, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.words.iter().flat_map(|word| {
            let is_set = |bit: &u16| word.bits >> bit & 1 == 1;
            (0..64).filter(is_set).map(|bit| word.number * 64 + bit)
        })
    }

    /// Identifiers that are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if none is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in vec((prop_oneof![1..200_u16, 65_400..=u16::MAX], any::<bool>()), 1..300)) {
            let mut inbound = Inbound::default();
            let mut model = BTreeSet::new();
            for (packet_id, receives) in steps {
                prop_assert_eq!(inbound.contains(packet_id), model.contains(&packet_id));
                if receives {
                    let is_new = model.insert(packet_id);
                    prop_assert_eq!(inbound.receive(packet_id) == Receive::New, is_new);
                } else {
                    prop_assert_eq!(inbound.release(packet_id), model.remove(&packet_id));
                }
                prop_assert_eq!(inbound.len(), model.len());
                prop_assert_eq!(inbound.is_empty(), model.is_empty());
            }
            let recovered = Inbound::recovered(model.iter().copied());
            prop_assert!((0..=u16::MAX).all(|it| recovered.contains(it) == model.contains(&it)));
        }
    }
}
