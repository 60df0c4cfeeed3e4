//! What can be asked of the store.

use std::fmt;
use std::sync::Arc;

use mqtt::connection::WillMessage;
use mqtt::session::{Delivery, PageRequest, TrimRequest, Trimmed};
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};

use crate::{StoredSubscription, Sweep};

/// Names a durable session in the store; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A message with the number under which its body is stored once.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// From [`crate::Store::next_message_id`].
    pub id: u64,
    /// The body.
    pub message: Arc<Message>,
}

/// Takes a page of a queue; true if the store had no more entries in the requested range.
pub type PageReply = Box<dyn FnOnce(Vec<Delivery>, bool) + Send>;

/// Takes what became of the entries of a queue that were to be removed.
pub type TrimReply = Box<dyn FnOnce(Trimmed) + Send>;

/// One change to what is stored, or a read that must see all changes before it.
pub enum Operation {
    /// A durable session begins, its expiry changes, or its client comes or goes.
    PutSession {
        /// Which.
        session: SessionId,
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Seconds that it outlives its connection.
        expiry_seconds: u64,
        /// When it ends, if its client is away; none if a connection begins.
        expires_at: Option<Timestamp>,
    },
    /// A session ends, with all that belongs to it.
    DeleteSession(SessionId),
    /// A subscription is made or replaced.
    Subscribe(SessionId, StoredSubscription),
    /// A subscription ends.
    Unsubscribe(SessionId, TopicFilter),
    /// A message takes its place in a session's queue.
    Enqueue {
        /// Whose queue.
        session: SessionId,
        /// The place.
        sequence: u64,
        /// What.
        stored: StoredMessage,
        /// The QoS of the delivery.
        qos: QoS,
        /// The retain flag of the delivery.
        retain: bool,
        /// The Subscription Identifiers of the delivery.
        subscription_ids: Vec<u32>,
        /// Whether only the last delivery of its topic is kept, see
        /// [`crate::RecoveredSession::latest`].
        latest_only: bool,
        /// When the delivery is given up if it still waits.
        expires_at: Option<Timestamp>,
    },
    /// The session's client has this entry of QoS 2, so its message is not needed any more; the
    /// entry is released with PUBREL when this is durable, and remembered until
    /// [`Operation::Dequeue`].
    Pubrec(SessionId, u64),
    /// The same, but the receiver may forget that it has the entry: its message stays until
    /// [`Operation::Dequeue`]. All entries of a session are so, or none.
    Received(SessionId, u64),
    /// The receiver of a session is about to be asked whether it still knows the session. Once it is
    /// asked it may have begun a new one: if the process ends before [`Operation::Connected`], what
    /// it had received and may have forgotten waits again.
    Connecting(SessionId),
    /// The receiver has answered. If it has forgotten the session, what it had received waits again
    /// as far as its message is there.
    Connected {
        /// Which.
        session: SessionId,
        /// It knows the session.
        is_kept: bool,
    },
    /// A queue entry is done with.
    Dequeue(SessionId, u64),
    /// A topic's retained message is set, or removed.
    Retain(TopicName, Option<Arc<Message>>),
    /// A QoS 2 identifier was received from the session's client.
    Receive(SessionId, u16),
    /// A QoS 2 identifier was released.
    Release(SessionId, u16),
    /// The session's connection has ended: entries up to this sequence may have been sent on it,
    /// later ones were not. 0 if none was.
    ///
    /// Submitted once for each connection, before the `PutSession` of the next one. See
    /// [`crate::RecoveredSession::sent_sequence`].
    Sent(SessionId, u64),
    /// A message is kept until it is to be published.
    Delay {
        /// From [`crate::Store::next_delayed_id`].
        id: u64,
        /// When it is to be published.
        due: Timestamp,
        /// What.
        message: Arc<Message>,
    },
    /// A delayed message is published, or is not to be.
    Undelay(u64),
    /// The connection that begins has a will.
    PutWill {
        /// From [`crate::Store::next_will_id`].
        id: u64,
        /// The session of the connection.
        session: SessionId,
        /// What.
        will: Arc<WillMessage>,
    },
    /// The connection of a will is lost, and its delay ends at this moment.
    DelayWill(u64, Timestamp),
    /// A will is published, or is not to be.
    RemoveWill(u64),
    /// A message that another broker has sent was taken. It is submitted under one
    /// [`crate::Hold`] with what the message caused: so a crash leaves both or none.
    NoteName {
        /// The run of the broker where it was published.
        run: Arc<str>,
        /// Its number there.
        number: u64,
        /// Now.
        at: Timestamp,
    },
    /// The present moment is to be written down, although nothing else is. See [`crate::Clock`].
    NoteTime,
    /// Removes entries of queues that have expired; see [`crate::Store::expire`].
    Expire(Sweep),
    /// Reads a part of a session's queue, as it is when this and maybe more is committed.
    LoadPage(SessionId, PageRequest, PageReply),
    /// Removes the oldest of a part of a session's queue, as of the changes before it; at most
    /// 10,000 entries at a time, and none if they cannot be read. The answer may come before they
    /// are removed.
    Trim(SessionId, TrimRequest, TrimReply),
}

impl Operation {
    /// When what it puts into a queue ends.
    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        if let Self::Enqueue { expires_at, .. } = self {
            *expires_at
        } else {
            None
        }
    }

    /// Bytes it counts against the limit of what may wait for the writer.
    pub(crate) fn byte_count(&self) -> usize {
        let body = match self {
            Self::Enqueue { stored, .. } => stored.message.byte_count(),
            Self::Retain(_, Some(message)) | Self::Delay { message, .. } => message.byte_count(),
            Self::PutWill { will, .. } => will.message.byte_count(),
            Self::NoteName { run, .. } => run.len(),
            Self::PutSession { .. }
            | Self::DeleteSession(_)
            | Self::Subscribe(..)
            | Self::Unsubscribe(..)
            | Self::Pubrec(..)
            | Self::Received(..)
            | Self::Connecting(_)
            | Self::Connected { .. }
            | Self::Dequeue(..)
            | Self::Retain(_, None)
            | Self::Receive(..)
            | Self::Release(..)
            | Self::Sent(..)
            | Self::Undelay(_)
            | Self::DelayWill(..)
            | Self::RemoveWill(_)
            | Self::NoteTime
            | Self::Expire(_)
            | Self::LoadPage(..)
            | Self::Trim(..) => 0,
        };
        body + size_of::<Self>()
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::PutSession { .. } => "PutSession",
            Self::DeleteSession(_) => "DeleteSession",
            Self::Subscribe(..) => "Subscribe",
            Self::Unsubscribe(..) => "Unsubscribe",
            Self::Enqueue { .. } => "Enqueue",
            Self::Pubrec(..) => "Pubrec",
            Self::Received(..) => "Received",
            Self::Connecting(_) => "Connecting",
            Self::Connected { .. } => "Connected",
            Self::Dequeue(..) => "Dequeue",
            Self::Retain(..) => "Retain",
            Self::Receive(..) => "Receive",
            Self::Release(..) => "Release",
            Self::Sent(..) => "Sent",
            Self::Delay { .. } => "Delay",
            Self::Undelay(_) => "Undelay",
            Self::PutWill { .. } => "PutWill",
            Self::DelayWill(..) => "DelayWill",
            Self::RemoveWill(_) => "RemoveWill",
            Self::NoteName { .. } => "NoteName",
            Self::NoteTime => "NoteTime",
            Self::Expire(_) => "Expire",
            Self::LoadPage(..) => "LoadPage",
            Self::Trim(..) => "Trim",
        };
        formatter.write_str(name)
    }
}
