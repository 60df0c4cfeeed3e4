//! The ZeroMQ gateway: PUB/SUB peers see MQTT as one more publisher and one more subscriber.
//!
//! ```text
//! ZeroMQ PUB -> SUB socket -> first rule whose prefix fits -> MQTT PUBLISH
//! MQTT PUBLISH -> first rule whose filter matches -> PUB socket -> ZeroMQ SUB
//! ```
//!
//! What maps to what:
//!
//! | ZeroMQ | MQTT |
//! |---|---|
//! | first frame of several (the topic frame) | `${frame}` of the topic template |
//! | single frame, rule with `delimiter` | `${frame}` before the first delimiter, payload after it |
//! | single frame, rule without `delimiter` | payload; `${frame}` is the rule's prefix |
//! | one payload frame | payload |
//! | several payload frames | as `multipart` says: `json`, `join`, `last` or `each` |
//! | high water mark | how far the broker may fall behind before TCP slows the publisher |
//!
//! In the other direction a message becomes two frames: the rendered `frame` template, which SUB
//! sockets filter by, and the payload. QoS, retain flag and properties end here, and `ZeroMQ`
//! acknowledges nothing: a delivery counts as sent once the library has it.
//!
//! Each socket binds and connects to any number of `tcp://` and `ipc://` endpoints. Connections
//! are retried every 100 ms to 5 s for as long as the gateway runs; a peer that vanishes without
//! a word is noticed within a minute through TCP keepalive.
//!
//! Limits:
//! - A SUB socket filters by the first frame, so rules of one gateway share its subscriptions.
//! - A subscriber that is slower than its PUB queue (`send_high_water_mark`) loses messages
//!   inside the library, uncounted: that is what PUB sockets do.
//! - A peer whose message exceeds `message_bytes_max` is disconnected, as with `libzmq`.
//! - No PUSH/PULL, REQ/REP, ROUTER/DEALER, RADIO/DISH; no CURVE or PLAIN; no `inproc://`, `ws://`.
//! - Receiving a topic that a `from_mqtt` rule also sends makes a loop; rules must not overlap.

mod config;
mod gateway;
mod io;
mod translation;

pub use config::{Config, FromMqtt, Multipart, Publish, Subscribe, ToMqtt};
pub use gateway::ZmqGateway;
pub use io::{Frames, IoError, Publisher, Subscriber};
