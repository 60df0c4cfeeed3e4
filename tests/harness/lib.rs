//! What the black-box tests start, speak and wait with: the daemon as a process, a mosquitto hub,
//! peers in Python, MQTT client libraries, and a raw MQTT client; and what the benchmarks compare,
//! and report.
//!
//! Everything listens on the loopback interface only, on ports and in DDS domains that no other
//! test has, and ends with the value that stands for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness fails its test, and says why"
)]

pub mod block;
pub mod bytes;
pub mod certificates;
pub mod client;
pub mod connect;
pub mod contender;
pub mod control_group;
pub mod daemon;
pub mod dialogue;
mod expect;
pub mod fault_proxy;
pub mod figure;
pub mod hub;
pub mod message;
pub mod peer;
pub mod process;
pub mod property;
pub mod publisher;
pub mod quic_relay;
pub mod random;
pub mod report;
pub mod reservation;
pub mod scripted_hub;
pub mod sequence;
pub mod strict;
pub mod subscriber;
pub mod subscription;
pub mod udp_proxy;
pub mod wait;
pub mod wall_clock;
pub mod websocket_relay;
pub mod wire;

use std::path::PathBuf;

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a workspace").to_owned()
}
