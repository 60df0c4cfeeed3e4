//! Will Messages (§3.1.2.5): where they are kept, and when they are published. Those of durable
//! sessions are in the store too, so that a crash or a restart loses none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mqtt::Timestamp;
use mqtt::connection::WillMessage;
use persistence::{Operation, RecoveredWill};

use crate::exchange::Exchange;
use crate::link::Link;

/// The will of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    message: Arc<WillMessage>,
    /// Its number in the store, if it is there.
    stored: Option<u64>,
}

impl Will {
    /// How long to wait for the client to come back before it is published.
    pub(crate) fn delay(&self) -> Duration {
        self.message.delay
    }
}

impl Exchange {
    /// Keeps the will of a connection that begins.
    pub(super) fn keep_will(&self, link: &Link, will: WillMessage) -> Will {
        let message = Arc::new(will);
        let stored = link.durable().map(|session| {
            let (id, will) = (self.store.next_will_id(), Arc::clone(&message));
            self.store.submit(Operation::PutWill { id, session, will });
            id
        });
        Will { message, stored }
    }

    /// The connection of a will is lost: says until when to wait for the next one.
    pub(super) fn delay_will(&self, will: Will) -> (Timestamp, Will) {
        let due = self.clock.after(will.delay());
        if let Some(id) = will.stored {
            self.store.submit(Operation::DelayWill(id, due));
        }
        (due, will)
    }

    /// A will is not to be published.
    pub(crate) fn forget_will(&self, will: &Will) {
        if let Some(id) = will.stored {
            self.store.submit(Operation::RemoveWill(id));
        }
    }

    /// Publishes the will of a session's connection; there is no session if it has ended.
    pub(super) fn publish_will(&self, link: Option<&Link>, will: &Will) {
        // In one commit with what routing stores, so that a crash neither loses nor repeats it.
        let _together = self.store.hold();
        let message = WillMessage::clone(&will.message).into_message(self.now());
        if let Err(reason) = self.publish_taken(message, link) {
            let topic = &will.message.message.topic;
            tracing::debug!(%topic, ?reason, "a will is not published");
        }
        self.forget_will(will);
    }

    /// Puts back the wills that the store knew. Those that wait for nobody are published, before
    /// their clients can come back and say something else. A connection that lived when the
    /// daemon died is lost with its start.
    pub(crate) fn recover_wills(&self, recovered: Vec<RecoveredWill>) {
        let links = self.registry.links().into_iter();
        let links: HashMap<_, _> = links.filter_map(|it| Some((it.durable()?, it))).collect();
        for RecoveredWill {
            id,
            session,
            due,
            will: message,
        } in recovered
        {
            let stored = Some(id);
            let will = Will { message, stored };
            let link = links.get(&session);
            // The earlier connection was taken over within its delay.
            let earlier = link.and_then(|it| it.lock().delayed_will.take());
            earlier.iter().for_each(|it| self.forget_will(&it.1));
            match link {
                Some(link) if !will.delay().is_zero() => {
                    let delayed = match due {
                        Some(due) => (due, will),
                        None => self.delay_will(will),
                    };
                    link.lock().delayed_will = Some(Box::new(delayed));
                }
                // The end of the session ends the delay [MQTT-3.1.3-9].
                Some(_) | None => self.publish_will(link.map(|it| &**it), &will),
            }
        }
    }
}
