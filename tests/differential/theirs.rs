//! What rumqttc makes of bytes.

mod v3;
mod v5;
mod v5_properties;

use mqtt::ProtocolVersion;

use crate::outcome::Outcome;

pub(crate) fn decode(version: ProtocolVersion, bytes: &[u8]) -> Outcome {
    if version.is_v5() {
        v5::decode(bytes)
    } else {
        v3::decode(bytes)
    }
}
