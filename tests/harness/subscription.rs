//! SUBSCRIBE and UNSUBSCRIBE as bytes, also such as no client may send.

use crate::wire::{Version, packet};

/// A string with its length in front.
///
/// # Panics
/// It is longer than 65,535 bytes.
#[must_use]
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

/// A SUBSCRIBE; `properties` are those of MQTT 5, encoded and at most 127 bytes, and each filter
/// has its options.
#[must_use]
pub fn subscribe(
    version: Version,
    identifier: u16,
    properties: &[u8],
    filters: &[(impl AsRef<[u8]>, u8)],
) -> Vec<u8> {
    let mut body = head(version, identifier, properties);
    for (filter, options) in filters {
        body.extend(string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE; `properties` as for [`subscribe`].
#[must_use]
pub fn unsubscribe(
    version: Version,
    identifier: u16,
    properties: &[u8],
    filters: &[impl AsRef<[u8]>],
) -> Vec<u8> {
    let mut body = head(version, identifier, properties);
    for filter in filters {
        body.extend(string(filter));
    }
    packet(0xa2, &body)
}

/// The property that gives a subscription its identifier.
#[must_use]
pub fn subscription_identifier(identifier: u32) -> Vec<u8> {
    let mut bytes = vec![0x0b];
    bytes.extend(variable_byte_integer(identifier));
    bytes
}

/// A Variable Byte Integer (MQTT 5.0 §1.5.5).
#[must_use]
pub fn variable_byte_integer(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        bytes.push(low | u8::from(value > 0) << 7);
        if value == 0 {
            return bytes;
        }
    }
}

fn head(version: Version, identifier: u16, properties: &[u8]) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(u8::try_from(properties.len()).expect("few properties"));
        body.extend(properties);
    }
    body
}
