//! Packets as lists of fields, in the order of §3: what both codecs are compared in, and a third
//! and simplest way to encode.

/// A packet of either version, with everything that may be left out written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// Type and flags.
    pub(crate) first: u8,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Byte(u8),
    Two(u16),
    Text(String),
    Binary(Vec<u8>),
    /// Payload or codes: everything up to the end.
    Rest(Vec<u8>),
    /// Only in version 5.
    Properties(Properties),
}

/// Properties by their identifiers. Their order means nothing, except that of one identifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties(pub(crate) Vec<(u8, Item)>);

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Byte(u8),
    Two(u16),
    Four(u32),
    /// A Variable Byte Integer.
    Number(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |list: &Self| {
            let mut list = list.0.clone();
            list.sort_by_key(|(identifier, _)| *identifier);
            list
        };
        sorted(self) == sorted(other)
    }
}

impl Eq for Properties {}

impl Value {
    /// A packet without flags of its own.
    pub(crate) fn new(packet_type: u8, fields: impl IntoIterator<Item = Field>) -> Self {
        let flags = if matches!(packet_type, 6 | 8 | 10) {
            2
        } else {
            0
        };
        Self {
            first: packet_type << 4 | flags,
            fields: fields.into_iter().collect(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.fields.iter().for_each(|field| field.encode(&mut body));
        frame(self.first, &body)
    }

    /// The identifiers of its properties.
    pub(crate) fn identifiers(&self) -> impl Iterator<Item = u8> {
        let blocks = self.fields.iter().filter_map(|field| match field {
            Field::Properties(block) => Some(&block.0),
            _ => None,
        });
        blocks.flatten().map(|(identifier, _)| *identifier)
    }
}

impl Field {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(value) => out.push(*value),
            Self::Two(value) => out.extend(value.to_be_bytes()),
            Self::Text(text) => put_binary(text.as_bytes(), out),
            Self::Binary(bytes) => put_binary(bytes, out),
            Self::Rest(bytes) => out.extend(bytes),
            Self::Properties(properties) => {
                let mut block = Vec::new();
                for (identifier, item) in &properties.0 {
                    block.push(*identifier);
                    item.encode(&mut block);
                }
                put_number(block.len(), out);
                out.extend(block);
            }
        }
    }
}

impl Item {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(value) => out.push(*value),
            Self::Two(value) => out.extend(value.to_be_bytes()),
            Self::Four(value) => out.extend(value.to_be_bytes()),
            Self::Number(value) => put_number(usize::try_from(*value).unwrap(), out),
            Self::Text(text) => put_binary(text.as_bytes(), out),
            Self::Binary(bytes) => put_binary(bytes, out),
            Self::Pair(name, value) => {
                put_binary(name.as_bytes(), out);
                put_binary(value.as_bytes(), out);
            }
        }
    }
}

/// A packet from its first byte and what follows the Remaining Length.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_number(body.len(), &mut out);
    out.extend(body);
    out
}

fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

/// A Variable Byte Integer (§1.5.5).
fn put_number(value: usize, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest > 0x7F {
        out.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    out.push(u8::try_from(rest).unwrap());
}
