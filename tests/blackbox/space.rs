//! What the store takes of the disk is bounded, and operators see what it does.

use std::collections::HashMap;

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient};

const SYS: &str = "sys_topics.interval = 1s\n";

fn connect(daemon: &Daemon, client_id: &str, kept: Kept) -> WireClient {
    let client = WireClient::connect(daemon.port(), Version::V5, client_id, kept);
    client.unwrap().0
}

/// What is announced of the store.
struct Announced {
    client: WireClient,
    values: HashMap<String, String>,
}

impl Announced {
    fn watch(daemon: &Daemon) -> Self {
        let mut client = connect(daemon, "operator", Kept::Nothing);
        client.subscribe("$SYS/broker/store/#", 0).unwrap();
        let values = HashMap::new();
        Self { client, values }
    }

    /// Waits until what is announced is like that.
    fn until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        while !condition(self) {
            let publish = self.client.receive_publish();
            let publish = publish.unwrap_or_else(|error| panic!("{error}: {:?}", self.values));
            let name = publish.topic.strip_prefix("$SYS/broker/store/").unwrap();
            let value = String::from_utf8(publish.payload).unwrap();
            self.values.insert(name.to_owned(), value);
        }
    }

    /// A number; 0 if it is not announced yet.
    fn number(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |it| it.parse().unwrap())
    }

    fn state(&self) -> &str {
        self.values.get("state").map_or("", String::as_str)
    }
}

#[test]
fn a_consumer_that_keeps_up_costs_few_bytes() {
    const COUNT: u64 = 5_000;
    const WINDOW: u64 = 500;
    let daemon = Daemon::start(SYS);
    let mut reader = connect(&daemon, "reader", Kept::Session);
    reader.subscribe("t/#", 1).unwrap();
    let reading = std::thread::spawn(move || {
        for _ in 0..COUNT {
            let publish = reader.receive_publish().unwrap();
            reader.acknowledge(publish.identifier).unwrap();
        }
        reader.disconnect().unwrap();
    });
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    for number in 0..COUNT + WINDOW {
        if number < COUNT {
            publisher.publish("t/a", &[b'x'; 100]).unwrap();
        }
        if number >= WINDOW {
            publisher.expect(0x40).unwrap();
        }
    }
    reading.join().unwrap();
    let mut store = Announced::watch(&daemon);
    store.until(|it| {
        let per_message = it.number("bytes_per_message");
        it.number("messages/elided") + it.number("messages/written") == COUNT
            && per_message > 0
            && per_message == it.number("bytes/written") / COUNT
            && it.number("commits") > 0
            && it.values.contains_key("commit/max_ms")
    });
    assert_eq!(store.state(), "ok");
    assert!(store.number("messages/elided") > 0, "{:?}", store.values);
    assert!(store.number("bytes/used") > 0, "{:?}", store.values);
    assert!(store.number("commits") < COUNT, "{:?}", store.values);
    // A message that is written alone takes several pages of 4 KiB.
    let bytes = store.number("bytes_per_message");
    assert!(bytes < 4096, "{:?}", store.values);
}

#[test]
fn nothing_is_announced_of_a_store_that_there_is_not() {
    let daemon = Daemon::start(&format!("{SYS}store.enable = false"));
    let mut client = connect(&daemon, "operator", Kept::Nothing);
    client.subscribe("$SYS/broker/#", 0).unwrap();
    // Between two of these everything is announced once.
    let mut uptimes = 0;
    while uptimes < 2 {
        let topic = client.receive_publish().unwrap().topic;
        uptimes += u8::from(topic == "$SYS/broker/uptime");
        assert_ne!(topic, "$SYS/broker/store/state");
    }
}
