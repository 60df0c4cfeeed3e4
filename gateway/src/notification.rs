//! Where the state of a bridge is published when it changes.

use mqtt::TopicName;

/// What a bridge wants to be told of it to whoever is subscribed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The topic of a retained message with the state.
    pub topic: TopicName,
    /// The bridge's Client Identifier at the foreign side.
    pub client_id: String,
    /// Its user name there.
    pub user_name: Option<String>,
    /// Its Keep Alive in seconds.
    pub keep_alive: u16,
    /// Whether the foreign side forgets its session at every connect.
    pub clean_start: bool,
}
