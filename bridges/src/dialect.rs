//! The version of MQTT that a hub is spoken to with: pure.
//!
//! Some old brokers refuse a version, or the bridge bit, by closing the connection without a word. So
//! does a proxy whose broker is away. What it was is found out: an older version is tried, and once
//! it is answered the one that was chosen again. Only if that still is not is the older one kept.

use std::time::Duration;

use mqtt::connection::ClientOptions;
use tokio::time::Instant;

/// Connections in a row that a hub closes without an answer to CONNECT; then an older version is
/// tried.
const SILENCES_MAX: u32 = 3;
/// How long the older version is kept. The next connection behind that begins with the one that was
/// chosen: the hub may be another one by then.
const OLDER_TIME: Duration = Duration::from_secs(3_600);

/// How one hub is spoken to.
#[derive(Debug)]
pub(crate) struct Dialect {
    chosen: ClientOptions,
    older: ClientOptions,
    stage: Stage,
    /// Connections in a row that the hub closed without an answer to what was chosen.
    silences: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What was chosen.
    Chosen,
    /// The older version, to see whether the hub answers that.
    Trial,
    /// What was chosen, now that the hub answers the older version.
    Check,
    /// The older version, which was found to be needed.
    Older { since: Instant },
}

/// What came of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The hub answered, and not that it does not know the version.
    Answer,
    /// The hub does not know the version.
    OtherVersion,
    /// The hub closed the connection.
    Silence,
    /// The CONNECT did not reach the hub, or something else happened.
    Nothing,
}

impl Dialect {
    /// Begins with these options.
    pub(crate) fn new(chosen: &ClientOptions) -> Self {
        let mut older = chosen.clone();
        older.fall_back();
        Self {
            chosen: chosen.clone(),
            older,
            stage: Stage::Chosen,
            silences: 0,
        }
    }

    /// A connection is to be made.
    pub(crate) fn begin(&mut self) {
        let is_kept = |since: Instant| since.elapsed() < OLDER_TIME;
        if !matches!(self.stage, Stage::Older { since } if is_kept(since)) {
            self.stage = Stage::Chosen;
        }
    }

    /// What CONNECT says.
    pub(crate) const fn options(&self) -> &ClientOptions {
        match self.stage {
            Stage::Chosen | Stage::Check => &self.chosen,
            Stage::Trial | Stage::Older { .. } => &self.older,
        }
    }

    /// Takes note of what came of a CONNECT; true if another one is to be sent at once, whatever this
    /// one has brought.
    pub(crate) fn note(&mut self, heard: Heard) -> bool {
        let since = Instant::now();
        let (stage, goes_on) = match (self.stage, heard) {
            (Stage::Chosen | Stage::Check, Heard::Answer) => {
                self.silences = 0;
                (Stage::Chosen, false)
            }
            (Stage::Chosen | Stage::Check, Heard::OtherVersion)
            | (Stage::Check, Heard::Silence) => (Stage::Older { since }, true),
            (Stage::Chosen, Heard::Silence) => {
                self.silences = self.silences.saturating_add(1);
                let is_tried = self.silences >= SILENCES_MAX && self.chosen.can_fall_back();
                (
                    if is_tried {
                        Stage::Trial
                    } else {
                        Stage::Chosen
                    },
                    is_tried,
                )
            }
            (Stage::Trial, Heard::Answer) => (Stage::Check, true),
            (Stage::Trial, Heard::OtherVersion | Heard::Silence | Heard::Nothing)
            | (Stage::Check | Stage::Chosen, Heard::Nothing)
            | (Stage::Older { .. }, Heard::Silence) => (Stage::Chosen, false),
            (older @ Stage::Older { .. }, Heard::Answer | Heard::OtherVersion | Heard::Nothing) => {
                (older, false)
            }
        };
        self.stage = stage;
        goes_on
    }

    /// True if the hub is spoken to with another version than was chosen, or without the bridge bit.
    pub(crate) const fn is_older(&self) -> bool {
        matches!(self.stage, Stage::Older { .. })
    }
}

#[cfg(test)]
mod tests {
    use mqtt::ProtocolVersion;
    use tokio::time::advance;

    use super::*;

    /// A hub that may answer some CONNECTs.
    struct Hub {
        dialect: Dialect,
        /// The versions of all CONNECTs, 84 with the bridge bit.
        seen: Vec<u8>,
    }

    impl Hub {
        fn new(version: ProtocolVersion, is_bridge: bool) -> Self {
            let mut options = ClientOptions::new(version, "c");
            options.is_bridge = is_bridge;
            Self {
                dialect: Dialect::new(&options),
                seen: Vec::new(),
            }
        }

        /// One attempt to connect; returns the versions of its CONNECTs.
        fn attempt(&mut self, mut answer: impl FnMut(u8) -> Heard) -> Vec<u8> {
            self.seen.clear();
            self.dialect.begin();
            loop {
                let options = self.dialect.options();
                let is_bridge = options.is_bridge && !options.version.is_v5();
                let version = options.version as u8 + if is_bridge { 80 } else { 0 };
                self.seen.push(version);
                if !self.dialect.note(answer(version)) {
                    return std::mem::take(&mut self.seen);
                }
            }
        }
    }

    /// Closes on all versions but this one.
    fn only(version: u8) -> impl FnMut(u8) -> Heard {
        move |it| {
            if it == version {
                Heard::Answer
            } else {
                Heard::Silence
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_closes_on_a_version_is_spoken_to_with_an_older_one_for_a_time() {
        for (version, is_bridge, first) in [
            (ProtocolVersion::V5, true, 5),
            (ProtocolVersion::V311, true, 84),
        ] {
            let mut hub = Hub::new(version, is_bridge);
            for _ in 1..SILENCES_MAX {
                assert_eq!(hub.attempt(only(4)), [first]);
            }
            assert_eq!(hub.attempt(only(4)), [first, 4, first, 4]);
            assert!(hub.dialect.is_older());
            advance(OLDER_TIME - Duration::from_secs(1)).await;
            assert_eq!(hub.attempt(only(4)), [4]);
            advance(Duration::from_secs(1)).await;
            assert_eq!(hub.attempt(only(4)), [first, 4, first, 4]);
            advance(OLDER_TIME).await;
            assert_eq!(hub.attempt(|_| Heard::Answer), [first]);
            assert!(!hub.dialect.is_older());
            assert_eq!(hub.attempt(only(4)), [first], "counted anew");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_was_away_is_spoken_to_as_it_was_chosen() {
        let silent = |_| Heard::Silence;
        let mut hub = Hub::new(ProtocolVersion::V5, false);
        for _ in 1..SILENCES_MAX {
            assert_eq!(hub.attempt(silent), [5]);
        }
        for _ in 0..3 {
            assert_eq!(hub.attempt(silent), [5, 4]);
        }
        let mut connects = 0;
        let comes_up = |_| {
            connects += 1;
            if connects > 1 {
                Heard::Answer
            } else {
                Heard::Silence
            }
        };
        assert_eq!(hub.attempt(comes_up), [5, 4, 5]);
        assert!(!hub.dialect.is_older());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_the_version_is_believed_at_once() {
        let mut hub = Hub::new(ProtocolVersion::V5, false);
        let refuses = |version| {
            if version == 5 {
                Heard::OtherVersion
            } else {
                Heard::Answer
            }
        };
        assert_eq!(hub.attempt(refuses), [5, 4]);
        assert_eq!(hub.attempt(refuses), [4]);
        // It is no longer reached, and then it is another one.
        assert_eq!(hub.attempt(|_| Heard::Nothing), [4]);
        assert_eq!(hub.attempt(|_| Heard::Silence), [4]);
        assert_eq!(hub.attempt(|_| Heard::Answer), [5]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_older_version_none_is_tried() {
        let mut hub = Hub::new(ProtocolVersion::V311, false);
        for _ in 0..2 * SILENCES_MAX {
            assert_eq!(hub.attempt(|_| Heard::Silence), [4]);
        }
    }
}
