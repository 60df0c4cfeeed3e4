//! Going on with a session of the broker's in a client that begins empty.

use std::pin::Pin;

use rumqttc::{
    PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

/// Tells the client library that no message is unacknowledged on this side, and keeps nothing.
///
/// Without it the library either refuses a session that it knows nothing of, or goes on with it
/// and silently drops every SUBSCRIBE and every PUBLISH above QoS 0. Its values have to be those
/// of the `MqttOptions` that it is given to.
#[derive(Debug)]
pub struct NothingUnacknowledged {
    /// The Session Expiry Interval in seconds.
    pub session_expiry: u32,
    /// Whether the library acknowledges by itself.
    pub ack_mode: PersistedAckMode,
    /// The most messages that the client may have unacknowledged, if it is limited.
    pub inflight_max: Option<u16>,
}

/// What the library calls a store future; it does not export the name.
type SessionStoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingUnacknowledged {
    fn load<'a>(
        &'a self,
        key: &'a SessionStoreKey,
    ) -> SessionStoreFuture<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.session_expiry),
            outgoing_inflight_upper_limit: self.inflight_max,
            ack_mode: self.ack_mode,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(
        &'a self,
        _: &'a SessionStoreKey,
        _: &'a PersistedSession,
    ) -> SessionStoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> SessionStoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
