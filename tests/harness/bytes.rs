//! Bytes as tests write them down, and the packets that they need most.

use crate::property::Property;
use crate::wire::{Version, packet};

/// The bytes that hexadecimal digits stand for; spaces are for the reader.
///
/// # Panics
/// There is something else, or half a byte.
#[must_use]
#[track_caller]
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|it| *it != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| {
        assert_eq!(pair.len(), 2, "half a byte");
        str::from_utf8(pair).expect("ASCII")
    });
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"))
        .collect()
}

/// A UTF-8 Encoded String (§1.5.4).
#[must_use]
pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// Binary Data (§1.5.6), or a string that is none.
///
/// # Panics
/// There are more than 65,535 bytes.
#[must_use]
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

/// The property that these digits are: its identifier, then its value.
///
/// # Panics
/// They are no digits, or none at all.
#[must_use]
#[track_caller]
pub fn property(digits: &str) -> Property {
    let bytes = hex(digits);
    let (identifier, value) = bytes.split_first().expect("an identifier");
    Property::raw(*identifier, value)
}

/// A SUBSCRIBE with one Topic Filter and its options.
#[must_use]
pub fn subscribe(version: Version, identifier: u16, filter: &str, options: u8) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    body.extend(version.no_properties());
    body.extend(string(filter));
    body.push(options);
    packet(0x82, &body)
}

/// An UNSUBSCRIBE with one Topic Filter.
#[must_use]
pub fn unsubscribe(version: Version, identifier: u16, filter: &str) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    body.extend(version.no_properties());
    body.extend(string(filter));
    packet(0xa2, &body)
}
