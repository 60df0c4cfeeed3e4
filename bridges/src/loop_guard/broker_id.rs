//! The name of a broker among those that its messages can reach.

use std::fmt;

/// Bytes of a broker's identifier.
const ID_BYTES_MAX: usize = 64;

/// What tells one broker from all others. It must stay the same over restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerId(String);

/// Why a text is no identifier of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {ID_BYTES_MAX} letters, digits and the signs - _ .")]
pub struct BrokerIdError;

impl BrokerId {
    /// Checks and keeps an identifier.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, BrokerIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_sound = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        is_sound.then(|| Self(text.to_owned())).ok_or(BrokerIdError)
    }

    /// One that was never there before, from a random number.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        Self(format!("{random:016x}"))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_checked() {
        let long = "x".repeat(ID_BYTES_MAX);
        for text in ["a", "A-b_c.9", &long] {
            assert_eq!(BrokerId::new(text).unwrap().as_str(), text);
        }
        for text in ["", "a,b", "a b", "a:1", "ä", &format!("{long}x")] {
            assert_eq!(BrokerId::new(text), Err(BrokerIdError), "{text}");
        }
        let random = BrokerId::from_random(7);
        assert_eq!(random.as_str(), "0000000000000007");
        assert_eq!(BrokerId::new(random.as_str()), Ok(random));
    }
}
