//! How safe a message is before it is acknowledged.

use mqtt::{TopicFilter, TopicName};
use persistence::Durability;

/// The durability of messages by their topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct DurabilityRules {
    /// The first whose filter matches counts.
    rules: Vec<(TopicFilter, Durability)>,
    otherwise: Durability,
}

impl DurabilityRules {
    pub(crate) const fn new(rules: Vec<(TopicFilter, Durability)>, otherwise: Durability) -> Self {
        Self { rules, otherwise }
    }

    /// The durability of messages to this topic.
    pub(crate) fn of(&self, topic: &TopicName) -> Durability {
        let topic = topic.as_str();
        let rule = self.rules.iter().find(|(filter, _)| filter.matches(topic));
        rule.map_or(self.otherwise, |(_, durability)| *durability)
    }

    /// The durability of messages that no rule is about.
    pub(crate) const fn otherwise(&self) -> Durability {
        self.otherwise
    }

    /// The highest that is promised anywhere. What sessions themselves are made of has it too:
    /// that an identifier of QoS 2 is free again must not be forgotten before the message that
    /// comes under it next.
    pub(crate) fn highest(&self) -> Durability {
        let rules = self.rules.iter().map(|(_, durability)| *durability);
        rules.fold(self.otherwise, Durability::max)
    }

    /// As it is announced below `$SYS`, one line each.
    pub(crate) fn describe(&self) -> String {
        let rules = self.rules.iter();
        let rules = rules.map(|(filter, durability)| format!("\n{durability} {filter}"));
        format!("{}{}", self.otherwise, rules.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let filter = |it| TopicFilter::new(it).unwrap();
        let rules = vec![
            (filter("alarm/test"), Durability::Normal),
            (filter("alarm/#"), Durability::Full),
        ];
        let rules = DurabilityRules::new(rules, Durability::Memory);
        let of = |topic| rules.of(&TopicName::new(topic).unwrap());
        assert_eq!(of("alarm/test"), Durability::Normal);
        assert_eq!(of("alarm/fire"), Durability::Full);
        assert_eq!(of("other"), Durability::Memory);
        assert_eq!(rules.highest(), Durability::Full);
        assert_eq!(rules.describe(), "memory\nnormal alarm/test\nfull alarm/#");
        assert_eq!(
            DurabilityRules::default().of(&TopicName::new("x").unwrap()),
            Durability::Normal
        );
    }
}
