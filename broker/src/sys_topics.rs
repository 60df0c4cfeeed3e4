//! What the daemon says of itself below `$SYS`, in the form of Mosquitto's tree.
//!
//! The values are retained in memory only, and published again when they have changed.

use std::collections::HashMap;
use std::time::Duration;

use mqtt::TopicName;

use crate::exchange::Exchange;
use crate::gateways::{GATEWAY_PREFIX, Hosted};
use crate::metrics::{DropCause, read};

/// Spans of the averages, with the last level of their topics.
const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// What was announced last.
#[derive(Debug, Default)]
pub(crate) struct SysTopics {
    said: HashMap<String, String>,
    loads: HashMap<&'static str, Load>,
    clients_max: usize,
}

/// How fast a count grows: exponentially weighted averages, per minute.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    count: u64,
    averages: [f64; SPANS.len()],
}

/// Sums over all sessions of clients; those of gateways are not counted.
#[derive(Debug, Default)]
struct Sessions {
    online: usize,
    offline: usize,
    waiting: u64,
    subscriptions: usize,
    shared_subscriptions: usize,
}

impl SysTopics {
    /// Publishes every value that has changed. `elapsed` is the time since the call before.
    pub(crate) fn announce(
        &mut self,
        exchange: &Exchange,
        gateways: &[Hosted],
        uptime: Duration,
        elapsed: Duration,
    ) {
        self.announce_broker(exchange, uptime);
        self.announce_memory(exchange);
        self.announce_traffic(exchange);
        self.announce_store(exchange);
        self.announce_loads(exchange, elapsed);
        for hosted in gateways {
            self.announce_gateway(exchange, hosted);
        }
        self.withdraw(exchange, gateways);
    }

    /// Takes back what was said of gateways that are gone.
    fn withdraw(&mut self, exchange: &Exchange, gateways: &[Hosted]) {
        let is_gone = |topic: &str| {
            let Some(of_gateway) = topic.strip_prefix("$SYS/broker/gateway/") else {
                return false;
            };
            let is_of = |name: &str| {
                let rest = of_gateway.strip_prefix(name);
                rest.is_some_and(|it| it.starts_with('/'))
            };
            !gateways.iter().any(|it| is_of(&it.name))
        };
        let gone = self.said.extract_if(|topic, _| is_gone(topic));
        for (topic, _) in gone {
            if let Ok(topic) = TopicName::new(&topic) {
                exchange.announce(topic, String::new());
            }
        }
    }

    fn say(&mut self, exchange: &Exchange, name: &str, payload: String) {
        let topic = format!("$SYS/broker/{name}");
        // What is empty is not retained any more.
        let last = self.said.get(&topic).map_or("", String::as_str);
        if last == payload {
            return;
        }
        // Names of gateways come from the configuration and may hold what a topic may not.
        if let Ok(name) = TopicName::new(&topic) {
            exchange.announce(name, payload.clone());
            self.said.insert(topic, payload);
        }
    }

    fn announce_broker(&mut self, exchange: &Exchange, uptime: Duration) {
        let sessions = Sessions::sum(exchange);
        let (online, offline) = (sessions.online, sessions.offline);
        self.clients_max = self.clients_max.max(online);
        let counters = &exchange.counters;
        let version = format!("Tidegate version {}", env!("CARGO_PKG_VERSION"));
        let values = [
            ("version", version),
            ("id", exchange.loop_guard.broker_id().to_string()),
            ("durability", exchange.bounds.durability.describe()),
            ("uptime", format!("{} seconds", uptime.as_secs())),
            ("clients/total", (online + offline).to_string()),
            ("clients/maximum", self.clients_max.to_string()),
            ("clients/connected", online.to_string()),
            ("clients/active", online.to_string()),
            ("clients/disconnected", offline.to_string()),
            ("clients/inactive", offline.to_string()),
            (
                "clients/expired",
                read(&counters.sessions_expired).to_string(),
            ),
            (
                "sockets/half_open/dropped",
                read(&counters.half_open_dropped).to_string(),
            ),
            ("messages/stored", sessions.waiting.to_string()),
            ("store/messages/count", sessions.waiting.to_string()),
            ("messages/repeated", read(&counters.repeated).to_string()),
            ("messages/delayed", exchange.delayed.len().to_string()),
            ("subscriptions/count", sessions.subscriptions.to_string()),
            (
                "shared_subscriptions/count",
                sessions.shared_subscriptions.to_string(),
            ),
            (
                "retained messages/count",
                exchange.retained.count().to_string(),
            ),
            (
                "retained messages/refused",
                read(&counters.retained_refused).to_string(),
            ),
        ];
        for (name, value) in values {
            self.say(exchange, name, value);
        }
    }

    /// The budget of messages under way, and what waits for it.
    fn announce_memory(&mut self, exchange: &Exchange) {
        let memory = &exchange.memory;
        let (held, held_for) = memory.held();
        let values = [
            ("limit", memory.limit().to_string()),
            ("waiting", memory.waiting().to_string()),
            ("incoming", memory.incoming().to_string()),
            ("incoming/held", held.to_string()),
            ("incoming/held_ms", held_for.as_millis().to_string()),
        ];
        for (name, value) in values {
            self.say(exchange, &format!("memory/{name}"), value);
        }
    }

    fn announce_traffic(&mut self, exchange: &Exchange) {
        let counters = &exchange.counters;
        let (received, sent) = (counters.received.sum(), counters.sent.sum());
        let dropped = counters.dropped.sum().to_string();
        self.say(exchange, "messages/dropped", dropped.clone());
        self.say(exchange, "publish/messages/dropped", dropped);
        for cause in DropCause::ALL {
            let name = format!("publish/messages/dropped/{}", cause.as_str());
            self.say(exchange, &name, counters.dropped.of(cause).to_string());
        }
        let values = [
            ("messages/received", received.packets),
            ("messages/sent", sent.packets),
            ("messages/published", read(&counters.published)),
            ("messages/refused", read(&counters.refused)),
            ("publish/messages/received", received.publishes),
            ("publish/messages/sent", sent.publishes),
            ("publish/bytes/received", received.payload_bytes),
            ("publish/bytes/sent", sent.payload_bytes),
            ("bytes/received", received.bytes),
            ("bytes/sent", sent.bytes),
        ];
        for (name, count) in values {
            self.say(exchange, name, count.to_string());
        }
    }

    /// What the store does for the messages that it is given; nothing if there is no store.
    fn announce_store(&mut self, exchange: &Exchange) {
        let store = &exchange.store;
        if !store.is_enabled() {
            return;
        }
        let is = store.statistics();
        let per_message = is.log_bytes / read(&exchange.counters.stored).max(1);
        let state = match (store.is_failing(), store.is_full()) {
            (true, _) => "failing",
            (_, true) => "full",
            _ => "ok",
        };
        let values = [
            ("state", state.to_owned()),
            ("bytes/used", is.used_bytes.to_string()),
            ("bytes/written", is.log_bytes.to_string()),
            ("messages/written", is.entries_written.to_string()),
            ("messages/elided", is.entries_elided.to_string()),
            ("bytes_per_message", per_message.to_string()),
            ("commits", is.commits.to_string()),
            ("commit/max_ms", is.commit_max.as_millis().to_string()),
        ];
        for (name, value) in values {
            self.say(exchange, &format!("store/{name}"), value);
        }
    }

    fn announce_loads(&mut self, exchange: &Exchange, elapsed: Duration) {
        let counters = &exchange.counters;
        let (received, sent) = (counters.received.sum(), counters.sent.sum());
        let values = [
            ("messages/received", received.packets),
            ("messages/sent", sent.packets),
            ("publish/received", received.publishes),
            ("publish/sent", sent.publishes),
            ("publish/dropped", counters.dropped.sum()),
            ("bytes/received", received.bytes),
            ("bytes/sent", sent.bytes),
            ("connections", read(&counters.connections)),
            ("sockets", read(&counters.sockets)),
        ];
        for (name, count) in values {
            let load = self.loads.entry(name).or_default();
            load.update(count, elapsed);
            for ((span, _), average) in SPANS.into_iter().zip(load.averages) {
                let name = format!("load/{name}/{span}");
                self.say(exchange, &name, format!("{average:.2}"));
            }
        }
    }

    /// What is published at once when it changes is not here, see [`crate::gateways`].
    fn announce_gateway(&mut self, exchange: &Exchange, hosted: &Hosted) {
        let report = hosted.report(exchange);
        let mut state = report.link.as_str().to_owned();
        if let Some(reason) = report.link.reason() {
            state = format!("{state}: {reason}");
        }
        let round_trip = report.round_trip.map(|it| it.as_micros().to_string());
        let mut values = vec![
            ("state", state),
            ("since", report.since_millis.to_string()),
            (
                "address",
                report.address.as_deref().unwrap_or_default().to_owned(),
            ),
            ("last_error", report.last_error.unwrap_or_default()),
            ("round_trip_us", round_trip.unwrap_or_default()),
            ("received", report.received.to_string()),
            ("sent", report.sent.to_string()),
        ];
        if let Some(outbox) = report.outbox {
            values.extend([
                ("outbox/messages", outbox.messages.to_string()),
                ("outbox/bytes", outbox.bytes.to_string()),
                ("outbox/oldest_s", outbox.oldest.as_secs().to_string()),
                ("outbox/alarm", u8::from(outbox.is_alarming).to_string()),
            ]);
        }
        let gateway = format!("gateway/{}", hosted.name);
        for (name, value) in values {
            self.say(exchange, &format!("{gateway}/{name}"), value);
        }
        for (reason, count) in report.dropped {
            let name = format!("{gateway}/dropped/{}", reason.as_str());
            self.say(exchange, &name, count.to_string());
        }
    }
}

impl Sessions {
    fn sum(exchange: &Exchange) -> Self {
        let mut sum = Self::default();
        for link in exchange.registry.links() {
            if link.client_id.starts_with(GATEWAY_PREFIX) {
                continue;
            }
            let state = link.lock();
            match state.owner {
                Some(_) => sum.online += 1,
                None => sum.offline += 1,
            }
            sum.waiting += state.session.backlog();
            let (subscriptions, shared) = state.subscriptions.counts();
            sum.subscriptions += subscriptions;
            sum.shared_subscriptions += shared;
        }
        sum
    }
}

impl Load {
    fn update(&mut self, count: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(0.001);
        // Exact up to 2^53, and rounded beyond.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let per_minute = count.saturating_sub(self.count) as f64 * 60.0 / seconds;
        self.count = count;
        for ((_, span), average) in SPANS.into_iter().zip(&mut self.averages) {
            let kept = (-seconds / span).exp();
            *average = *average * kept + per_minute * (1.0 - kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_approaches_the_rate_and_falls_again() {
        let mut load = Load::default();
        let step = Duration::from_secs(10);
        for count in 1..=100 {
            load.update(count * 100, step);
        }
        let [one, five, fifteen] = load.averages;
        assert!((one - 600.0).abs() < 1.0, "{one}");
        assert!(fifteen < five && five < one);
        for _ in 0..6 {
            load.update(10_000, step);
        }
        assert!((load.averages[0] - 600.0 / std::f64::consts::E).abs() < 1.0);
    }
}
