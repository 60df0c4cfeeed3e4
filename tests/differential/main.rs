//! The codec of the package `mqtt` against that of rumqttc, which others have written: what one
//! encodes the other decodes to the same values, and of broken bytes both say the same or differ
//! for a reason that is stated.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "these are tests, also outside their functions"
)]

mod difference;
mod mutation;
mod ours;
mod outcome;
mod packets;
mod theirs;
mod value;

use mqtt::ProtocolVersion;
use proptest::prelude::*;

use difference::{DIFFERENCES, Right, unexplained};
use mutation::Mutation;
use value::Value;

const V3: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

/// A packet through both codecs, each encoding for the other.
fn check_round_trip(version: ProtocolVersion, value: &Value) -> Result<(), TestCaseError> {
    let bytes = value.encode();
    let ours = ours::decode(version, &bytes);
    prop_assert_eq!(ours.value(), Some(value));
    prop_assert_eq!(unexplained(version, &bytes), None);
    for outcome in [ours, theirs::decode(version, &bytes)] {
        let outcome::Outcome::Taken { encoded, len, .. } = outcome else {
            continue;
        };
        prop_assert_eq!(len, bytes.len());
        let again = ours::decode(version, &encoded);
        prop_assert_eq!(again.value(), Some(value), "{:02x?}", encoded);
        prop_assert_eq!(unexplained(version, &encoded), None);
    }
    Ok(())
}

fn check_mutated(
    version: ProtocolVersion,
    value: &Value,
    mutations: &[Mutation],
) -> Result<(), TestCaseError> {
    let mut bytes = value.encode();
    for mutation in mutations {
        mutation.apply(&mut bytes);
        prop_assert_eq!(unexplained(version, &bytes), None, "{:02x?}", bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_codecs_understand_each_other_in_version_3(value in packets::packets(false)) {
        check_round_trip(V3, &value)?;
    }

    #[test]
    fn both_codecs_understand_each_other_in_version_5(value in packets::packets(true)) {
        check_round_trip(V5, &value)?;
    }

    #[test]
    fn both_codecs_refuse_the_same_in_version_3(
        value in packets::packets(false),
        mutations in mutation::mutations(),
    ) {
        check_mutated(V3, &value, &mutations)?;
    }

    #[test]
    fn both_codecs_refuse_the_same_in_version_5(
        value in packets::packets(true),
        mutations in mutation::mutations(),
    ) {
        check_mutated(V5, &value, &mutations)?;
    }
}

#[test]
fn every_difference_is_shown_by_its_example() {
    for difference in DIFFERENCES {
        let (version, bytes) = difference.example();
        let right = difference.right;
        let name = format!("{right:?}, for {}: {bytes:02x?}", difference.because);
        let cites = difference.because.contains("[MQTT-") || difference.because.contains('§');
        assert!(cites || right == Right::Both, "{name}");
        let shown = DIFFERENCES
            .iter()
            .filter(|it| it.is_shown_by(version, &bytes));
        assert_eq!(shown.count(), 1, "{name}");
        assert!(difference.is_shown_by(version, &bytes), "{name}");
    }
}
