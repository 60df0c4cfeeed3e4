//! Topic Aliases in both directions (§3.3.2.3.4).

use tests::daemon::Daemon;
use tests::dialogue::{join, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Kept, Version, WireClient};

/// The identifier of the property.
const ALIAS: u8 = 0x23;
/// The identifier of Topic Alias Maximum.
const MAXIMUM: u8 = 0x22;

fn aliased(topic: &str, alias: u16) -> Message {
    Message::new(topic, "x").with(Property::two_bytes(ALIAS, alias))
}

/// What a client makes of the aliases that the daemon uses.
#[derive(Default)]
struct Aliases {
    topics: Vec<(u32, String)>,
    /// Messages that came without their topic.
    used: usize,
    highest: u32,
}

impl Aliases {
    /// The topic of a message.
    fn resolve(&mut self, message: &Message) -> String {
        let Some(alias) = message.number(ALIAS) else {
            assert_ne!(message.topic, "", "neither topic nor alias");
            return message.topic.clone();
        };
        self.highest = self.highest.max(alias);
        let known = self.topics.iter_mut().find(|(it, _)| *it == alias);
        if message.topic.is_empty() {
            self.used += 1;
            let told = known.map(|(_, topic)| topic.clone());
            return told.unwrap_or_else(|| panic!("{alias} stands for nothing"));
        }
        match known {
            Some((_, topic)) => topic.clone_from(&message.topic),
            None => self.topics.push((alias, message.topic.clone())),
        }
        message.topic.clone()
    }
}

// Conforms: 5.0 [MQTT-3.3.2-12]
#[test]
fn an_alias_stands_for_the_topic_it_was_last_sent_with() {
    let daemon = Daemon::start("");
    let mut subscriber = join(&daemon, Version::V5, "s");
    subscriber.subscribe("#", 2).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    let mut tell = |message: Message, topic: &str| {
        publisher.deliver(&message);
        let found = subscriber.take();
        assert_eq!(found.topic, topic);
        // The subscriber has allowed none.
        assert_eq!(found.properties, []);
    };
    tell(aliased("a", 1), "a");
    tell(aliased("", 1), "a");
    tell(aliased("", 1).qos(1, 1), "a");
    tell(aliased("b", 2).qos(2, 2), "b");
    tell(aliased("", 1).qos(2, 3), "a");
    tell(Message::new("c", "x"), "c");
    tell(aliased("d", 1), "d");
    tell(aliased("", 1), "d");
    tell(aliased("", 2), "b");
    // All that CONNACK allows.
    for alias in 1..=32 {
        tell(aliased(&format!("t/{alias}"), alias), &format!("t/{alias}"));
    }
    for alias in 1..=32 {
        tell(aliased("", alias), &format!("t/{alias}"));
    }
}

// Conforms: 5.0 [MQTT-3.2.2-17] [MQTT-3.3.2-8] [MQTT-3.3.2-9]
#[test]
fn an_alias_that_means_nothing_closes_the_connection() {
    let daemon = Daemon::start("mqtt { max_topic_alias = 3 }");
    let mut other = join(&daemon, Version::V5, "other");
    other.deliver(&aliased("a", 2).qos(1, 1));
    let table = [
        (aliased("a", 0), 0x94),
        (aliased("a", 4), 0x94),
        (aliased("a", 65_535), 0x94),
        (aliased("", 0), 0x94),
        (aliased("", 4), 0x94),
        // Those that only others know, or nobody.
        (aliased("", 2), 0x82),
        (aliased("", 3), 0x82),
        (Message::new("", "x"), 0x82),
    ];
    for (message, reason) in table {
        for qos in 0..=2 {
            let mut client = join(&daemon, Version::V5, "c");
            println!("{message:?}");
            client.deliver(&aliased("a", 1).qos(1, 1));
            client.say(&message.clone().qos(qos, 2));
            client.expect_closed(reason);
        }
    }
}

// Conforms: 5.0 [MQTT-3.2.2-18]
#[test]
fn without_a_maximum_there_are_no_aliases() {
    let daemon = Daemon::start("mqtt { max_topic_alias = 0 }");
    let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
    let connect = tests::wire::connect(Version::V5, "c", Kept::Nothing);
    client.send(&connect).unwrap();
    let answer = client.expect(0x20).unwrap();
    let (properties, _) = tests::property::decode(&answer.body[2..]).unwrap();
    assert!(properties.iter().all(|it| it.identifier != MAXIMUM));
    client.say(&aliased("a", 1));
    client.expect_closed(0x94);
}

// Conforms: 5.0 [MQTT-3.3.2-7]
#[test]
fn aliases_end_with_their_connection() {
    let daemon = Daemon::start("");
    let (mut client, _) = resume(&daemon, Version::V5, "c");
    client.deliver(&aliased("a", 1).qos(1, 1));
    client.deliver(&aliased("", 1).qos(1, 2));
    drop(client);
    let (mut client, is_present) = resume(&daemon, Version::V5, "c");
    assert!(is_present);
    client.say(&aliased("", 1).qos(1, 3));
    client.expect_closed(0x82);
}

// Conforms: 5.0 [MQTT-3.1.2-26] [MQTT-3.3.2-7] [MQTT-3.3.2-11]
#[test]
fn aliases_to_a_client_stay_within_its_maximum_and_can_be_resolved() {
    let daemon = Daemon::start("mqtt { max_client_topic_alias = 5 }");
    let mut publisher = join(&daemon, Version::V5, "p");
    for (maximum, expected) in [(1, 1), (3, 3), (5, 5), (6, 5), (65_535, 5)] {
        let client_id = format!("s{maximum}");
        let (mut client, _) = resume_with(
            &daemon,
            &client_id,
            &[Property::two_bytes(MAXIMUM, maximum)],
        );
        client.subscribe("topic/#", 1).unwrap();
        let mut aliases = Aliases::default();
        for number in 0..60_u16 {
            let topic = format!("topic/{}", number * number % 23);
            publisher.deliver(&Message::new(&topic, &topic).qos(u8::from(number % 2 == 0), 1));
            let message = client.take();
            assert_eq!(aliases.resolve(&message), message.text());
        }
        assert_eq!(aliases.highest, expected);
        assert!(aliases.used > 0, "no topic was ever left out");
        // On the next connection nothing is known; what is sent again has its topic too.
        let topics = ["topic/0", "topic/1"];
        for topic in topics {
            publisher.deliver(&Message::new(topic, topic).qos(1, 1));
            aliases.resolve(&client.hear());
        }
        drop(client);
        let (mut client, _) = resume_with(
            &daemon,
            &client_id,
            &[Property::two_bytes(MAXIMUM, maximum)],
        );
        let mut aliases = Aliases::default();
        let found = topics.map(|_| aliases.resolve(&client.take()));
        assert_eq!(found, topics);
        client.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-27]
#[test]
fn a_client_that_allows_no_alias_gets_none() {
    let sessions = [
        ("mqtt { max_client_topic_alias = 32 }", None),
        ("mqtt { max_client_topic_alias = 32 }", Some(0)),
        ("mqtt { max_client_topic_alias = 0 }", Some(10)),
    ];
    for (configuration, maximum) in sessions {
        let daemon = Daemon::start(configuration);
        let properties = maximum.map(|it| Property::two_bytes(MAXIMUM, it));
        let (mut client, _) = resume_with(&daemon, "s", properties.as_slice());
        client.subscribe("topic/#", 1).unwrap();
        let mut publisher = join(&daemon, Version::V5, "p");
        for qos in [0, 1, 0, 1] {
            publisher.deliver(&aliased("topic/a", 7).qos(qos, 1));
            let message = client.take();
            assert_eq!((&*message.topic, message.properties), ("topic/a", vec![]));
        }
    }
}
