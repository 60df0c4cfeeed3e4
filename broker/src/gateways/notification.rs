//! What is published, retained, when the state of a bridge changes.

use gateway::{LinkState, Notification, StatusReport};
use mqtt::{ReasonCode, TopicName};
use serde_json::{Value, json};

use super::{GatewayArgs, Hosted};

impl GatewayArgs {
    /// Publishes the state of a bridge that wants that: on the topic of its own, and where
    /// Mosquitto and NanoMQ have it.
    pub(super) fn notify(&self) {
        let exchange = &*self.exchange;
        let Some(notification) = self.gateway.notification() else {
            return;
        };
        let Hosted { name, status, .. } = &self.hosted;
        let report = status.report(None);
        let bridge = name.strip_prefix("bridge/").unwrap_or(name);
        exchange.announce(
            notification.topic.clone(),
            describe(bridge, &report).to_string(),
        );
        let is_up = report.link == LinkState::Up;
        let topic = format!("$SYS/broker/connection/{bridge}/state");
        // Neither name needs to be one that a topic may hold.
        if let Ok(topic) = TopicName::new(&topic) {
            exchange.announce(topic, u8::from(is_up).to_string());
        }
        let topic = format!("$SYS/brokers/client_status/{}", notification.client_id);
        if exchange.extensions.client_events
            && let Ok(topic) = TopicName::new(&topic)
        {
            exchange.announce(topic, presence(notification, &report).to_string());
        }
    }
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
