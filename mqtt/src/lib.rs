//! The MQTT specification as pure Rust: 3.1.1 and 5.0.
//!
//! | chapter | here |
//! |---|---|
//! | 1.5 data types, 2 packet format, 3 packets | [`packet`] |
//! | 4.1 session state, 4.3 QoS, 4.4 retry, 4.9 flow control | [`session`] |
//! | 3.1.4 connect actions, 4.8 connections, 4.13 errors | [`connection`] |
//! | 4.7 topic names and filters | [`TopicName`], [`TopicFilter`], [`FilterTree`], [`NameTree`] |
//!
//! Invariants: no socket, no file, no clock, no thread, no random source; time is an argument
//! ([`Timestamp`]). Nothing here panics on input, recurses on topic depth or allocates more than
//! the limits it is given allow. Both versions share each packet and each state machine.

pub mod connection;
mod error;
mod message;
pub mod packet;
mod qos;
mod reason;
pub mod session;
mod timestamp;
mod topic;
mod version;

pub use error::ProtocolViolation;
pub use message::Message;
pub use qos::QoS;
pub use reason::ReasonCode;
pub use timestamp::Timestamp;
pub use topic::{
    FilterTree, HasTopic, NameTree, Sharing, TOPIC_LEVELS_MAX, TopicFilter, TopicFilterError,
    TopicName, TopicNameError,
};
pub use version::ProtocolVersion;
