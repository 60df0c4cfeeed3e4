//! A sum over a message, so that bytes that the disk has changed are not delivered.
//!
//! SQLite sums up its log, but not its database. The sum is the one that SQLite uses there: two
//! numbers that each take in the other one, over words of 32 bits. A change within one word always
//! changes it, other changes stay unseen once in 2^64. It costs between 1 and 2 percent of writing
//! the message.

use mqtt::{Message, TopicName};

/// The sum over topic, payload and properties as it stands in a column.
pub(crate) fn of(topic: &TopicName, message: &Message) -> i64 {
    let topic = topic.as_str().as_bytes();
    of_parts([topic, &message.payload, message.properties.as_bytes()])
}

/// The sum over several parts.
pub(crate) fn of_parts(parts: [&[u8]; 3]) -> i64 {
    let mut sum = Sum::default();
    parts.into_iter().for_each(|it| sum.take(it));
    i64::from_be_bytes(sum.bytes())
}

#[derive(Default)]
struct Sum {
    first: u32,
    second: u32,
}

impl Sum {
    /// Takes in a part, with its length, so that nothing can move from one part to the next.
    fn take(&mut self, part: &[u8]) {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            self.add(*word);
        }
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.add(last);
        self.add((part.len() as u64).to_le_bytes());
    }

    const fn add(&mut self, [a, b, c, d, e, f, g, h]: [u8; 8]) {
        let (low, high) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        self.first = self.first.wrapping_add(low).wrapping_add(self.second);
        self.second = self.second.wrapping_add(high).wrapping_add(self.first);
    }

    fn bytes(&self) -> [u8; 8] {
        let (first, second) = (u64::from(self.first), u64::from(self.second));
        (first << 32 | second).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use mqtt::packet::{ForwardedProperties, Property};

    use super::*;

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message::new(TopicName::new(topic).unwrap(), payload.to_vec())
    }

    fn sum(message: &Message) -> i64 {
        of(&message.topic, message)
    }

    #[test]
    fn the_sum_is_the_same_in_every_version() {
        let mut message = message("plant/line/7", b"21.5");
        assert_eq!(sum(&message), -6_460_088_601_259_345_102);
        message.properties = ForwardedProperties::from_properties([Property::ContentType("text")]);
        assert_eq!(sum(&message), -8_154_435_532_771_300_340);
    }

    #[test]
    fn each_bit_changes_the_sum() {
        let payload: Vec<u8> = (0..100).collect();
        let whole = sum(&message("t", &payload));
        for bit in 0..payload.len() * 8 {
            let mut payload = payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum(&message("t", &payload)), whole, "{bit}");
        }
    }

    #[test]
    fn what_moves_changes_the_sum() {
        let sums = [
            sum(&message("t", b"")),
            sum(&message("t", b"\0")),
            sum(&message("t", b"\0\0\0\0\0\0\0\0")),
            sum(&message("ta", b"b")),
            sum(&message("t", b"ab")),
            sum(&message("t", b"ba")),
        ];
        let different: std::collections::BTreeSet<_> = sums.into_iter().collect();
        assert_eq!(different.len(), sums.len());
    }
}
