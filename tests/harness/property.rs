//! Properties of MQTT 5 (§2.2.2) as they stand in a packet: an identifier and the bytes of a value.

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Which it is (§2.2.2.2).
    pub identifier: u8,
    /// Its value, encoded.
    pub value: Vec<u8>,
}

impl Property {
    /// With a value of one byte.
    #[must_use]
    pub fn byte(identifier: u8, value: u8) -> Self {
        Self::raw(identifier, &[value])
    }

    /// With a value of two bytes.
    #[must_use]
    pub fn two_bytes(identifier: u8, value: u16) -> Self {
        Self::raw(identifier, &value.to_be_bytes())
    }

    /// With a value of four bytes.
    #[must_use]
    pub fn four_bytes(identifier: u8, value: u32) -> Self {
        Self::raw(identifier, &value.to_be_bytes())
    }

    /// With a string, or binary data.
    #[must_use]
    pub fn text(identifier: u8, value: impl AsRef<[u8]>) -> Self {
        Self::raw(identifier, &text(value.as_ref()))
    }

    /// A User Property.
    #[must_use]
    pub fn user(name: &str, value: &str) -> Self {
        Self::raw(
            0x26,
            &[text(name.as_bytes()), text(value.as_bytes())].concat(),
        )
    }

    /// With these bytes, whatever they are.
    #[must_use]
    pub fn raw(identifier: u8, value: &[u8]) -> Self {
        Self {
            identifier,
            value: value.to_vec(),
        }
    }

    /// The value of one, two or four bytes as a number.
    #[must_use]
    pub fn number(&self) -> u32 {
        let bytes = self.value.iter();
        bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

/// A block of properties with its length.
#[must_use]
pub fn encode(properties: &[Property]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for property in properties {
        bytes.push(property.identifier);
        bytes.extend(&property.value);
    }
    let mut block = variable_byte_integer(bytes.len());
    block.extend(bytes);
    block
}

/// Reads the block in front; returns what follows it too. None if it is malformed.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(Vec<Property>, &[u8])> {
    let used = variable_length(bytes)?;
    let length = bytes[..used].iter().rev();
    let length = length.fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    let (mut block, rest) = bytes.split_at(used).1.split_at_checked(length)?;
    let mut properties = Vec::new();
    while let Some((identifier, after)) = block.split_first() {
        let (value, after) = after.split_at_checked(value_length(*identifier, after)?)?;
        properties.push(Property::raw(*identifier, value));
        block = after;
    }
    Some((properties, rest))
}

/// Bytes of the value in front.
fn value_length(identifier: u8, bytes: &[u8]) -> Option<usize> {
    let string = |at: usize| {
        let length = bytes.get(at..at + 2)?;
        Some(2 + usize::from(u16::from_be_bytes([length[0], length[1]])))
    };
    match identifier {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => Some(1),
        0x13 | 0x21..=0x23 => Some(2),
        0x02 | 0x11 | 0x18 | 0x27 => Some(4),
        0x0b => variable_length(bytes),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => string(0),
        0x26 => {
            let name = string(0)?;
            Some(name + string(name)?)
        }
        _ => None,
    }
}

/// Bytes of the Variable Byte Integer in front.
fn variable_length(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().take(4).position(|byte| *byte < 0x80)?;
    Some(last + 1)
}

fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        bytes.push(low | u8::from(value > 0) << 7);
        if value == 0 {
            return bytes;
        }
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short text");
    [&length.to_be_bytes(), bytes].concat()
}
