//! stub
mod error;
mod message;
pub mod packet;
mod qos;
mod reason;
mod timestamp;
mod topic;
mod version;
pub use error::ProtocolViolation;
pub use message::Message;
pub use qos::QoS;
pub use reason::ReasonCode;
pub use timestamp::Timestamp;
pub use topic::*;
pub use version::ProtocolVersion;
