//! Where the codecs differ, and who is right.

use mqtt::ProtocolVersion;

use crate::outcome::Outcome;
use crate::value::Value;
use crate::{V3, V5, ours, theirs};

/// Bytes of which the codecs do not say the same.
pub(crate) struct Difference {
    versions: &'static [ProtocolVersion],
    /// Types of packets.
    types: &'static [u8],
    /// The words of our refusal; none if we take the packet.
    ours: Option<&'static str>,
    /// The name of their error; none if they take the packet.
    theirs: Option<&'static str>,
    pub(crate) right: Right,
    /// The rule.
    pub(crate) because: &'static str,
    /// A small example in the last of the versions, in hexadecimal digits; `2f*9` is nine of them.
    example: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Ours,
    /// The specification leaves it open.
    Both,
}

const BOTH: &[ProtocolVersion] = &[V3, V5];
const ONLY_3: &[ProtocolVersion] = &[V3];
const ONLY_5: &[ProtocolVersion] = &[V5];
const ALL: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// All differences that are known.
#[rustfmt::skip]
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        versions: ONLY_3, types: &[1], ours: None, theirs: Some("InvalidProtocolLevel"),
        right: Right::Both, because: "the highest bit of the level, by which bridges tell that they are some",
        example: "100d 0004 4d515454 84 02 003c 0001 61",
    },
    Difference {
        versions: BOTH, types: &[1], ours: Some("the will topic is no topic name"), theirs: None,
        right: Right::Ours, because: "[MQTT-4.7.0-1], [MQTT-4.7.3-1]",
        example: "1013 0004 4d515454 05 04 0000 00 0000 00 0001 23 0000",
    },
    Difference {
        versions: BOTH, types: &[10], ours: Some("UNSUBSCRIBE without a topic filter"), theirs: None,
        right: Right::Ours, because: "[MQTT-3.10.3-2]",
        example: "a203 0001 00",
    },
    Difference {
        versions: BOTH, types: &[12, 13], ours: Some("a packet without a body has one"), theirs: None,
        right: Right::Ours, because: "§3.12.2, §3.12.3, §3.13.2, §3.13.3",
        example: "c001 00",
    },
    Difference {
        versions: BOTH, types: &[14], ours: Some("DISCONNECT has bytes behind its end"), theirs: None,
        right: Right::Ours, because: "§3.14.3",
        example: "e003 00 00 00",
    },
    Difference {
        versions: ONLY_5, types: &[2], ours: Some("CONNACK has bytes behind its end"), theirs: None,
        right: Right::Ours, because: "§3.2.3",
        example: "2004 00 00 00 00",
    },
    Difference {
        versions: ONLY_5, types: &[4, 5, 6, 7], ours: Some("an acknowledgement is too long"), theirs: None,
        right: Right::Ours, because: "§3.4.3, §3.5.3, §3.6.3, §3.7.3",
        example: "4005 0001 00 00 00",
    },
    Difference {
        versions: ONLY_5, types: &[15], ours: Some("AUTH has bytes behind its end"), theirs: None,
        right: Right::Ours, because: "§3.15.3",
        example: "f003 18 00 00",
    },
    Difference {
        versions: ONLY_5, types: &[14], ours: None, theirs: Some("InsufficientBytes"),
        right: Right::Ours, because: "§3.14.2.2.1: the length of the properties may be left out",
        example: "e001 04",
    },
    Difference {
        versions: ONLY_5, types: &[14], ours: None, theirs: Some("InvalidConnectReturnCode"),
        right: Right::Both, because: "0x8C ends a connection in table 2-6, not in table 3-10",
        example: "e002 8c 00",
    },
    Difference {
        versions: ONLY_5, types: &[15], ours: None, theirs: Some("PayloadRequired"),
        right: Right::Ours, because: "§3.15.2.1: success may be left out",
        example: "f000",
    },
    Difference {
        versions: ONLY_5, types: ALL, ours: Some("the length has needless bytes"), theirs: None,
        right: Right::Ours, because: "[MQTT-1.5.5-1], which 3.1.1 does not have",
        example: "c08000",
    },
    Difference {
        versions: ONLY_5, types: &[2], ours: Some("a CONNACK that refuses has a session"), theirs: None,
        right: Right::Ours, because: "[MQTT-3.2.2-6]",
        example: "2003 01 87 00",
    },
    Difference {
        versions: ONLY_5, types: ALL, ours: Some("an integer has needless bytes"), theirs: None,
        right: Right::Ours, because: "[MQTT-1.5.5-1]",
        example: "3005 0001 61 8000",
    },
    Difference {
        versions: ONLY_5, types: ALL, ours: Some("a field is longer than its packet"), theirs: None,
        right: Right::Ours, because: "§2.2.2.1: a property ends before its block does",
        example: "3006 0001 61 01 01 00",
    },
    Difference {
        versions: ONLY_5, types: ALL, ours: Some("a property stands more than once"), theirs: None,
        right: Right::Ours, because: "§3.1.2.11, §3.2.2.3, §3.3.2.3 and the like, of each property",
        example: "3008 0001 61 04 0100 0100",
    },
    Difference {
        versions: ONLY_5, types: &[1, 2, 3], ours: Some("a property that is 0 or 1 has another value"), theirs: None,
        right: Right::Ours, because: "§3.2.2.3.4, §3.2.2.3.11, §3.2.2.3.12, §3.2.2.3.13, §3.3.2.3.2",
        example: "3006 0001 61 02 0102",
    },
    Difference {
        versions: ONLY_5, types: &[1, 3], ours: Some("a response topic is no topic name"), theirs: None,
        right: Right::Ours, because: "[MQTT-3.3.2-14]",
        example: "3008 0001 61 04 08 0001 23",
    },
    Difference {
        versions: ONLY_5, types: &[3], ours: Some("a subscription identifier is zero"), theirs: None,
        right: Right::Ours, because: "§3.3.2.3.8",
        example: "3006 0001 61 02 0b00",
    },
    Difference {
        versions: ONLY_5, types: &[1, 2], ours: Some("the maximum packet size is zero"), theirs: None,
        right: Right::Ours, because: "§3.1.2.11.4, §3.2.2.3.6",
        example: "2008 00 00 05 27 00000000",
    },
    Difference {
        versions: ONLY_5, types: &[3], ours: None, theirs: None,
        right: Right::Ours, because: "§3.3.2.3.8: there may be many subscription identifiers; they count the \
            bytes of each one twice and take the rest of the properties for payload",
        example: "300a 0001 61 06 0b01 0b02 0b03",
    },
    Difference {
        versions: ONLY_5, types: &[3], ours: Some("a property identifier is unknown"), theirs: None,
        right: Right::Ours, because: "§3.3.2.3.8, as above",
        example: "3007 0001 61 03 0b01 7f",
    },
    Difference {
        versions: ONLY_5, types: &[3], ours: Some("a property is not allowed here"), theirs: None,
        right: Right::Ours, because: "§3.3.2.3.8, as above",
        example: "300a 0001 61 06 0b01 0b02 2401",
    },
    Difference {
        versions: BOTH, types: &[0], ours: Some("the packet type is unknown"), theirs: Some("incomplete"),
        right: Right::Both, because: "the first byte is enough to refuse a packet",
        example: "0001",
    },
];

impl Difference {
    /// The example's version and bytes.
    pub(crate) fn example(&self) -> (ProtocolVersion, Vec<u8>) {
        let mut bytes = Vec::new();
        for word in self.example.split_whitespace() {
            let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
            let pairs = digits.as_bytes().chunks(2);
            let piece =
                pairs.map(|it| u8::from_str_radix(str::from_utf8(it).unwrap(), 16).unwrap());
            let piece: Vec<u8> = piece.collect();
            bytes.extend(piece.repeat(count.parse().unwrap()));
        }
        (*self.versions.last().unwrap(), bytes)
    }

    /// True if this is how the codecs differ here.
    pub(crate) fn is_shown_by(&self, version: ProtocolVersion, bytes: &[u8]) -> bool {
        let (ours, theirs) = (ours::decode(version, bytes), theirs::decode(version, bytes));
        ours != theirs && self.explains(version, bytes, [&ours, &theirs])
    }

    fn explains(&self, version: ProtocolVersion, bytes: &[u8], outcomes: [&Outcome; 2]) -> bool {
        let [ours, theirs] = outcomes;
        let is_same = |ours: &Value| {
            // Only what they lose needs an explanation.
            ours.identifiers().filter(|it| *it == 0x0B).count() > 1
        };
        self.versions.contains(&version)
            && self.types.contains(&(bytes[0] >> 4))
            && self.ours == ours.refusal()
            && self.theirs == theirs.refusal().map(error_name)
            && (theirs.value().is_none() || ours.value().is_none_or(is_same))
    }
}

/// `InvalidReason` of `InvalidReason(3)`.
fn error_name(words: &str) -> &str {
    words.split(['(', '{', ' ']).next().unwrap()
}

/// How the codecs differ, if they do and it is not explained.
pub(crate) fn unexplained(version: ProtocolVersion, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let (ours, theirs) = (ours::decode(version, bytes), theirs::decode(version, bytes));
    let is_incomplete = |it: &Outcome| matches!(it, Outcome::Incomplete);
    let is_same = match (ours.value(), theirs.value()) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, None) => is_incomplete(&ours) == is_incomplete(&theirs),
        _ => false,
    };
    let explains = |it: &Difference| it.explains(version, bytes, [&ours, &theirs]);
    let explained = is_same || DIFFERENCES.iter().any(explains);
    (!explained).then(|| {
        let error = theirs.refusal().map(error_name);
        format!(
            "{:2} {version:?} ours {:?} theirs {error:?}",
            bytes[0] >> 4,
            ours.refusal()
        )
    })
}
