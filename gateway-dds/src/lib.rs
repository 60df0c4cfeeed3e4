//! DDS as a gateway: the samples of DDS topics become MQTT messages and the other way round.
//!
//! The gateway is a participant of one DDS domain and speaks RTPS with its peers through Eclipse
//! Cyclone DDS. It knows no type beforehand; the configuration describes them in [`idl`].
//!
//! ```text
//! DDS writer -> reader -> thread `dds-read`: CDR to JSON -> queue -> Client::publish
//! Client::receive -> queue -> thread `dds-write`: JSON to CDR -> writer -> DDS reader
//! ```
//!
//! | MQTT | DDS |
//! |---|---|
//! | Topic Name, from a template | topic, one reader for each `to_mqtt` rule |
//! | Topic Filter, of the first rule that matches | topic, one writer for each `from_mqtt` rule |
//! | payload, JSON, Content Type `application/json` | sample, CDR; see [`cdr`] for the mapping |
//! | levels of the topic, through `${member}` | key members, hence instances |
//! | QoS 0; QoS 1 and 2 | `BEST_EFFORT`; `RELIABLE` |
//! | retained messages at the start of a session | `TRANSIENT_LOCAL` writers |
//!
//! Order is kept within an instance of a keyed topic, and within a topic without keys.
//!
//! What is slow slows down what feeds it: a reader keeps up to [`peer::HISTORY_MAX`] samples of
//! [`Config::sample_bytes_max`] bytes each, then a reliable writer at the other end must wait. Of
//! best effort data the newest samples are lost then, which the log says. A reliable write waits
//! [`peer::WRITE_BLOCKING_MAX`] for peers that do not keep up; the sample is dropped after that
//! and counted.
//!
//! A gateway does not hear itself, so a pair of rules cannot make a loop within one gateway. Two
//! gateways of the same domain in one process share the domain and need the same settings for it.
//!
//! Not supported yet: disposing of instances and unregistering, in either direction (such notices
//! are logged at debug level); learning types from the network; unions, optional members, mutable
//! types; writing XCDR2 for types that are final or XCDR1 for those that are not; DDS Security.
//! Instances of a keyed topic are remembered while their writer lives, so a peer that never stops
//! to invent keys takes memory. Types that do not fit do not match and nothing says so; QoS that
//! does not fit is logged.
//!
//! Invariants: only the module `io` has unsafe code and touches the DDS stack; dropping the future
//! of a gateway ends its threads, its entities and, if nobody else uses it, its domain.

pub mod cdr;
mod config;
mod gateway;
pub mod idl;
mod inbound;
#[expect(unsafe_code, reason = "the DDS stack is a C library")]
mod io;
mod outbound;
pub mod peer;
mod rate_limit;
mod translation;
pub mod type_tree;

pub use crate::config::{Config, Durability, FromMqttRule, Reliability, ToMqttRule};
pub use crate::gateway::DdsGateway;
