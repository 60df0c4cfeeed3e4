//! Damage to an encoded packet.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::value::frame;

/// One change of the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    kind: Kind,
    at: Index,
    /// The Remaining Length says what is there.
    mended: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Truncate,
    Flip(u8),
    Set(u8),
    Insert(u8),
    Remove,
    /// Repeats so many bytes.
    Repeat(usize),
}

pub(crate) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let kind = prop_oneof![
        Just(Kind::Truncate),
        (0..8_u8).prop_map(Kind::Flip),
        any::<u8>().prop_map(Kind::Set),
        (0..4_u8).prop_map(Kind::Set),
        any::<u8>().prop_map(Kind::Insert),
        (0..4_u8).prop_map(Kind::Insert),
        Just(Kind::Remove),
        (1..12_usize).prop_map(Kind::Repeat),
    ];
    let mended = prop_oneof![4 => Just(true), 1 => Just(false)];
    let mutation = (kind, any::<Index>(), mended);
    vec(
        mutation.prop_map(|(kind, at, mended)| Mutation { kind, at, mended }),
        1..4,
    )
}

impl Mutation {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if !self.mended {
            self.change(bytes);
            return;
        }
        let header = 2 + bytes
            .iter()
            .skip(1)
            .take(3)
            .take_while(|it| **it > 0x7F)
            .count();
        let mut rest: Vec<u8> = bytes.drain(header.min(bytes.len())..).collect();
        if !rest.is_empty() {
            self.change(&mut rest);
        }
        *bytes = frame(bytes[0], &rest);
    }

    fn change(&self, bytes: &mut Vec<u8>) {
        let at = self.at.index(bytes.len());
        match self.kind {
            Kind::Truncate => bytes.truncate(at),
            Kind::Flip(bit) => bytes[at] ^= 1 << bit,
            Kind::Set(value) => bytes[at] = value,
            Kind::Insert(value) => bytes.insert(at, value),
            Kind::Remove => {
                bytes.remove(at);
            }
            Kind::Repeat(count) => {
                let end = bytes.len().min(at + count);
                let copy = bytes[at..end].to_vec();
                bytes.splice(end..end, copy);
            }
        }
    }
}
