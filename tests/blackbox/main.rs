//! The daemon from outside, with real peers. One process, so that the tests run beside each other.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, also outside their functions"
)]

mod bench;
mod bounds;
mod bridge_batches;
mod bridge_farewell;
mod bridge_files;
mod bridge_forgetting;
mod bridge_full;
mod bridge_hubs;
mod bridge_life;
mod bridge_limits;
mod bridge_names;
mod bridge_outages;
mod bridge_oversized;
mod bridge_reasons;
mod bridge_refusals;
mod bridge_ring;
mod bridge_share;
mod bridge_start;
mod bridge_status;
mod bridge_storm;
mod bridge_stream;
mod bridge_transparent;
mod bridge_transports;
mod bridge_versions;
mod bridge_way;
mod bridge_window;
mod bridge_withheld;
mod command_line;
mod configuration;
mod conversation;
mod crash;
mod crashlab;
mod demo;
mod downlink;
mod durability;
mod extensions;
mod failing_disk;
mod floods;
mod full_disk;
mod keep_alive;
mod life;
mod log;
mod malformed;
mod memory_limit;
mod metered_link;
mod mosquitto_bridge;
mod mosquitto_clients;
mod plant;
mod power_cut;
mod reload;
mod retained;
#[path = "../../persistence/tests/faults/shim.rs"]
pub mod shim;
mod silence;
mod slow_consumers;
mod small_volume;
mod space;
mod store;
mod store_command;
mod time;
mod uplink;
mod wills;
