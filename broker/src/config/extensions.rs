//! What goes beyond MQTT: `delayed`, `rewrite`, `auto_subscribe`, `preset`, `sys_topics`.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway::{
    ConfiguredDuration, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate, TemplateError,
};
use mqtt::TopicFilter;
use mqtt::packet::{RetainHandling, SubscriptionOptions};
use regex::Regex;
use serde::{Deserialize, Deserializer, de};

use super::problem::{Problem, check_positive};
use crate::extensions::{AutoSubscription, PresetSession, RewriteRule, Rewrites, WHO_NAMES};

/// The shortest time between two announcements: each goes through all sessions.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Messages that are published later: `$delayed/{seconds}/{topic}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Delayed {
    /// Whether there are delayed messages; default false, and the topic is one like any other.
    pub(crate) enable: bool,
    /// Messages that may wait; default 10000. Further ones are refused (0x97).
    pub(crate) max_delayed_messages: u32,
}

impl Default for Delayed {
    fn default() -> Self {
        Self {
            enable: false,
            max_delayed_messages: 10_000,
        }
    }
}

/// A rule that replaces topics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rewrite {
    /// What it applies to; default `all`.
    #[serde(default)]
    action: RewriteAction,
    /// The topics, and filters of subscriptions, that it looks at.
    source_topic: ConfiguredFilter,
    /// A regular expression that they must match too; its groups are `$1` and so on then, which
    /// are otherwise what the wildcards of `source_topic` match.
    re: Option<ConfiguredExpression>,
    /// What the topic becomes; `${clientid}` and `${username}` are replaced.
    dest_topic: ConfiguredTemplate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RewriteAction {
    Publish,
    Subscribe,
    #[default]
    All,
}

#[derive(Clone, Debug)]
struct ConfiguredExpression(Regex);

impl<'de> Deserialize<'de> for ConfiguredExpression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text).map(Self).map_err(de::Error::custom)
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        let expression = |it: &Self| it.re.as_ref().map(|it| it.0.as_str().to_owned());
        self.action == other.action
            && self.source_topic == other.source_topic
            && expression(self) == expression(other)
            && self.dest_topic == other.dest_topic
    }
}

/// Subscriptions that every client gets when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AutoSubscribe {
    topics: Vec<AutoSubscribeTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct AutoSubscribeTopic {
    /// The filter; `${clientid}` and `${username}` are replaced.
    topic: ConfiguredTemplate,
    #[serde(default)]
    qos: ConfiguredQoS,
    /// Retain Handling, 0 to 2.
    #[serde(default)]
    rh: u8,
    /// Retain As Published, 0 or 1.
    #[serde(default)]
    rap: u8,
    /// No Local, 0 or 1.
    #[serde(default)]
    nl: u8,
}

/// Sessions that are there before their client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Preset {
    session: BTreeMap<String, PresetClient>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetClient {
    clientid: String,
    /// How long the session waits for its client; default `mqtt.max_session_expiry_interval`.
    session_expiry_interval: Option<ConfiguredDuration>,
    topic: Vec<PresetTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetTopic {
    #[serde(alias = "topic")]
    remote_topic: ConfiguredFilter,
    #[serde(default)]
    qos: ConfiguredQoS,
    #[serde(default)]
    retain_as_published: u8,
    #[serde(default)]
    retain_handling: u8,
}

/// What the daemon says of itself below `$SYS`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SysTopics {
    /// Time between two announcements, at least 100ms; default 10s, 0 for none.
    pub(crate) interval: ConfiguredDuration,
    /// Whether clients that connect and disconnect are announced; default true.
    pub(crate) client_events: bool,
}

impl Default for SysTopics {
    fn default() -> Self {
        Self {
            interval: ConfiguredDuration::from_secs(10),
            client_events: true,
        }
    }
}

fn options(
    qos: ConfiguredQoS,
    retain_handling: u8,
    retain_as_published: u8,
    no_local: u8,
) -> Result<SubscriptionOptions, &'static str> {
    let flag = |value| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err("expected 0 or 1"),
    };
    Ok(SubscriptionOptions {
        qos: qos.0,
        no_local: flag(no_local)?,
        retain_as_published: flag(retain_as_published)?,
        retain_handling: match retain_handling {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err("expected 0, 1 or 2 for retain handling"),
        },
    })
}

impl Delayed {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        let path = ["delayed", "max_delayed_messages"];
        check_positive(&path, self.max_delayed_messages)
    }
}

impl SysTopics {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        let interval = self.interval.0;
        if interval.is_zero() || interval >= INTERVAL_MIN {
            return Ok(());
        }
        let path = ["sys_topics", "interval"];
        Err(Problem::at(
            &path,
            "expected at least 100ms, or 0s for none",
        ))
    }
}

/// The rules of `rewrite`, checked.
pub(super) fn rewrites(rules: &[Rewrite]) -> Result<Rewrites, Problem> {
    let mut rewrites = Rewrites::default();
    for (index, rule) in rules.iter().enumerate() {
        let filter = &rule.source_topic.0;
        let captures = match &rule.re {
            Some(expression) => expression.0.captures_len() - 1,
            None => filter.pattern().matches(['+', '#']).count(),
        };
        let checked = rule.dest_topic.0.check(&WHO_NAMES, captures, 0);
        checked.map_err(|error: TemplateError| {
            Problem::within(&["rewrite"], index, "dest_topic", &error.to_string())
        })?;
        let built = RewriteRule {
            source: filter.clone(),
            expression: rule.re.as_ref().map(|it| it.0.clone()),
            destination: rule.dest_topic.0.clone(),
        };
        if rule.action != RewriteAction::Subscribe {
            rewrites.publish.push(built.clone());
        }
        if rule.action != RewriteAction::Publish {
            rewrites.subscribe.push(built);
        }
    }
    Ok(rewrites)
}

impl AutoSubscribe {
    pub(super) fn build(&self) -> Result<Vec<AutoSubscription>, Problem> {
        const PATH: [&str; 2] = ["auto_subscribe", "topics"];
        let topics = self.topics.iter().enumerate();
        let built = topics.map(|(index, it)| {
            let template = &it.topic.0;
            let checked = template.check(&WHO_NAMES, 0, 0);
            checked.map_err(|error| Problem::within(&PATH, index, "topic", &error.to_string()))?;
            // With any values in their places it must be a filter.
            let example = template.render([("clientid", "c"), ("username", "u")].as_slice());
            if let Err(error) = TopicFilter::new(&example.unwrap_or_default()) {
                return Err(Problem::within(&PATH, index, "topic", &error.to_string()));
            }
            let options = options(it.qos, it.rh, it.rap, it.nl)
                .map_err(|message| Problem::within(&PATH, index, "topic", message))?;
            Ok(AutoSubscription {
                filter: template.clone(),
                options,
            })
        });
        built.collect()
    }
}

impl Preset {
    pub(super) fn build(&self, expiry: ConfiguredDuration) -> Result<Vec<PresetSession>, Problem> {
        let clients = self.session.iter();
        clients
            .map(|(name, client)| client.build(name, expiry))
            .collect()
    }
}

impl PresetClient {
    fn build(&self, name: &str, expiry: ConfiguredDuration) -> Result<PresetSession, Problem> {
        let path = ["preset", "session", name, "topic"];
        if self.clientid.is_empty() || self.clientid.starts_with('$') {
            let path = ["preset", "session", name, "clientid"];
            return Err(Problem::at(&path, "no client can have this identifier"));
        }
        let topics = self.topic.iter().enumerate();
        let subscriptions = topics.map(|(index, it)| {
            let options = options(it.qos, it.retain_handling, it.retain_as_published, 0)
                .map_err(|message| Problem::within(&path, index, "retain_handling", message))?;
            Ok((it.remote_topic.0.clone(), options))
        });
        Ok(PresetSession {
            client_id: self.clientid.clone(),
            expiry: self.session_expiry_interval.unwrap_or(expiry).0,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    }
}
