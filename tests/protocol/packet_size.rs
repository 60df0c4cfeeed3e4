//! The client's Maximum Packet Size (§3.1.2.11.4).

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBREC, join, leave_session, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wire::Version;

/// The identifier of Maximum Packet Size.
const MAXIMUM: u8 = 0x27;
/// Bytes of the largest packet of the clients here.
const SIZE: u32 = 100;

fn limited() -> Property {
    Property::four_bytes(MAXIMUM, SIZE)
}

/// A message whose PUBLISH to an MQTT 5 client takes so many bytes.
fn sized(topic: &str, qos: u8, bytes: u32) -> Message {
    let around = Message::new(topic, "")
        .qos(qos, 1)
        .encode(Version::V5)
        .len();
    let payload = vec![b'x'; usize::try_from(bytes).unwrap() - around];
    Message::new(topic, payload).qos(qos, 1)
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn what_is_too_large_for_a_client_is_left_out_and_the_rest_comes() {
    let daemon = Daemon::start("");
    let one_at_a_time = Property::two_bytes(0x21, 1);
    let (mut client, _) = resume_with(&daemon, "small", &[limited(), one_at_a_time]);
    client.subscribe("t", 2).unwrap();
    let mut other = join(&daemon, Version::V5, "any");
    other.subscribe("t", 2).unwrap();
    let mut publisher = join(&daemon, Version::V311, "p");
    for qos in 0..=2 {
        for (bytes, fits) in [
            (SIZE, true),
            (SIZE + 1, false),
            (SIZE - 1, true),
            (127, false),
        ] {
            let message = sized("t", qos, bytes);
            publisher.deliver(&message);
            assert_eq!(other.take().payload, message.payload);
            if fits {
                assert_eq!(client.take().payload, message.payload);
            }
        }
        client.expect_silence();
    }
    // What was left out counts as delivered.
    drop(client);
    let (mut client, is_present) = resume_with(&daemon, "small", &[]);
    assert!(is_present);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn what_waited_and_is_too_large_is_left_out() {
    let mut daemon = Daemon::start("mqtt { max_mqueue_len = 3 }");
    leave_session(&daemon, Version::V5, "small", "t", 2);
    leave_session(&daemon, Version::V5, "later", "t", 2);
    let mut publisher = join(&daemon, Version::V5, "p");
    let mut expected = Vec::new();
    for (number, qos) in (0..20).zip([1, 2].into_iter().cycle()) {
        let bytes = if number % 2 == 0 {
            SIZE + 1
        } else {
            SIZE - number
        };
        if number % 2 == 1 {
            expected.push(sized("t", qos, bytes).payload);
        }
        publisher.deliver(&sized("t", qos, bytes));
    }
    for client_id in ["small", "later"] {
        let (mut client, _) = resume_with(&daemon, client_id, &[limited()]);
        let found = client.take_many(expected.len());
        let found: Vec<_> = found.into_iter().map(|it| it.payload).collect();
        assert_eq!(found, expected, "{client_id}");
        client.expect_silence();
        daemon.kill();
        daemon.restart();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn what_was_sent_and_is_too_large_for_the_next_connection_is_left_out() {
    let daemon = Daemon::start("");
    let (mut client, _) = resume_with(&daemon, "s", &[]);
    client.subscribe("t", 2).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&sized("t", 1, SIZE + 1));
    publisher.deliver(&sized("t", 2, SIZE + 1));
    publisher.deliver(&sized("t", 1, SIZE));
    let sent = [client.hear(), client.hear(), client.hear()];
    drop(client);
    let (mut client, _) = resume_with(&daemon, "s", &[limited()]);
    assert_eq!(client.take(), sent[2].clone().again());
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn a_retained_message_that_is_too_large_is_left_out() {
    let daemon = Daemon::start("");
    let mut publisher = join(&daemon, Version::V5, "p");
    for (topic, bytes) in [("t/1", SIZE), ("t/2", SIZE + 1), ("t/3", SIZE)] {
        publisher.deliver(&sized(topic, 1, bytes).retained());
    }
    let (mut client, _) = resume_with(&daemon, "s", &[limited()]);
    client.subscribe("none", 1).unwrap();
    client.send(b"\x82\x09\0\x09\0\0\x03t/#\x01").unwrap();
    // The SUBACK may come later.
    let mut topics = Vec::new();
    while topics.len() < 2 {
        let packet = client.receive().unwrap().unwrap();
        if let Some(message) = Message::decode(&packet, Version::V5) {
            client.reply(PUBACK, message.identifier);
            topics.push(message.topic);
        }
    }
    assert_eq!(topics, ["t/1", "t/3"]);
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25] [MQTT-3.3.2-11]
#[test]
fn an_alias_makes_no_message_too_large() {
    let daemon = Daemon::start("");
    let aliases = Property::two_bytes(0x22, 10);
    let (mut client, _) = resume_with(&daemon, "s", &[limited(), aliases]);
    client.subscribe("long/topic", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    // A new alias would take three bytes more.
    for bytes in [SIZE + 1, SIZE, SIZE - 1, SIZE - 2, SIZE + 1, SIZE - 3, 50] {
        let message = sized("long/topic", 1, bytes);
        publisher.deliver(&message);
        if bytes <= SIZE {
            let found = client.take();
            assert_eq!(found.payload, message.payload, "{bytes}");
            assert!(found.encode(Version::V5).len() <= SIZE as usize);
            let is_last = bytes == 50;
            assert_eq!(found.topic.is_empty(), is_last, "{found:?}");
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]
#[test]
fn acknowledgements_leave_out_what_makes_them_too_large() {
    let daemon = Daemon::start("");
    let small = Property::four_bytes(MAXIMUM, 30);
    for (properties, is_told) in [(vec![small], false), (vec![], true)] {
        let (mut client, _) = resume_with(&daemon, "c", &properties);
        let mut expect = |bytes: &[u8], head: u8, begin: [u8; 3]| {
            client.send(bytes).unwrap();
            let packet = client.expect(head).unwrap();
            let bytes = tests::wire::packet(packet.head, &packet.body);
            assert_eq!(packet.body[..3], begin);
            assert_eq!(bytes.len() > 5, is_told, "{bytes:?}");
        };
        let refused = Message::new("$SYS/x", "x");
        let version = Version::V5;
        expect(
            &refused.clone().qos(1, 1).encode(version),
            0x40,
            [0, 1, 0x87],
        );
        expect(&refused.qos(2, 2).encode(version), 0x50, [0, 2, 0x87]);
        // PUBREL for what is not known.
        expect(b"\x62\x02\0\x03", 0x70, [0, 3, 0x92]);
        // PUBREC for what is not known; its answer never says more.
        client.reply(PUBREC, 4);
        let pubrel = client.expect(0x62).unwrap();
        assert_eq!(pubrel.body, [0, 4, 0x92]);
    }
}
