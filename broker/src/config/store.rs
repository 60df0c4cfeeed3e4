//! `store`: what survives a restart.

use std::path::PathBuf;

use gateway::{ByteSize, ConfiguredDuration, ConfiguredFilter};
use mqtt::Sharing;
use mqtt::session::LANE_MAX;
use persistence::{Durability, Quota};
use serde::Deserialize;

use super::node::Step;
use super::problem::{Problem, check_positive, check_range};
use crate::exchange::{DurabilityRules, QueueRules};

/// The database of sessions, queues and retained messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// Whether anything survives a restart; default true.
    pub(crate) enable: bool,
    /// The database's folder; default is `STATE_DIRECTORY`, `$XDG_STATE_HOME/tidegate`
    /// or `~/.local/state/tidegate`.
    pub(crate) path: Option<PathBuf>,
    /// How safe a QoS 1 or 2 message is before it is acknowledged; default `normal`.
    pub(crate) durability: ConfiguredDurability,
    /// Other durabilities for some topics; the first filter that matches counts.
    pub(crate) topics: Vec<TopicDurability>,
    /// How long a message waits at most for others to be written with; default 5ms. An
    /// acknowledgement waits as long.
    pub(crate) commit_interval: ConfiguredDuration,
    /// Messages that end this wait early; default 100. Clients with fewer unacknowledged ones wait
    /// for the interval.
    pub(crate) commit_messages: u32,
    /// Bytes that wait to be written; default 16 MiB. Publishers are slowed down beyond.
    pub(crate) max_pending_bytes: ByteSize,
    /// Messages that wait for one session, in memory and on disk; default 1000000.
    pub(crate) max_messages: u64,
    /// Bytes of their topics, payloads and properties; default 1 GiB.
    pub(crate) max_bytes: ByteSize,
    /// How long a message waits for one session; default 0s, which is without end. Beyond, it is
    /// dropped and counted as expired.
    pub(crate) max_age: ConfiguredDuration,
    /// Messages that wait in other lanes than lane 1; default is none. The first rule that matches
    /// counts.
    pub(crate) lanes: Vec<LaneRule>,
    /// Topics of which only the last message of QoS 1 and 2 waits for a session; default is none.
    pub(crate) latest_only: Vec<ConfiguredFilter>,
    /// Bytes of the database that hold something, of all sessions together; default 8 GiB, which
    /// leaves half of the usual 16 GB of a gateway to others. 0 for no limit.
    pub(crate) max_total_size: ByteSize,
    /// Messages in the queues of all sessions; default 0, for no limit.
    pub(crate) max_total_messages: u64,
    /// Bytes that the file system of the database has left to others at least, beside the 8 MiB that
    /// the store itself needs to be drained. Default is 64 MiB or 5 % of the file system, whichever
    /// is less.
    pub(crate) min_free_space: Option<ByteSize>,
    /// What gives way when the queue of a session or the whole store is full; default
    /// `reject_new`.
    pub(crate) when_full: WhenFull,
}

/// Messages that wait in a lane.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneRule {
    /// Their topics.
    filter: ConfiguredFilter,
    /// 0 to 3. Higher lanes are sent first, and lose messages last when a queue is full.
    lane: u8,
}

/// What gives way when a queue or the store is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    /// The new message.
    #[default]
    RejectNew,
    /// The messages that wait longest.
    DropOldest,
}

impl From<WhenFull> for mqtt::session::WhenFull {
    fn from(when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::RejectNew => Self::RejectNew,
            WhenFull::DropOldest => Self::DropOldest,
        }
    }
}

/// How safe a message is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfiguredDurability {
    /// It is in memory, and lost with the process.
    Memory,
    /// It is written and survives the process; a power cut may take the last second.
    #[default]
    Normal,
    /// It is written and synced, and survives a power cut.
    Full,
}

impl From<ConfiguredDurability> for Durability {
    fn from(durability: ConfiguredDurability) -> Self {
        match durability {
            ConfiguredDurability::Memory => Self::Memory,
            ConfiguredDurability::Normal => Self::Normal,
            ConfiguredDurability::Full => Self::Full,
        }
    }
}

/// The durability of some topics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicDurability {
    filter: ConfiguredFilter,
    durability: ConfiguredDurability,
}

/// Publishers wait for their acknowledgements as long.
const COMMIT_INTERVAL_MAX: ConfiguredDuration = ConfiguredDuration::from_secs(10);

/// Less than this would keep single messages from being queued.
const BYTES_MIN: u64 = 1024;
/// What the store can count.
const BYTES_MAX: u64 = 1 << 60;
/// An empty database takes a part of this, and sessions without messages another.
const TOTAL_SIZE_MIN: ByteSize = ByteSize::mebibytes(1);

impl Default for Store {
    fn default() -> Self {
        Self {
            enable: true,
            path: None,
            durability: ConfiguredDurability::Normal,
            topics: Vec::new(),
            commit_interval: ConfiguredDuration::from_millis(5),
            commit_messages: 100,
            max_pending_bytes: ByteSize::mebibytes(16),
            max_messages: 1_000_000,
            max_bytes: ByteSize::mebibytes(1024),
            max_age: ConfiguredDuration::from_secs(0),
            lanes: Vec::new(),
            max_total_size: ByteSize::mebibytes(8 * 1024),
            max_total_messages: 0,
            min_free_space: None,
            when_full: WhenFull::RejectNew,
            latest_only: Vec::new(),
        }
    }
}

impl Store {
    /// The durability of each message.
    pub(crate) fn durability_rules(&self) -> DurabilityRules {
        if !self.enable {
            return DurabilityRules::new(Vec::new(), Durability::Memory);
        }
        let rules = self.topics.iter();
        let rules = rules.map(|it| (it.filter.0.clone(), it.durability.into()));
        DurabilityRules::new(rules.collect(), self.durability.into())
    }

    /// The bounds of the store as a whole.
    pub(crate) fn quota(&self) -> Quota {
        let or_none = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        Quota {
            used_bytes_max: or_none(self.max_total_size.bytes()),
            queued_max: or_none(self.max_total_messages),
            left_bytes_min: self.min_free_space.map(ByteSize::bytes),
            drops_oldest: self.when_full == WhenFull::DropOldest,
        }
    }

    pub(super) fn validate(&self) -> Result<(), Problem> {
        if self
            .path
            .as_ref()
            .is_some_and(|it| it.as_os_str().is_empty())
        {
            let message = "expected a folder, found an empty text; leave it out for the default";
            return Err(Problem::at(&["store", "path"], message));
        }
        if self.path.as_ref().is_some_and(|it| it.starts_with("~")) {
            let message = "`~` means nothing here; write ${HOME} for the home directory";
            return Err(Problem::at(&["store", "path"], message));
        }
        let interval = self.commit_interval.0.as_millis();
        let interval_max = COMMIT_INTERVAL_MAX.0.as_millis();
        if interval > interval_max {
            let message = format!("expected at most {interval_max}ms, found {interval}ms");
            return Err(Problem::at(&["store", "commit_interval"], &message));
        }
        check_range(
            &["store", "commit_messages"],
            self.commit_messages,
            1,
            1_000_000,
        )?;
        check_positive(&["store", "max_pending_bytes"], self.max_pending_bytes)?;
        check_positive(&["store", "max_messages"], self.max_messages)?;
        check_range(
            &["store", "max_bytes"],
            self.max_bytes.bytes(),
            BYTES_MIN,
            BYTES_MAX,
        )?;
        for (index, rule) in self.lanes.iter().enumerate() {
            let at = |key: &str| {
                let mut path = place("lanes", index);
                path.push(Step::Key(key.to_owned()));
                path
            };
            check_topics(at("filter"), &rule.filter)?;
            if rule.lane > LANE_MAX {
                let message = format!("expected a value from 0 to {LANE_MAX}, found {}", rule.lane);
                return Err(Problem::at_path(at("lane"), &message));
            }
        }
        let total = self.max_total_size;
        if total.bytes() > 0 && total < TOTAL_SIZE_MIN {
            let message = format!(
                "expected 0 for no limit or at least {} bytes, found {}",
                TOTAL_SIZE_MIN.bytes(),
                total.bytes()
            );
            return Err(Problem::at(&["store", "max_total_size"], &message));
        }
        let mut latest_only = self.latest_only.iter().enumerate();
        latest_only.try_for_each(|(index, it)| check_topics(place("latest_only", index), it))
    }

    /// How messages wait.
    pub(crate) fn queue_rules(&self) -> QueueRules {
        let lanes = self.lanes.iter();
        QueueRules {
            lanes: lanes.map(|it| (it.filter.0.clone(), it.lane)).collect(),
            latest_only: self.latest_only.iter().map(|it| it.0.clone()).collect(),
            waiting_max: Some(self.max_age.0).filter(|it| !it.is_zero()),
        }
    }
}

/// Where an element of a list is.
fn place(list: &str, index: usize) -> Vec<Step> {
    let keys = ["store", list].map(|it| Step::Key(it.to_owned()));
    keys.into_iter().chain([Step::Index(index)]).collect()
}

/// A filter of messages is not one of a group.
fn check_topics(path: Vec<Step>, filter: &ConfiguredFilter) -> Result<(), Problem> {
    if filter.0.sharing() == Sharing::Each {
        return Ok(());
    }
    let message = "expected a filter of topics, found one of a Shared or exclusive subscription";
    Err(Problem::at_path(path, message))
}
