//! The NNG gateway: pub0/sub0 peers see MQTT as one more publisher and one more subscriber.
//!
//! ```text
//! NNG pub0 -> sub0 socket -> first rule whose prefix fits -> MQTT PUBLISH
//! MQTT PUBLISH -> first rule whose filter matches -> pub0 socket -> NNG sub0
//! ```
//!
//! An NNG message is one run of bytes; subscribers filter by what it begins with. A rule's
//! `delimiter` says where that beginning, the subject, ends and the payload begins:
//!
//! | `delimiter` | `${subject}` | payload | `a/b/c:21` with prefix `a/b` |
//! |---|---|---|---|
//! | `/` (default) | the rule's prefix | after prefix and `/` | `a/b`, `c:21` |
//! | any other, such as `:` | up to the first one after the prefix | after it | `a/b/c`, `21` |
//! | empty | the rule's prefix | after the prefix | `a/b`, `/c:21` |
//!
//! The first two rows are how `NanoMQ` reads messages. A prefix that is empty or ends with the
//! delimiter needs no further one.
//!
//! In the other direction the message is the rendered `prefix` template, the delimiter and the
//! payload. QoS, retain flag and properties end here, and NNG acknowledges nothing: a delivery
//! counts as sent once the library has it.
//!
//! Each socket dials and listens at any number of `tcp://` and `ipc://` endpoints. Dialling is
//! repeated every 100 ms to 5 s for as long as the gateway runs.
//!
//! Limits:
//! - While the broker is busy `receive_buffer_messages` wait here and as many in the library;
//!   beyond that the library drops the oldest, uncounted, since NNG cannot slow a publisher down.
//! - A subscriber that is slower than its pub0 queue (`send_buffer_messages`) loses the oldest
//!   messages inside the library, uncounted: that is what pub0 sockets do.
//! - A peer whose message exceeds `message_bytes_max` is disconnected; the library does not say
//!   why, so nothing is logged but the lost connection.
//! - A TCP peer that vanishes without a word is noticed by the system's keepalive only.
//! - Stopping drops what is still queued; the library closes a socket without waiting for it.
//! - The library starts some ten threads for the whole process with the first socket and keeps
//!   them.
//! - No push/pull, req/rep, pair, bus, survey; no TLS, `ws://` or `inproc://`.
//! - Receiving a topic that a `from_mqtt` rule also sends makes a loop; rules must not overlap.

mod config;
mod gateway;
mod io;
mod translation;

pub use config::{Config, FromMqtt, Publish, Subscribe, ToMqtt};
pub use gateway::NngGateway;
pub use io::{IoError, Publisher, Subscriber};
