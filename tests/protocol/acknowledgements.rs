//! PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4 to §3.7): their form, and those that nobody waits for.

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Version, WireClient, packet};

/// Some Reason Codes of other packets, and some of no packet.
const FOREIGN: [u8; 16] = [
    0x01, 0x02, 0x04, 0x11, 0x18, 0x19, 0x81, 0x82, 0x8b, 0x8e, 0x93, 0x95, 0x9a, 0xa2, 0x7f, 0xff,
];
/// Those of PUBACK and PUBREC.
const OUTCOMES: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// An acknowledgement of Packet Identifier 9 that ends like this.
fn nine(head: u8, end: &[u8]) -> Vec<u8> {
    packet(head, &[&[0, 9], end].concat())
}

/// A client that is sent one message at a time, and its publisher with three messages on the way.
fn one_at_a_time(daemon: &Daemon, qos: u8) -> (WireClient, WireClient) {
    let (mut client, _) = resume_with(daemon, "s", &[Property::two_bytes(0x21, 1)]);
    client.subscribe("t", 2).unwrap();
    let mut publisher = join(daemon, Version::V5, "p");
    for number in 1..=3 {
        publisher.deliver(&Message::new("t", number.to_string()).qos(qos, number));
    }
    (client, publisher)
}

// Conforms: 5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-4.13.1-1]
#[test]
fn each_acknowledgement_has_reason_codes_of_its_own() {
    let daemon = Daemon::start("");
    for head in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        let both = &[0x00, 0x92][..];
        let allowed: &[u8] = if head < PUBREL { &OUTCOMES } else { both };
        let mut client = join(&daemon, Version::V5, "c");
        for reason in allowed {
            client.send(&nine(head, &[*reason])).unwrap();
            // Nobody waits for them; PUBREC and PUBREL are answered all the same.
            match head {
                PUBREC if *reason < 0x80 => assert_eq!(client.answer(), (PUBREL, 9, 0x92)),
                PUBREL => assert_eq!(client.answer(), (PUBCOMP, 9, 0x92)),
                _ => {}
            }
            client.expect_silence();
        }
        let others = FOREIGN.iter().chain(&OUTCOMES).chain(both);
        for reason in others.filter(|it| !allowed.contains(it)) {
            let mut client = join(&daemon, Version::V5, "c");
            client.send(&nine(head, &[*reason])).unwrap();
            println!("{head:#x} {reason:#x}");
            client.expect_closed(0x81);
        }
    }
}

// Conforms: 5.0 [MQTT-2.1.3-1] [MQTT-3.6.1-1]; 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1]; 3.1 [MQTT31-5]
#[test]
fn the_flags_of_acknowledgements_are_prescribed() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for right in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            for head in (right & 0xf0..).take(16).filter(|it| *it != right) {
                let mut client = join(&daemon, version, "c");
                client.send(&nine(head, &[])).unwrap();
                println!("{version:?} {head:#x}");
                // MQTT 3.1 sends PUBREL again with DUP.
                if version == Version::V31 && head == PUBREL | 8 {
                    assert_eq!(client.answer(), (PUBCOMP, 9, 0));
                } else {
                    client.expect_closed(0x81);
                }
            }
        }
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1] [MQTT-2.2.1-5]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn acknowledgements_of_the_wrong_form_close_the_connection() {
    let daemon = Daemon::start("");
    let reason_string = b"\x1f\0\x01x";
    let twice = [&b"\0\x08"[..], reason_string, reason_string].concat();
    let table: [(&[u8], u8); 8] = [
        // A length that is not there, is too short, is too long, and has needless bytes.
        (b"\0\xff", 0x81),
        (b"\0\x01\x1f\0", 0x81),
        (b"\0\x09\x1f\0\x01x", 0x81),
        (b"\0\x80\0", 0x81),
        (&twice, 0x82),
        // A Content Type, a property that does not exist, and something behind the properties.
        (b"\0\x04\x03\0\x01x", 0x81),
        (b"\0\x02\x7f\0", 0x81),
        (b"\0\0x", 0x81),
    ];
    for head in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
        let expect_closed = |version, bytes: &[u8], reason| {
            let mut client = join(&daemon, version, "c");
            println!("{version:?} {bytes:x?}");
            client.send(bytes).unwrap();
            client.expect_closed(reason);
        };
        for version in Version::ALL {
            expect_closed(version, &packet(head, &[]), 0x81);
            expect_closed(version, &packet(head, &[1]), 0x81);
            expect_closed(version, &packet(head, &[0, 0]), 0x81);
            if version != Version::V5 {
                expect_closed(version, &nine(head, &[0]), 0x81);
            }
        }
        for (end, reason) in table {
            expect_closed(Version::V5, &nine(head, end), reason);
        }
    }
}

// Conforms: 5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-4.3.3-4] [MQTT-4.3.3-11]
#[test]
fn what_an_acknowledgement_leaves_out_is_success() {
    // What follows the Packet Identifier: nothing, a code, no properties, and some properties.
    let ends: [&[u8]; 4] = [b"", b"\0", b"\0\0", b"\0\x0b\x1f\0\x01x\x26\0\x01a\0\x01b"];
    let daemon = Daemon::start("");
    for end in ends {
        let (mut client, mut publisher) = one_at_a_time(&daemon, 1);
        let complete = |client: &mut WireClient, head, identifier: u16| {
            let body = [&identifier.to_be_bytes(), end].concat();
            client.send(&packet(head, &body)).unwrap();
        };
        for _ in 1..=3 {
            let message = client.hear();
            complete(&mut client, PUBACK, message.identifier);
        }
        for number in 1..=3 {
            publisher.say(&Message::new("t", "x").qos(2, number));
            assert_eq!(publisher.answer(), (PUBREC, number, 0));
            complete(&mut publisher, PUBREL, number);
            assert_eq!(publisher.answer(), (PUBCOMP, number, 0));
        }
        for _ in 1..=3 {
            let message = client.hear();
            complete(&mut client, PUBREC, message.identifier);
            assert_eq!(client.answer(), (PUBREL, message.identifier, 0));
            complete(&mut client, PUBCOMP, message.identifier);
        }
        client.expect_silence();
        client.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-11] [MQTT-2.2.1-5]; 3.1.1 [MQTT-4.3.3-2] [MQTT-2.3.1-6]
#[test]
fn acknowledgements_of_nothing_harm_nobody() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let unknown = if version == Version::V5 { 0x92 } else { 0 };
        let mut client = join(&daemon, version, "c");
        for identifier in [1, 500, 65_535] {
            client.reply(PUBACK, identifier);
            client.reply(PUBCOMP, identifier);
            client.expect_silence();
            client.reply(PUBREC, identifier);
            assert_eq!(client.answer(), (PUBREL, identifier, unknown));
            client.reply(PUBREL, identifier);
            assert_eq!(client.answer(), (PUBCOMP, identifier, unknown));
        }
    }
}

// Conforms: 5.0 [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5]; 3.1.1 [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn acknowledgements_in_the_wrong_order_complete_nothing() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let unknown = if version == Version::V5 { 0x92 } else { 0 };
        let (mut client, _) = resume(&daemon, version, &client_id);
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&Message::new("t", "one").qos(1, 1));
        publisher.deliver(&Message::new("t", "two").qos(2, 2));
        let (one, two) = (client.hear(), client.hear());
        client.reply(PUBREC, one.identifier);
        assert_eq!(client.answer(), (PUBREL, one.identifier, unknown));
        client.reply(PUBCOMP, one.identifier);
        client.reply(PUBACK, two.identifier);
        client.reply(PUBCOMP, two.identifier);
        client.expect_silence();
        drop(client);
        let (mut client, _) = resume(&daemon, version, &client_id);
        assert_eq!(client.hear(), one.clone().again());
        assert_eq!(client.hear(), two.clone().again());
        client.reply(PUBACK, one.identifier);
        client.reply(PUBREC, two.identifier);
        assert_eq!(client.answer(), (PUBREL, two.identifier, 0));
        client.reply(PUBACK, two.identifier);
        client.expect_silence();
        drop(client);
        let (mut client, _) = resume(&daemon, version, &client_id);
        assert_eq!(client.answer(), (PUBREL, two.identifier, 0));
        client.reply(PUBCOMP, two.identifier);
        client.expect_silence();
        client.disconnect().unwrap();
        resume(&daemon, version, &client_id).0.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-4] [MQTT-4.3.3-11]; 3.1.1 [MQTT-4.3.3-1] [MQTT-4.3.3-2]
#[test]
fn acknowledgements_may_come_twice() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let unknown = if version == Version::V5 { 0x92 } else { 0 };
        let mut client = join(&daemon, version, "s");
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        publisher.say(&Message::new("t", "x").qos(2, 7));
        assert_eq!(publisher.answer(), (PUBREC, 7, 0));
        publisher.reply(PUBREL, 7);
        publisher.reply(PUBREL, 7);
        assert_eq!(publisher.answer(), (PUBCOMP, 7, 0));
        assert_eq!(publisher.answer(), (PUBCOMP, 7, unknown));
        let identifier = client.hear().identifier;
        client.reply(PUBREC, identifier);
        client.reply(PUBREC, identifier);
        assert_eq!(client.answer(), (PUBREL, identifier, 0));
        assert_eq!(client.answer(), (PUBREL, identifier, 0));
        client.reply(PUBCOMP, identifier);
        client.reply(PUBCOMP, identifier);
        publisher.deliver(&Message::new("t", "x").qos(1, 7));
        let identifier = client.hear().identifier;
        client.reply(PUBACK, identifier);
        client.reply(PUBACK, identifier);
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-4] [MQTT-4.4.0-2] [MQTT-4.9.0-1]
#[test]
fn a_refusal_ends_a_delivery() {
    let daemon = Daemon::start("");
    for (qos, head) in [(1, PUBACK), (2, PUBREC)] {
        for reason in OUTCOMES.into_iter().filter(|it| *it >= 0x80) {
            let (mut client, _publisher) = one_at_a_time(&daemon, qos);
            for number in 1..=3 {
                let message = client.hear();
                assert_eq!(message.text(), number.to_string());
                client.reply_reason(head, message.identifier, reason);
            }
            // No PUBREL comes, and it is not sent again.
            client.expect_silence();
            drop(client);
            let (mut client, is_present) = resume_with(&daemon, "s", &[]);
            assert!(is_present);
            client.expect_silence();
            client.disconnect().unwrap();
        }
    }
}
