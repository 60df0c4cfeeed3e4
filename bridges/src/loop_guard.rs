//! Each message once on every broker, however bridges connect them.
//!
//! The broker where a message is published gives it two user properties: `x-origin`, the brokers
//! that it has passed, and `x-origin-seq`, its name ([`Stamp`]). Every broker that takes it from a
//! bridge adds itself to the first. It does not take a message that it is in itself, or whose name
//! it has seen. So nothing goes round in a circle, and what comes on two ways is taken once. No
//! Local (MQTT 5) and the bridge bit (MQTT 3.1.1) only help between two brokers.
//!
//! What clients write into these properties has no meaning and is replaced. Bridges are trusted:
//! the broker's own, and clients that say that they are one in the [`ANNOUNCEMENT`]. MQTT 3 has no
//! properties, so a bridge that speaks it makes new messages of those that it carries.
//!
//! The names that were seen are in memory only: after a restart what is still on another way may
//! be taken a second time. It cannot go round: `x-origin` is in the message.

mod broker_id;
mod circuit;
mod hops;
mod seen;
mod stamp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mqtt::packet::{ForwardedProperties, Property};

pub use self::broker_id::{BrokerId, BrokerIdError};
pub use self::circuit::may_return;
pub use self::hops::HOPS_MAX;
pub use self::seen::{ORIGINS_MAX, WINDOW};
pub(crate) use self::stamp::without_stamp;

use self::hops::Hops;
use self::seen::{Novelty, Seen};
pub use self::stamp::{Run, Stamp};

/// The user property of CONNECT by which a client says that it is a guarded bridge of a Tidegate,
/// and its value.
pub const ANNOUNCEMENT: (&str, &str) = ("x-bridge", "tidegate");

/// When messages are guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarding {
    /// Never: the properties are passed on like others.
    Never,
    /// From the first guarded bridge of another broker on.
    #[default]
    WhenAsked,
    /// From the start.
    Always,
}

/// What one broker knows of the messages that it has taken.
#[derive(Debug)]
pub struct LoopGuard {
    guarding: Guarding,
    is_on: AtomicBool,
    hops: Hops,
    run: Run,
    /// Of the next message that is published here.
    next: AtomicU64,
    seen: Mutex<Seen>,
}

/// A message may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its properties from here on.
    pub properties: ForwardedProperties,
    /// Its name if it came with one, for [`LoopGuard::forget`].
    pub stamp: Option<Stamp>,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Repetition {
    /// It has been here, and has passed other brokers since.
    #[error("the message has been here before")]
    Returned,
    /// It came on another way, or is sent again.
    #[error("the message has come already")]
    Seen,
    /// It has been at [`HOPS_MAX`] brokers.
    #[error("the message has passed {HOPS_MAX} brokers")]
    TooManyHops,
}

impl LoopGuard {
    /// The guard of a broker. `run` tells this start of the broker from all others.
    #[must_use]
    pub fn new(own: BrokerId, run: u64, guarding: Guarding) -> Self {
        Self {
            guarding,
            is_on: (guarding == Guarding::Always).into(),
            run: Run {
                origin: own.clone(),
                run,
            },
            hops: Hops::new(own),
            next: AtomicU64::new(1),
            seen: Mutex::default(),
        }
    }

    /// The broker's identifier.
    #[must_use]
    pub const fn broker_id(&self) -> &BrokerId {
        &self.run.origin
    }

    /// Whether messages are guarded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A guarded bridge of another broker has come.
    pub fn ask(&self) {
        if self.guarding != Guarding::Never {
            self.is_on.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a message is to be taken, and with which properties.
    ///
    /// # Errors
    /// It is not, because it is here or would go round. Its sender is answered as if it were.
    pub fn admit(
        &self,
        properties: &ForwardedProperties,
        is_from_bridge: bool,
    ) -> Result<Admitted, Repetition> {
        let hops = if is_from_bridge {
            self.hops.extended(properties)?
        } else {
            self.hops.first()
        };
        let stamp = is_from_bridge.then(|| Stamp::of(properties)).flatten();
        if let Some(stamp) = &stamp {
            match self.seen().insert(stamp) {
                // What cannot be told from a repetition is better twice than never.
                Novelty::New | Novelty::TooOld => {}
                Novelty::Repeated => return Err(Repetition::Seen),
            }
        }
        let name = stamp.as_ref().map_or_else(|| self.name(), Stamp::to_string);
        let others = properties.iter();
        let others = others.filter(|it| !hops::is_mark(it) && !stamp::is_stamp(it));
        let marks = [
            Property::UserProperty(hops::PROPERTY, &hops),
            Property::UserProperty(stamp::PROPERTY, &name),
        ];
        Ok(Admitted {
            properties: ForwardedProperties::from_properties(others.chain(marks)),
            stamp,
        })
    }

    /// A message that was admitted was not taken after all, and may come again.
    pub fn forget(&self, stamp: &Stamp) {
        self.seen().remove(stamp);
    }

    /// The name of a message that is published here.
    fn name(&self) -> String {
        let stamp = Stamp {
            run: self.run.clone(),
            number: self.next.fetch_add(1, Ordering::Relaxed),
        };
        stamp.to_string()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Whatever a panic left undone, at worst one message is taken twice.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
