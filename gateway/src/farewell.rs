//! How a gateway is to stop.

use std::sync::Arc;

use mqtt::Message;

/// What a gateway is told that is to stop, see [`crate::Broker::poll_stop`].
#[derive(Clone, Debug, Default)]
pub struct Farewell {
    /// What it says last of itself.
    pub last_words: Option<Arc<Message>>,
    /// It is not configured any more, so what it has asked the foreign side for is not wanted.
    pub is_for_good: bool,
}
