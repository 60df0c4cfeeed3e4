//! Which messages of a batch a hub does not take, as the PUBACK of the batch says it.

use std::fmt::Write;

use mqtt::ReasonCode;
use mqtt::packet::{Properties, Property};

/// Messages that a hub refuses in one batch; it takes nothing behind the last of them. So many are
/// said in about 600 bytes.
pub const REFUSALS_MAX: usize = 64;

/// The name of the User Property.
const NAME: &str = "x-batch-refused";

/// What is not taken of a batch.
///
/// Its text is a list such as `3:135 17:151`: the place of a message among those of QoS 1, from 0
/// on, and its Reason Code. Behind one with 151 (0x97, Quota exceeded) none of QoS 1 is taken, so
/// that they keep their order when they come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Vec<(usize, ReasonCode)>);

impl Refusals {
    /// Adds a message behind those that are there. Once there are [`REFUSALS_MAX`], the next has no
    /// place but that behind which none is taken.
    pub fn push(&mut self, place: usize, mut reason: ReasonCode) {
        if self.is_over() {
            return;
        }
        if self.0.len() + 1 >= REFUSALS_MAX {
            reason = ReasonCode::QuotaExceeded;
        }
        self.0.push((place, reason));
    }

    /// True if none of QoS 1 is taken any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let last = self.0.last();
        last.is_some_and(|(_, reason)| *reason == ReasonCode::QuotaExceeded)
    }

    /// The Reason Code of the PUBACK: that of the last refusal, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<ReasonCode> {
        self.0.last().map(|(_, reason)| *reason)
    }

    /// The User Property of the PUBACK.
    #[must_use]
    pub fn property(&self) -> (&'static str, String) {
        let mut text = String::new();
        for (place, reason) in &self.0 {
            let space = if text.is_empty() { "" } else { " " };
            // A string takes everything.
            write!(text, "{space}{place}:{}", *reason as u8).ok();
        }
        (NAME, text)
    }

    /// What a PUBACK says; none if it does not say it.
    #[must_use]
    pub fn read(properties: Properties<'_>) -> Option<Self> {
        let text = properties.iter().find_map(|it| match_name(it, NAME))?;
        let refusals = text.split(' ').take(REFUSALS_MAX).map(|it| {
            let (place, code) = it.split_once(':')?;
            let reason = ReasonCode::from_u8(code.parse().ok()?);
            Some((place.parse().ok()?, reason.filter(|it| it.is_error())?))
        });
        let refusals: Vec<(usize, ReasonCode)> = refusals.collect::<Option<_>>()?;
        refusals
            .is_sorted_by_key(|it| it.0)
            .then_some(Self(refusals))
    }

    /// How the message of QoS 1 in this place is answered.
    #[must_use]
    pub fn answer(&self, place: usize) -> ReasonCode {
        match self.0.binary_search_by_key(&place, |it| it.0) {
            Ok(found) => self.0.get(found).map_or(ReasonCode::Success, |it| it.1),
            Err(_) if self.is_over() && self.0.last().is_some_and(|it| it.0 < place) => {
                ReasonCode::QuotaExceeded
            }
            Err(_) => ReasonCode::Success,
        }
    }
}

fn match_name<'a>(property: Property<'a>, wanted: &str) -> Option<&'a str> {
    let Property::UserProperty(name, value) = property else {
        return None;
    };
    (name == wanted).then_some(value)
}

#[cfg(test)]
mod tests {
    use mqtt::packet::PropertyOwner;

    use super::*;

    fn read(text: &str) -> Option<Refusals> {
        let mut raw = Vec::new();
        Property::UserProperty("other", "1:135").encode(&mut raw);
        Property::UserProperty(NAME, text).encode(&mut raw);
        Refusals::read(Properties::checked(&raw, PropertyOwner::Ack).unwrap())
    }

    #[test]
    fn each_message_has_its_answer() {
        let mut refusals = Refusals::default();
        assert_eq!((refusals.reason(), refusals.is_over()), (None, false));
        refusals.push(1, ReasonCode::NotAuthorized);
        refusals.push(3, ReasonCode::TopicNameInvalid);
        assert!(!refusals.is_over());
        let reasons = |it: &Refusals| (0..6).map(|at| it.answer(at) as u8).collect::<Vec<_>>();
        assert_eq!(reasons(&refusals), [0, 0x87, 0, 0x90, 0, 0]);
        refusals.push(4, ReasonCode::QuotaExceeded);
        // Nothing is looked at behind it.
        refusals.push(5, ReasonCode::NotAuthorized);
        assert_eq!(reasons(&refusals), [0, 0x87, 0, 0x90, 0x97, 0x97]);
        assert_eq!(refusals.reason(), Some(ReasonCode::QuotaExceeded));
        let (_, text) = refusals.property();
        assert_eq!(text, "1:135 3:144 4:151");
        assert_eq!(read(&text), Some(refusals));
    }

    #[test]
    fn there_are_no_more_than_can_be_said() {
        let mut refusals = Refusals::default();
        for place in 0..1_000 {
            refusals.push(place, ReasonCode::NotAuthorized);
        }
        let (_, text) = refusals.property();
        assert_eq!(text.split(' ').count(), REFUSALS_MAX);
        assert!(text.ends_with(" 63:151"), "{text}");
        assert_eq!(refusals.answer(62), ReasonCode::NotAuthorized);
        assert_eq!(refusals.answer(999), ReasonCode::QuotaExceeded);
        assert_eq!(read(&text), Some(refusals));
    }

    #[test]
    fn what_is_no_list_says_nothing() {
        for text in [
            "",
            "1",
            "1:",
            ":135",
            "a:135",
            "1:0",
            "1:256",
            "2:135 1:135",
            "-1:135",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Refusals::read(Properties::default()), None);
    }
}
