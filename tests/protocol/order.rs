//! Message ordering (§4.6): everything leaves in the order in which it came.

use std::thread;
use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{
    Answer, PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume, resume_with,
};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Version, WireClient};

/// QoS 1 and 2 by turns.
fn qos_of(number: u16) -> u8 {
    2 - u8::from(number % 2 == 1)
}

/// Publishes numbered messages without waiting, then answers until all are completed.
fn publish_all(client: &mut WireClient, topic: &str, count: u16, qos_of: impl Fn(u16) -> u8) {
    let version = client.version();
    let messages = (1..=count).map(|number| {
        let message = Message::new(topic, number.to_string());
        message.qos(qos_of(number), number).encode(version)
    });
    for chunk in messages.collect::<Vec<_>>().chunks(50) {
        client.send(&chunk.concat()).unwrap();
        let mut waiting = chunk.iter().filter(|it| it[0] & 6 > 0).count();
        while waiting > 0 {
            let (head, identifier, _) = client.answer();
            if head == PUBREC {
                client.reply(PUBREL, identifier);
            } else {
                waiting -= 1;
            }
        }
    }
}

fn numbers(messages: &[Message]) -> Vec<u16> {
    let numbers = messages.iter().map(|it| it.text().parse().unwrap());
    numbers.collect()
}

fn all(count: u16) -> Vec<u16> {
    (1..=count).collect()
}

// Conforms: 3.1.1 [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-6] [MQTT-2.3.1-6]; 5.0 [MQTT-2.2.1-5] [MQTT-3.3.4-1]
#[test]
fn acknowledgements_have_the_order_of_their_messages() {
    const COUNT: u16 = 300;
    let daemon = Daemon::start("");
    for version in Version::ALL {
        // What goes to this session has to be stored first; the rest could be answered at once.
        let away = format!("away{version:?}");
        leave_session(&daemon, version, &away, "stored", 2);
        let (mut client, _) = resume(&daemon, version, "p");
        let mut bytes = Vec::new();
        for number in 1..=COUNT {
            let topic = if number % 5 < 2 { "stored" } else { "nobody" };
            let message = Message::new(topic, "x").qos(qos_of(number), number);
            bytes.extend(message.encode(version));
        }
        client.send(&bytes).unwrap();
        let without_reason = |(head, identifier, _): Answer| (head, identifier);
        for number in 1..=COUNT {
            let head = if qos_of(number) == 1 { PUBACK } else { PUBREC };
            assert_eq!(without_reason(client.answer()), (head, number));
        }
        for number in (2..=COUNT).step_by(2) {
            client.reply(PUBREL, number);
        }
        for number in (2..=COUNT).step_by(2) {
            assert_eq!(client.answer(), (PUBCOMP, number, 0));
        }
        client.disconnect().unwrap();
    }
}

// Conforms: 3.1.1 [MQTT-4.6.0-4] [MQTT-4.6.0-6]
#[test]
fn pubrels_have_the_order_of_the_pubrecs() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = join(&daemon, version, "s");
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        publish_all(&mut publisher, "t", 50, |_| 2);
        let identifiers: Vec<_> = (0..50).map(|_| client.hear().identifier).collect();
        identifiers.iter().for_each(|it| client.reply(PUBREC, *it));
        for identifier in identifiers {
            assert_eq!(client.answer(), (PUBREL, identifier, 0));
        }
    }
}

// Conforms: 5.0 [MQTT-4.6.0-5] [MQTT-4.6.0-6]; 3.1.1 [MQTT-4.6.0-5] [MQTT-4.6.0-6]; 3.1 [MQTT31-13]
#[test]
fn each_subscription_has_each_publishers_order() {
    const COUNT: u16 = 200;
    let daemon = Daemon::start("mqtt { max_inflight_window = 5 }");
    for version in Version::ALL {
        for qos in 0..=2 {
            let filters = ["t/a", "t/#", "+/a", "t/a"].into_iter().enumerate();
            let mut subscribers: Vec<_> = filters
                .map(|(number, filter)| {
                    let mut client = join(&daemon, version, &format!("s{number}"));
                    client.subscribe(filter, 2).unwrap();
                    client
                })
                .collect();
            thread::scope(|scope| {
                for publisher in 0..2 {
                    let mut client = join(&daemon, version, &format!("p{publisher}"));
                    scope.spawn(move || publish_all(&mut client, "t/a", COUNT, |_| qos));
                }
            });
            for client in &mut subscribers {
                let found = client.take_many(2 * usize::from(COUNT));
                client.expect_silence();
                // Two sequences in one: each number comes twice, and never before its forerunner.
                let mut counts = vec![0; usize::from(COUNT) + 1];
                counts[0] = 2;
                for number in numbers(&found).into_iter().map(usize::from) {
                    counts[number] += 1;
                    assert!(counts[number] <= counts[number - 1], "{number}, QoS {qos}");
                }
                assert!(counts.iter().all(|it| *it == 2));
            }
        }
    }
}

// Conforms: 5.0 [MQTT-4.6.0-5] [MQTT-4.5.0-1] [MQTT-3.3.4-9]; 3.1.1 [MQTT-4.6.0-6] [MQTT-4.5.0-1] [MQTT-3.1.2-5]
#[test]
fn a_queue_that_goes_on_in_the_store_keeps_its_order() {
    const COUNT: u16 = 500;
    let mut daemon = Daemon::start("mqtt { max_mqueue_len = 10 }");
    for version in Version::ALL {
        let name = |what| format!("{what}{version:?}");
        leave_session(&daemon, version, &name("now"), "t", 2);
        leave_session(&daemon, version, &name("later"), "t", 2);
        // A client that is there and does not read has its queue in the store too.
        let mut slow = join(&daemon, version, &name("slow"));
        slow.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        publish_all(&mut publisher, "t", COUNT, qos_of);
        let (now, _) = resume(&daemon, version, &name("now"));
        for mut client in [now, slow] {
            assert_eq!(numbers(&client.take_many(COUNT.into())), all(COUNT));
            client.expect_silence();
        }
        // The middle of it survives the process.
        let (mut client, _) = resume(&daemon, version, &name("later"));
        let found = numbers(&client.take_many(150));
        client.skip();
        // The SUBACK waits until all this is in the store.
        leave_session(&daemon, version, &name("other"), "other", 1);
        daemon.kill();
        daemon.restart();
        let (mut client, _) = resume(&daemon, version, &name("later"));
        let first = client.take();
        let next = found.last().unwrap() + 1;
        assert_eq!(first.text(), next.to_string(), "{version:?}");
        let rest = client.take_many(usize::from(COUNT - next));
        assert_eq!(numbers(&rest), (next + 1..=COUNT).collect::<Vec<_>>());
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.6.0-5] [MQTT-4.5.0-1] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.6.0-6] [MQTT-3.1.2-5]
#[test]
fn five_thousand_messages_come_as_fast_as_they_are_acknowledged() {
    const COUNT: u16 = 5_000;
    let daemon = Daemon::start("");
    for version in Version::ALL {
        leave_session(&daemon, version, "s", "t", 1);
        let mut publisher = join(&daemon, version, "p");
        publish_all(&mut publisher, "t", COUNT, |_| 1);
        let (mut client, _) = resume(&daemon, version, "s");
        let start = Instant::now();
        let mut found = Vec::new();
        for _ in 0..COUNT {
            let message = client.hear();
            client.reply(PUBACK, message.identifier);
            assert!(!message.dup);
            found.push(message);
        }
        assert_eq!(numbers(&found), all(COUNT));
        // A pause of 100 ms for each window of 128 would take longer.
        let time = start.elapsed();
        println!("{version:?}: {time:?}");
        assert!(time < Duration::from_secs(30), "{time:?}");
        client.expect_silence();
        client.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-4.6.0-5] [MQTT-4.4.0-1] [MQTT-4.9.0-2]; 3.1.1 [MQTT-4.6.0-1] [MQTT-4.6.0-6]
#[test]
fn resending_keeps_the_order_over_many_connections() {
    const COUNT: u16 = 60;
    let daemon = Daemon::start("mqtt { max_mqueue_len = 5 }");
    leave_session(&daemon, Version::V5, "s", "t", 2);
    let mut publisher = join(&daemon, Version::V5, "p");
    publish_all(&mut publisher, "t", COUNT, |_| 1);
    let mut next = 1;
    while next <= COUNT {
        // Four come, two of them are acknowledged.
        let window = [Property::two_bytes(0x21, 4)];
        let (mut client, _) = resume_with(&daemon, "s", &window);
        let count = (COUNT + 1 - next).min(4);
        let found: Vec<_> = (0..count).map(|_| client.hear()).collect();
        let expected: Vec<_> = (next..next + count).collect();
        assert_eq!(numbers(&found), expected);
        let is_again: Vec<_> = found.iter().map(|it| it.dup).collect();
        // Two were read before; the others may have been on their way.
        assert!(is_again.iter().take(2).all(|it| *it == (next > 1)));
        assert!(is_again.is_sorted_by_key(|it| !it), "{is_again:?}");
        for message in found.iter().take(2) {
            client.reply(PUBACK, message.identifier);
            next += 1;
        }
        // They make room for two more.
        client.skip();
    }
    let (mut client, _) = resume_with(&daemon, "s", &[]);
    client.expect_silence();
}
