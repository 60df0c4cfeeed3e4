//! What the daemon says of itself below `$SYS`, in the form of Mosquitto's tree.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway::{DropReason, LinkState};
use mqtt::TopicName;

use crate::exchange::Exchange;
use crate::gateways::Hosted;

/// Publishes every value once.
pub(crate) fn announce(exchange: &Exchange, gateways: &[Hosted], uptime: Duration) {
    let say = |topic: String, payload: String| {
        // Names of gateways come from the configuration and may hold what a topic may not.
        if let Ok(topic) = TopicName::new(&topic) {
            exchange.announce(topic, payload);
        }
    };
    let counters = &exchange.counters;
    let count =
        |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
    let broker = |name: &str| format!("$SYS/broker/{name}");
    say(
        broker("version"),
        format!("Tidegate {}", env!("CARGO_PKG_VERSION")),
    );
    say(broker("uptime"), format!("{} seconds", uptime.as_secs()));
    say(
        broker("clients/connected"),
        exchange.registry.online().to_string(),
    );
    say(
        broker("retained messages/count"),
        exchange.router.retained_count().to_string(),
    );
    say(broker("messages/published"), count(&counters.published));
    say(broker("messages/dropped"), count(&counters.dropped));
    say(
        broker("retained messages/refused"),
        count(&counters.retained_refused),
    );
    for hosted in gateways {
        let counters = &hosted.status.counters;
        let gateway = |name: &str| format!("$SYS/broker/gateway/{}/{name}", hosted.name);
        let state = match hosted.status.link() {
            LinkState::Starting => "starting".to_owned(),
            LinkState::Up => "up".to_owned(),
            LinkState::Down(reason) => format!("down: {reason}"),
        };
        say(gateway("state"), state);
        say(gateway("received"), counters.received().to_string());
        say(gateway("sent"), counters.sent().to_string());
        for reason in DropReason::ALL {
            let dropped = counters.dropped(reason).to_string();
            say(gateway(&format!("dropped/{}", reason.as_str())), dropped);
        }
    }
}
