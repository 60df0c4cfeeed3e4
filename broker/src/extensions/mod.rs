//! What the daemon can do beyond MQTT: delayed messages, topic rewriting, subscriptions that the
//! server makes, queues for clients that have not come yet, presence events. All of it is off
//! until it is configured, except the events.

mod auto_subscription;
mod delayed;
mod presence;
mod preset_session;
mod rewrite;

pub(crate) use auto_subscription::AutoSubscription;
pub(crate) use delayed::Delayed;
pub(crate) use presence::Presence;
pub(crate) use preset_session::PresetSession;
pub(crate) use rewrite::{RewriteRule, Rewrites};

use gateway::Values;

/// What is configured.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// Delayed messages that may wait; none if there are to be none.
    pub(crate) delayed_messages_max: Option<usize>,
    /// Topics that are changed on their way in.
    pub(crate) rewrites: Rewrites,
    /// Subscriptions that every client gets.
    pub(crate) auto_subscriptions: Vec<AutoSubscription>,
    /// Whether clients that come and go are announced.
    pub(crate) client_events: bool,
}

/// The client that a template is filled in for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
}

/// The names that templates know for a client. A name that is more or less than one level of a
/// topic counts as none.
pub(crate) const WHO_NAMES: [&str; 2] = ["clientid", "username"];

impl Values for Who<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        let value = match name {
            "clientid" => Some(self.client_id),
            "username" => self.user_name,
            _ => None,
        };
        // A client names itself, and must not reach others' topics by its name.
        let value = value.filter(|it| !it.is_empty() && !it.contains(['/', '+', '#']));
        out.push_str(value.unwrap_or_default());
        value.is_some()
    }

    fn capture(&self, _index: usize) -> Option<&str> {
        None
    }
}
