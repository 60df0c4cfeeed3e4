//! The data types of MQTT 5.0 §1.5, read from a slice and written to a vector.

use crate::ProtocolViolation;

/// The largest value of a Variable Byte Integer (§1.5.5).
pub(crate) const VARIABLE_BYTE_INTEGER_MAX: u32 = 268_435_455;

/// Takes values off the front of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolViolation> {
        let short = ProtocolViolation::malformed("a field is longer than its packet");
        let (head, tail) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolViolation> {
        let short = ProtocolViolation::malformed("a field is longer than its packet");
        let (head, tail) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolViolation> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolViolation> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolViolation> {
        self.array().map(u32::from_be_bytes)
    }

    /// §1.5.5; one that is longer than it needs to be is malformed [MQTT-1.5.5-1].
    pub(crate) fn variable_byte_integer(&mut self) -> Result<u32, ProtocolViolation> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if shift > 0 && byte == 0 {
                    return Err(ProtocolViolation::malformed(
                        "an integer has needless bytes",
                    ));
                }
                return Ok(value);
            }
        }
        Err(ProtocolViolation::malformed(
            "a variable byte integer is longer than four bytes",
        ))
    }

    /// §1.5.6
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], ProtocolViolation> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// §1.5.4
    pub(crate) fn string(&mut self) -> Result<&'a str, ProtocolViolation> {
        // [MQTT-1.5.4-1]; surrogates are no valid UTF-8 either.
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| ProtocolViolation::malformed("a string is not valid UTF-8"))?;
        // [MQTT-1.5.4-2]
        if text.as_bytes().contains(&0) {
            return Err(ProtocolViolation::malformed(
                "a string contains a null character",
            ));
        }
        Ok(text)
    }

    /// A Packet Identifier, which is never zero [MQTT-2.2.1-3].
    pub(crate) fn packet_id(&mut self) -> Result<u16, ProtocolViolation> {
        match self.u16()? {
            0 => Err(ProtocolViolation::malformed("a packet identifier is zero")),
            id => Ok(id),
        }
    }
}

/// Appends a Variable Byte Integer.
pub(crate) fn put_variable_byte_integer(out: &mut Vec<u8>, mut value: u32) {
    debug_assert!(
        value <= VARIABLE_BYTE_INTEGER_MAX,
        "checked where sizes are limited"
    );
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Bytes that a Variable Byte Integer takes.
pub(crate) const fn variable_byte_integer_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends Binary Data. What does not fit its two-byte length is cut: callers check first.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    debug_assert_eq!(
        usize::from(length),
        bytes.len(),
        "fields are checked when they come in"
    );
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

/// Appends a UTF-8 Encoded String.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_binary(out, text.as_bytes());
}
