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
//! Which names were seen is in memory here. The broker stores those of the messages that it
//! stores, and gives them back after a restart ([`LoopGuard::recover`]).

mod announcement;
mod broker_id;
mod circuit;
mod hops;
mod seen;
mod stamp;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mqtt::packet::{ForwardedProperties, Property};

pub use self::announcement::Announcement;
pub use self::broker_id::{BrokerId, BrokerIdError};
pub use self::circuit::{may_return, nameless};
pub use self::hops::HOPS_MAX;
pub use self::seen::{ORIGINS_MAX, WINDOW};
pub(crate) use self::stamp::without_stamp;

use self::hops::Hops;
use self::seen::{Novelty, Seen};
pub use self::stamp::{InvalidRun, Run, Stamp};

/// Messages of bridges that are taken at the same time, unless two of them have to wait for each
/// other by chance.
const TURNS: usize = 32;

/// When messages are guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarding {
    /// Never: the properties are passed on like others.
    Never,
    /// From the first guarded bridge of another broker on.
    #[default]
    WhenAsked,
    /// From the first bridge of another broker on: what it brings may leave through one of ours, or
    /// the other way round.
    WhenMet,
    /// From the start.
    Always,
}

/// What one broker knows of the messages that it has taken.
#[derive(Debug)]
pub struct LoopGuard {
    reasons: Mutex<Reasons>,
    is_on: AtomicBool,
    hops: Hops,
    run: Run,
    /// Of the next message that is published here.
    next: AtomicU64,
    seen: Mutex<Seen>,
    /// Each for the names that fall to it.
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
}

/// Why messages are guarded, or not.
#[derive(Clone, Copy, Debug)]
struct Reasons {
    guarding: Guarding,
    /// What bridges have come, the one that asks for most.
    met: Option<Announcement>,
}

impl Reasons {
    fn suffice(self) -> bool {
        match self.guarding {
            Guarding::Never => false,
            Guarding::WhenAsked => self.met == Some(Announcement::Guarded),
            Guarding::WhenMet => self.met.is_some(),
            Guarding::Always => true,
        }
    }
}

/// The copies of one message wait for each other while this is held.
#[derive(Debug)]
pub struct Turn<'g>(#[expect(dead_code, reason = "it is held")] MutexGuard<'g, ()>);

/// A message may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its properties from here on.
    pub properties: ForwardedProperties,
    /// Its name if it came with one, to be stored or for [`LoopGuard::forget`].
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
        let reasons = Reasons {
            guarding,
            met: None,
        };
        Self {
            reasons: reasons.into(),
            is_on: reasons.suffice().into(),
            run: Run {
                origin: own.clone(),
                run,
            },
            hops: Hops::new(own),
            next: AtomicU64::new(1),
            seen: Mutex::default(),
            turns: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// Takes over which messages of a run have come: a bit for each, the lowest of a byte first, of
    /// the numbers from `first` on, which is a multiple of 8. The run that was silent for longest
    /// comes first.
    pub fn recover(&self, run: &Run, first: u64, bits: &[u8]) {
        self.seen().recover(run, first, bits);
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

    /// A bridge of another broker has come.
    pub fn meet(&self, bridge: Announcement) {
        self.decide(|reasons| reasons.met = reasons.met.max(Some(bridge)));
    }

    /// Messages are guarded by another rule from now on.
    pub fn set_guarding(&self, guarding: Guarding) {
        self.decide(|reasons| reasons.guarding = guarding);
    }

    fn decide(&self, change: impl FnOnce(&mut Reasons)) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut reasons);
        self.is_on.store(reasons.suffice(), Ordering::Relaxed);
    }

    /// Waits until no other copy of a message is being taken, so that whoever finds it taken finds
    /// it stored or refused too; none if it has no name. It is not to be held for long.
    pub fn turn(&self, properties: &ForwardedProperties) -> Option<Turn<'_>> {
        let name = properties.user_property(stamp::PROPERTY)?;
        let place = self.hasher.hash_one(name) % TURNS as u64;
        let turn = self.turns.get(usize::try_from(place).ok()?)?;
        // Nothing is in it that a panic could leave undone.
        Some(Turn(turn.lock().unwrap_or_else(PoisonError::into_inner)))
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
