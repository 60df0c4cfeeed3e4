//! Topic Names, Topic Filters and the tree that matches one against many of the other
//! (MQTT 5.0 §4.7).

mod filter;
mod filter_tree;
mod name;
mod name_tree;

pub use filter::{Sharing, TopicFilter, TopicFilterError};
pub use filter_tree::FilterTree;
pub use name::{TopicName, TopicNameError};
pub use name_tree::{HasTopic, NameTree};

/// Levels a Topic Name or Topic Filter may have; more is refused as invalid.
pub const TOPIC_LEVELS_MAX: usize = 128;

/// Counts the levels of a topic string: one more than it has separators.
fn level_count(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'/').count() + 1
}
