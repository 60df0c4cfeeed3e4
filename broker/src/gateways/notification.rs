//! What is published, retained, when the state of a bridge changes.

use gateway::{LinkState, Notification, StatusReport};
use mqtt::{Message, ReasonCode, TopicName};
use serde_json::{Value, json};

use super::{GatewayArgs, Hosted};
use crate::exchange::Exchange;

impl GatewayArgs {
    /// Publishes the state of a bridge that wants that: on the topic of its own, and where
    /// Mosquitto and NanoMQ have it. Returns what is on the topic of its own.
    pub(super) fn notify(&self) -> Option<Message> {
        let exchange = &*self.exchange;
        let notification = self.gateway.notification()?;
        let Hosted { name, status, .. } = &self.hosted;
        let report = status.report(None);
        let bridge = name.strip_prefix("bridge/").unwrap_or(name);
        let topic = notification.topic.clone();
        let payload = describe(bridge, &report).to_string();
        exchange.announce(topic.clone(), payload.clone());
        let is_up = report.link == LinkState::Up;
        let [connection, client] = topics(bridge, notification);
        if let Some(connection) = connection {
            exchange.announce(connection, u8::from(is_up).to_string());
        }
        if exchange.extensions.client_events
            && let Some(client) = client
        {
            exchange.announce(client, presence(notification, &report).to_string());
        }
        let mut said = Message::new(topic, payload);
        said.retain = true;
        Some(said)
    }
}

/// Takes back what was said of a bridge that says no more there.
pub(crate) fn withdraw(exchange: &Exchange, name: &str, notification: &Notification) {
    let bridge = name.strip_prefix("bridge/").unwrap_or(name);
    exchange.announce(notification.topic.clone(), String::new());
    let topics = topics(bridge, notification);
    let topics = topics.into_iter().flatten();
    topics.for_each(|it| exchange.announce(it, String::new()));
}

/// Mosquitto's topic and NanoMQ's; none of a name that a topic may not hold.
fn topics(bridge: &str, notification: &Notification) -> [Option<TopicName>; 2] {
    [
        format!("$SYS/broker/connection/{bridge}/state"),
        format!("$SYS/brokers/client_status/{}", notification.client_id),
    ]
    .map(|topic| TopicName::new(&topic).ok())
}

fn describe(bridge: &str, report: &StatusReport) -> Value {
    json!({
        "bridge": bridge,
        "state": report.link.as_str(),
        "since": report.since_millis,
        "server": report.address.as_deref(),
        "reason": report.link.reason(),
        "last_error": report.last_error.as_deref(),
    })
}

/// The same as NanoMQ says it of its bridges: like a client that is here or not.
fn presence(notification: &Notification, report: &StatusReport) -> Value {
    let mut presence = json!({
        "client_id": notification.client_id,
        "username": notification.user_name.as_deref().unwrap_or_default(),
        "ts": report.since_millis,
    });
    if report.link == LinkState::Up {
        presence["status"] = "online".into();
        presence["keepalive"] = notification.keep_alive.into();
        presence["return_code"] = "0".into();
        presence["clean_start"] = u8::from(notification.clean_start).into();
    } else {
        // What it is is in the notification: most reasons have no code.
        let reason = ReasonCode::UnspecifiedError as u8;
        presence["status"] = "offline".into();
        presence["reason_code"] = format!("{reason:02x}").into();
    }
    presence
}

#[cfg(test)]
mod tests {
    use gateway::Status;

    use super::*;

    #[test]
    fn every_state_has_the_same_keys() {
        let status = Status::default();
        status.take_change(|| 5);
        let text = |status: &Status| describe("hub", &status.report(None)).to_string();
        let starting = r#"{"bridge":"hub","state":"starting","since":5,"server":null,"reason":null,"last_error":null}"#;
        assert_eq!(text(&status), starting);
        status.set_link(LinkState::Down("refused".to_owned()));
        status.take_change(|| 6);
        let down = r#"{"bridge":"hub","state":"down","since":6,"server":null,"reason":"refused","last_error":"refused"}"#;
        assert_eq!(text(&status), down);
        status.report_up("bridge/hub", "mqtt-tcp://a");
        status.take_change(|| 7);
        let up = r#"{"bridge":"hub","state":"up","since":7,"server":"mqtt-tcp://a","reason":null,"last_error":"refused"}"#;
        assert_eq!(text(&status), up);
    }
}
