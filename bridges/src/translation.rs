//! Messages here and messages at the hub: pure.

mod payload;
mod property;
mod rule;

use std::time::Duration;

use bytes::Bytes;
use gateway::{
    ConfigError, Delivery, DropReason, MatchedTopic, SubscriptionRequest, TemplateError,
};
use mqtt::connection::IncomingPublish;
use mqtt::packet::ForwardedProperties;
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName, TopicNameError};

use self::payload::{Content, PayloadTemplate};
use self::property::PropertyRule;
use self::rule::{Rule, Written};
use crate::config::{Config, Forward, Subscription};
use crate::loop_guard::without_stamp;
use crate::site::Site;

/// The highest QoS that the hub is sent messages with.
const QOS_MAX: QoS = QoS::ExactlyOnce;

/// The rules of one bridge, ready for use.
#[derive(Debug)]
pub(crate) struct Translation {
    forwards: Vec<ForwardRule>,
    subscriptions: Vec<SubscriptionRule>,
    /// What no rule is for comes under its own topic.
    is_transparent: bool,
}

/// One rule from here to the hub.
#[derive(Debug)]
struct ForwardRule {
    rule: Rule,
    allow: Vec<TopicFilter>,
    deny: Vec<TopicFilter>,
    qos: Option<QoS>,
    retain: Option<bool>,
    payload: Option<PayloadTemplate>,
    properties: PropertyRule,
}

/// One rule from the hub to here. A message keeps the QoS that the hub sent it with.
#[derive(Debug)]
struct SubscriptionRule {
    rule: Rule,
    request: SubscriptionRequest,
    retain: Option<bool>,
}

/// A message as it is sent to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// What is left of the Message Expiry Interval.
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) properties: ForwardedProperties,
}

/// A message as it came from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) properties: ForwardedProperties,
}

/// Why a message does not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untranslated {
    /// The rules were others when the message was queued, or the hub sends what was not asked for.
    #[error("no rule applies")]
    NoRule,
    /// The rule makes something of its topic that is none.
    #[error(transparent)]
    Topic(#[from] TopicNameError),
    /// The rule's template wants text.
    #[error("the payload is not UTF-8 text, as the rule's `payload` wants it")]
    NotText,
}

impl Untranslated {
    /// Under which reason the drop is counted.
    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::NoRule | Self::Topic(_) => DropReason::Unmapped,
            Self::NotText => DropReason::Untranslatable,
        }
    }
}

impl Received {
    pub(crate) fn new(incoming: &IncomingPublish<'_>) -> Self {
        let publish = &incoming.publish;
        Self {
            topic: incoming.topic.as_str().to_owned(),
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.header.qos,
            retain: publish.header.retain,
            expiry_seconds: incoming.properties.expiry_interval,
            properties: publish.properties.forwarded(),
        }
    }
}

impl Translation {
    /// Compiles the rules.
    pub(crate) fn new(site: &Site, config: &Config) -> Result<Self, ConfigError> {
        let forwards =
            config.forwards.iter().enumerate().map(|(index, forward)| {
                ForwardRule::new(site, &format!("forwards[{index}]"), forward)
            });
        let subscriptions = config.subscription.iter().enumerate();
        let subscriptions = subscriptions.map(|(index, subscription)| {
            SubscriptionRule::new(site, &format!("subscription[{index}]"), subscription)
        });
        Ok(Self {
            forwards: forwards.collect::<Result<_, _>>()?,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
            is_transparent: config.transparent,
        })
    }

    /// What the bridge's session subscribes to here.
    pub(crate) fn local_subscriptions(&self) -> Vec<SubscriptionRequest> {
        let rules = self.forwards.iter();
        rules.map(|it| request(&it.rule, QOS_MAX)).collect()
    }

    /// What the bridge subscribes to at the hub.
    pub(crate) fn remote_subscriptions(&self) -> impl Iterator<Item = &SubscriptionRequest> {
        self.subscriptions.iter().map(|it| &it.request)
    }

    /// Appends what a delivery becomes at the hub to `forwarded`: a message for each rule that
    /// matches, none if all of them deny its topic.
    ///
    /// # Errors
    /// Why one of these messages, or all of them, are not there.
    pub(crate) fn forward(
        &self,
        delivery: &Delivery,
        now: Timestamp,
        forwarded: &mut Vec<Forwarded>,
    ) -> Result<(), Untranslated> {
        let topic = delivery.message.topic.as_str();
        let takes = |rule: &&ForwardRule| rule.rule.filter.matches(topic);
        let mut problem = Some(Untranslated::NoRule);
        for rule in self.forwards.iter().filter(takes) {
            problem = problem.filter(|it| *it != Untranslated::NoRule);
            if !rule.allows(topic) {
                continue;
            }
            match self.forward_by(rule, delivery, now) {
                Ok(message) => forwarded.push(message),
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn forward_by(
        &self,
        rule: &ForwardRule,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Forwarded, Untranslated> {
        let message = &delivery.message;
        let mut properties = rule.properties.apply(&message.properties);
        // Several rules may make different messages of one.
        if rule.rule.is_renaming() || rule.payload.is_some() {
            properties = without_stamp(&properties);
        }
        let expiry = rule.properties.expiry_seconds;
        Ok(Forwarded {
            topic: rule.rule.topic(&message.topic)?,
            payload: rule.payload(message, delivery)?,
            qos: rule
                .qos
                .unwrap_or_else(|| delivery.qos.max(QoS::AtLeastOnce)),
            retain: rule.retain.unwrap_or(message.retain),
            expiry_seconds: expiry.or_else(|| message.expiry_interval(now)),
            properties,
        })
    }

    /// What a message from the hub becomes here: the first rule that matches says it. What came
    /// because clients subscribe to it here stays as it is.
    pub(crate) fn receive(
        &self,
        received: Received,
        now: Timestamp,
    ) -> Result<Message, Untranslated> {
        let remote = TopicName::new(&received.topic)?;
        let mut rules = self.subscriptions.iter();
        let rule = rules.find(|it| it.rule.filter.matches(remote.as_str()));
        if rule.is_none() && (!self.is_transparent || remote.is_reserved()) {
            return Err(Untranslated::NoRule);
        }
        let is_renaming = rule.is_some_and(|it| it.rule.is_renaming());
        let topic = rule.map_or_else(|| Ok(remote.clone()), |it| it.rule.topic(&remote))?;
        let expiry = received
            .expiry_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Message {
            topic,
            payload: received.payload,
            qos: received.qos,
            retain: rule.and_then(|it| it.retain).unwrap_or(received.retain),
            expires_at: expiry.map(|expiry| now.after(expiry)),
            properties: if is_renaming {
                without_stamp(&received.properties)
            } else {
                received.properties
            },
        })
    }
}

impl ForwardRule {
    fn new(site: &Site, place: &str, forward: &Forward) -> Result<Self, ConfigError> {
        let key = |key: &str| format!("{place}.{key}");
        let rule = Rule::new(
            site,
            &Written {
                place,
                source: ("local_topic", &forward.local_topic.0),
                target: ("remote_topic", forward.remote_topic.as_ref()),
                prefix: &forward.prefix,
                suffix: &forward.suffix,
            },
        )?;
        if rule.filter.pattern().starts_with('$') {
            // `$SYS` and the like describe this broker and mean nothing at another.
            let problem = "topics that begin with `$` belong to this broker and stay here";
            return Err(ConfigError::new(key("local_topic"), problem));
        }
        let filters = |name: &str, filters: &[gateway::ConfiguredFilter]| {
            let filters = filters.iter().enumerate();
            let filters =
                filters.map(|(at, it)| site.filter(&key(&format!("{name}[{at}]")), &it.0));
            filters.collect::<Result<Vec<_>, _>>()
        };
        let payload = forward
            .payload
            .as_ref()
            .map(|template| PayloadTemplate::new(site, &key("payload"), &rule.filter, &template.0));
        Ok(Self {
            allow: filters("allow", &forward.allow)?,
            deny: filters("deny", &forward.deny)?,
            qos: forward.qos.map(|qos| qos.0),
            retain: retain_override(forward.retain),
            payload: payload.transpose()?,
            properties: PropertyRule::new(site, &key("properties"), &forward.properties)?,
            rule,
        })
    }

    /// Whether a topic that the rule takes is to go to the hub.
    fn allows(&self, topic: &str) -> bool {
        let matches = |filters: &[TopicFilter]| filters.iter().any(|it| it.matches(topic));
        (self.allow.is_empty() || matches(&self.allow)) && !matches(&self.deny)
    }

    fn payload(&self, message: &Message, delivery: &Delivery) -> Result<Bytes, Untranslated> {
        let Some(template) = &self.payload else {
            return Ok(message.payload.clone());
        };
        let matched = MatchedTopic::new(&self.rule.filter, &message.topic);
        let payload = template.render(&Content {
            matched: matched.ok_or(Untranslated::NoRule)?,
            payload: &message.payload,
            qos: delivery.qos,
            retain: message.retain,
        });
        payload.ok_or(Untranslated::NotText)
    }
}

impl SubscriptionRule {
    fn new(site: &Site, place: &str, subscription: &Subscription) -> Result<Self, ConfigError> {
        let rule = Rule::new(
            site,
            &Written {
                place,
                source: ("remote_topic", &subscription.remote_topic.0),
                target: ("local_topic", subscription.local_topic.as_ref()),
                prefix: &subscription.prefix,
                suffix: &subscription.suffix,
            },
        )?;
        if rule.example().is_some_and(|it| it.is_system()) {
            let key = format!("{place}.local_topic");
            return Err(ConfigError::new(key, TemplateError::Reserved));
        }
        Ok(Self {
            request: request(&rule, subscription.qos.0),
            retain: retain_override(subscription.retain),
            rule,
        })
    }
}

fn request(rule: &Rule, qos: QoS) -> SubscriptionRequest {
    SubscriptionRequest {
        filter: rule.filter.clone(),
        qos,
        retained: true,
    }
}

const fn retain_override(retain: u8) -> Option<bool> {
    match retain {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
