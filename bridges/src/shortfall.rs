//! What the hub's Maximum QoS takes from messages: pure.

use std::fmt;

use mqtt::QoS;

use crate::config::Forward;

/// A hub that takes less QoS than a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortfall<'c> {
    /// What the hub takes at most.
    qos_max: QoS,
    /// What the rule asks for, which is the most that any asks for.
    asked: QoS,
    /// What the rule forwards.
    topic: &'c str,
}

impl<'c> Shortfall<'c> {
    /// None if the hub takes what all rules ask for. A rule without a QoS asks for 1: what is
    /// published with less than that and kept is forwarded with it.
    pub(crate) fn of(rules: &'c [Forward], qos_max: QoS) -> Option<Self> {
        let asks = |rule: &Forward| rule.qos.map_or(QoS::AtLeastOnce, |it| it.0);
        let rule = rules.iter().max_by_key(|it| asks(it))?;
        let asked = asks(rule);
        (asked > qos_max).then_some(Self {
            qos_max,
            asked,
            topic: rule.local_topic.0.as_str(),
        })
    }
}

impl fmt::Display for Shortfall<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            qos_max,
            asked,
            topic,
        } = self;
        let (qos_max, asked) = (*qos_max as u8, *asked as u8);
        write!(
            formatter,
            "messages go with less QoS than asked: the hub takes {qos_max} at most, and the rule \
             for `{topic}` asks for {asked}"
        )?;
        if qos_max == 0 {
            formatter.write_str(
                "; it acknowledges nothing, and what is on its way when the connection is lost is \
                 lost too",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rules: &str, qos_max: QoS) -> Option<String> {
        let text = format!("server = \"mqtt-tcp://hub\"\nforwards = [{rules}]");
        let config: crate::Config = toml::from_str(&text).unwrap();
        Shortfall::of(&config.forwards, qos_max).map(|it| it.to_string())
    }

    #[test]
    fn the_rule_that_asks_for_most_is_named_beside_what_the_hub_takes() {
        let open = r#"{ local_topic = "open" }"#;
        let twice = r#"{ local_topic = "a/#", qos = 2 }, { local_topic = "b", qos = 0 }"#;
        let less = "messages go with less QoS than asked: the hub takes";
        let lost = "; it acknowledges nothing, and what is on its way when the connection is lost \
                    is lost too";
        let table = [
            ("", QoS::AtMostOnce, None),
            (r#"{ local_topic = "b", qos = 0 }"#, QoS::AtMostOnce, None),
            (open, QoS::AtLeastOnce, None),
            (
                open,
                QoS::AtMostOnce,
                Some(format!(
                    "{less} 0 at most, and the rule for `open` asks for 1{lost}"
                )),
            ),
            (
                twice,
                QoS::AtLeastOnce,
                Some(format!(
                    "{less} 1 at most, and the rule for `a/#` asks for 2"
                )),
            ),
            (twice, QoS::ExactlyOnce, None),
        ];
        for (rules, qos_max, expected) in table {
            assert_eq!(said(rules, qos_max), expected, "{rules} {qos_max:?}");
        }
    }
}
