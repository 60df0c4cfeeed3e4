//! Sessions (§3.1.2.4, §3.2.2.1.1, §4.1): when one is resumed, and what is in it.

use std::time::{Duration, Instant};

use tests::bytes::{hex, subscribe};
use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join};
use tests::message::Message;
use tests::wait;
use tests::wire::{Version, WireClient};

/// A CONNECT with or without a clean session, whose session is kept or not.
fn connect(version: Version, is_clean: bool, is_kept: bool) -> Connect {
    let mut connect = Connect::new(version, "c");
    connect.is_clean = is_clean;
    // MQTT 3 has one flag for both.
    if is_kept && version == Version::V5 {
        connect = connect.expiring(60);
    }
    connect
}

/// Whether the flags of a version can say that.
fn can_say(version: Version, is_clean: bool, is_kept: bool) -> bool {
    version == Version::V5 || is_clean != is_kept
}

/// Whether this client has its subscription to `t`.
fn is_subscribed(client: &mut WireClient) -> bool {
    client.subscribe("end", 0).unwrap();
    client.say(&Message::new("t", "x"));
    client.say(&Message::new("end", "x"));
    let is_subscribed = client.hear().topic == "t";
    if is_subscribed {
        assert_eq!(client.hear().topic, "end");
    }
    is_subscribed
}

/// Runs through all ways to come back; `come_back` gets an old client and a new CONNECT.
fn check_matrix(come_back: impl Fn(WireClient, &Connect) -> (WireClient, bool)) {
    let daemon = Daemon::start("");
    const FLAGS: [bool; 2] = [false, true];
    for (from, to) in Version::ALL
        .map(|from| Version::ALL.map(|to| (from, to)))
        .concat()
    {
        for (was_clean, was_kept) in FLAGS.map(|a| FLAGS.map(|b| (a, b))).concat() {
            for (is_clean, is_kept) in FLAGS.map(|a| FLAGS.map(|b| (a, b))).concat() {
                if !can_say(from, was_clean, was_kept) || !can_say(to, is_clean, is_kept) {
                    continue;
                }
                let (mut old, connack) = connect(from, was_clean, was_kept).open(daemon.port());
                assert!(!connack.is_present(), "nothing is left of the last turn");
                old.subscribe("t", 1).unwrap();
                let (mut new, is_present) = come_back(old, &connect(to, is_clean, is_kept));
                let what = format!("{from:?} {was_clean} {was_kept}, {to:?} {is_clean} {is_kept}");
                let expected = was_kept && !is_clean;
                assert_eq!(is_subscribed(&mut new), expected, "{what}");
                // MQTT 3.1 has no such flag.
                assert_eq!(is_present, expected && to != Version::V31, "{what}");
                drop(Connect::new(Version::V5, "c").open(daemon.port()));
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.3-2] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.1.0-2]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.3-2] [MQTT-3.1.4-3] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.1.0-1]
// Conforms: 3.1 [MQTT31-6] [MQTT31-13]
#[test]
fn a_session_is_resumed_after_an_end_in_order_where_both_sides_want_it() {
    let port = |client: &WireClient| client.handle().unwrap().peer_addr().unwrap().port();
    check_matrix(|old, connect| {
        let port = port(&old);
        old.disconnect().unwrap();
        let (client, connack) = connect.open(port);
        (client, connack.is_present())
    });
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-2] [MQTT-3.1.4-3] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
// Conforms: 3.1 [MQTT31-6] [MQTT31-13]
#[test]
fn a_session_is_resumed_by_a_takeover_where_both_sides_want_it() {
    check_matrix(|mut old, connect| {
        let port = old.handle().unwrap().peer_addr().unwrap().port();
        let (client, connack) = connect.open(port);
        old.expect_closed(0x8e);
        (client, connack.is_present())
    });
}

/// How a client loses its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Disconnect,
    Socket,
    Takeover,
    /// The daemon is stopped and started again.
    Stop,
    /// The daemon is killed and started again.
    Kill,
}

const LOSSES: [Loss; 5] = [
    Loss::Disconnect,
    Loss::Socket,
    Loss::Takeover,
    Loss::Stop,
    Loss::Kill,
];

/// Loses the connection and comes back to the same session.
fn lose(daemon: &mut Daemon, mut client: WireClient, loss: Loss) -> WireClient {
    let version = client.version();
    let connect = Connect::new(version, "c").resuming(60);
    match loss {
        Loss::Disconnect => client.disconnect().unwrap(),
        Loss::Socket => drop(client),
        Loss::Takeover => {
            let (new, connack) = connect.open(daemon.port());
            assert_eq!(connack.is_present(), version != Version::V31);
            client.expect_closed(0x8e);
            return new;
        }
        Loss::Stop => {
            daemon.stop();
            client.expect_closed(0x8b);
            daemon.restart();
        }
        Loss::Kill => {
            daemon.kill();
            daemon.restart();
        }
    }
    let (client, connack) = connect.open(daemon.port());
    assert_eq!(connack.is_present(), version != Version::V31, "{loss:?}");
    client
}

/// Does the same for every version and every loss, with a client whose session is kept.
fn for_every_loss(check: impl Fn(&mut Daemon, WireClient, Loss)) {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        for loss in LOSSES {
            let connect = Connect::new(version, "c").resuming(60);
            let (client, connack) = connect.open(daemon.port());
            assert!(!connack.is_present());
            check(&mut daemon, client, loss);
            Connect::new(version, "c").open(daemon.port());
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-4.1.0-1]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-4.1.0-1] [MQTT-4.1.0-2]; 3.1 [MQTT31-13]
#[test]
fn a_session_keeps_its_subscriptions_with_their_options() {
    for_every_loss(|daemon, mut client, loss| {
        let version = client.version();
        for qos in 0..3 {
            client.subscribe(&format!("t/{qos}"), qos).unwrap();
        }
        if version == Version::V5 {
            // No Local; Retain As Published; a Subscription Identifier.
            client
                .send(&hex("82 0b 0064 00 0005 6c6f63616c 05"))
                .unwrap();
            client.expect(0x90).unwrap();
            client.send(&hex("82 09 0065 00 0003 726170 09")).unwrap();
            client.expect(0x90).unwrap();
            client
                .send(&hex("82 0a 0066 02 0b07 0002 6964 00"))
                .unwrap();
            client.expect(0x90).unwrap();
        }
        let mut client = lose(daemon, client, loss);
        let mut publisher = join(daemon, version, "p");
        for qos in 0..3 {
            publisher.deliver(&Message::new(&format!("t/{qos}"), "x").qos(2, 9));
            assert_eq!(client.take().qos, qos, "{loss:?}");
        }
        if version == Version::V5 {
            client.say(&Message::new("local", "x"));
            client.expect_silence();
            publisher.say(&Message::new("rap", "x").retained());
            assert!(client.take().retain);
            publisher.say(&Message::new("rap", "").retained());
            assert!(client.take().payload.is_empty());
            publisher.say(&Message::new("id", "x"));
            assert_eq!(client.take().number(0x0b), Some(7));
        }
        client.expect_silence();
    });
}

// Conforms: 5.0 [MQTT-4.1.0-1] [MQTT-4.4.0-1] [MQTT-3.3.1-1]
// Conforms: 3.1.1 [MQTT-3.1.2-5] [MQTT-3.3.1-1] [MQTT-4.1.0-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]; 3.1 [MQTT31-13]
#[test]
fn a_session_keeps_what_was_sent_and_is_not_acknowledged() {
    for_every_loss(|daemon, mut client, loss| {
        let version = client.version();
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(daemon, version, "p");
        for number in 0..6_u16 {
            let message = Message::new("t", number.to_string());
            publisher.deliver(&message.qos(1 + u8::from(number % 2 == 1), number + 1));
        }
        let mut sent: Vec<_> = (0..6).map(|_| client.hear()).collect();
        assert!(sent.iter().all(|it| !it.dup));
        // The first two are done, the third is open, the fourth is received but not released.
        client.reply(PUBACK, sent[0].identifier);
        client.reply(PUBREC, sent[1].identifier);
        assert_eq!(client.answer(), (PUBREL, sent[1].identifier, 0));
        client.reply(PUBCOMP, sent[1].identifier);
        client.reply(PUBREC, sent[3].identifier);
        assert_eq!(client.answer(), (PUBREL, sent[3].identifier, 0));
        client.expect_silence();
        // When this one is stored, everything before is.
        publisher.deliver(&Message::new("t", "last").qos(1, 7));
        sent.push(client.hear());
        drop(publisher);
        let mut client = lose(daemon, client, loss);
        let mut again: Vec<(u8, u16)> = Vec::new();
        for _ in 2..7 {
            let packet = client.receive().unwrap().unwrap();
            if packet.head >> 4 == 3 {
                let message = Message::decode(&packet, version).unwrap();
                assert!(message.dup, "{loss:?}: {message:?}");
                again.push((0x30, message.identifier));
            } else {
                let identifier = u16::from_be_bytes([packet.body[0], packet.body[1]]);
                again.push((packet.head, identifier));
            }
        }
        let mut expected: Vec<_> = sent[2..].iter().map(|it| (0x30, it.identifier)).collect();
        expected[1].0 = PUBREL;
        // What the store knows to be released comes before what it knows to wait.
        if matches!(loss, Loss::Stop | Loss::Kill) {
            expected.swap(0, 1);
        }
        assert_eq!(again, expected, "{loss:?}");
        client.expect_silence();
    });
}

// Conforms: 5.0 [MQTT-4.1.0-1] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
// Conforms: 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.3-2]; 3.1 [MQTT31-13]
#[test]
fn a_session_keeps_the_identifiers_of_received_messages() {
    for_every_loss(|daemon, mut client, loss| {
        client.subscribe("t", 0).unwrap();
        let message = Message::new("t", "once").qos(2, 5);
        client.say(&message);
        assert_eq!(client.hear().payload, b"once");
        assert_eq!(client.answer(), (PUBREC, 5, 0));
        let mut client = lose(daemon, client, loss);
        client.say(&message.clone().again());
        assert_eq!(client.answer(), (PUBREC, 5, 0), "{loss:?}");
        let mut client = lose(daemon, client, loss);
        client.reply(PUBREL, 5);
        assert_eq!(client.answer(), (PUBCOMP, 5, 0), "{loss:?}");
        client.expect_silence();
        // Free again.
        client.say(&Message::new("t", "twice").qos(2, 5));
        assert_eq!(client.hear().payload, b"twice");
        assert_eq!(client.answer(), (PUBREC, 5, 0));
        client.reply(PUBREL, 5);
        assert_eq!(client.answer(), (PUBCOMP, 5, 0));
    });
}

// Conforms: 5.0 [MQTT-4.1.0-1] [MQTT-4.5.0-1]; 3.1.1 [MQTT-3.1.2-5] [MQTT-4.5.0-1]; 3.1 [MQTT31-13]
#[test]
fn a_session_collects_messages_while_its_client_is_away() {
    for_every_loss(|daemon, mut client, loss| {
        let version = client.version();
        client.subscribe("t/#", 2).unwrap();
        client.send(&hex("e0 00")).unwrap();
        // The daemon closes when it knows that the client is away; before, it might send.
        assert_eq!(client.receive().unwrap(), None);
        let mut publisher = join(daemon, version, "p");
        for number in 0..50_u16 {
            let message = Message::new("t/a", number.to_string());
            publisher.deliver(&message.qos(1 + u8::from(number % 2 == 1), number + 1));
        }
        drop(publisher);
        // A restart in between changes nothing.
        match loss {
            Loss::Stop => {
                daemon.stop();
                daemon.restart();
            }
            Loss::Kill => {
                daemon.kill();
                daemon.restart();
            }
            Loss::Disconnect | Loss::Socket | Loss::Takeover => {}
        }
        let connect = Connect::new(version, "c").resuming(60);
        let (mut client, _) = connect.open(daemon.port());
        let mut released = 0;
        let mut number = 0;
        while number < 50 || released < 25 {
            let packet = client.receive().unwrap().unwrap();
            if packet.head == PUBREL {
                released += 1;
                continue;
            }
            let message = Message::decode(&packet, version).unwrap();
            assert_eq!(message.text(), number.to_string(), "{loss:?}");
            let qos = 1 + u8::from(number % 2 == 1);
            assert_eq!((message.qos, message.dup), (qos, false));
            let answer = if qos == 1 { PUBACK } else { PUBREC };
            client.reply(answer, message.identifier);
            number += 1;
        }
    });
}

// Conforms: 5.0 [MQTT-4.1.0-2]; 3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.2-7]; 3.1 [MQTT31-13]
#[test]
fn a_session_that_ends_leaves_retained_messages_and_nothing_else() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.subscribe("t/#", 1).unwrap();
        client.deliver(&Message::new("kept", "x").qos(1, 1).retained());
        client.say(&Message::new("t/open", "x").qos(2, 2));
        client.send(&hex("e0 00")).unwrap();
        // The PUBREC and the message may come or not.
        while client.receive().unwrap().is_some() {}
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&Message::new("t/away", "x").qos(1, 1));
        let (mut client, connack) = Connect::new(version, "c").resuming(60).open(daemon.port());
        assert!(!connack.is_present());
        client.expect_silence();
        // Its identifier is free, too: this is another message.
        client.subscribe("t/#", 0).unwrap();
        client.say(&Message::new("t/new", "x").qos(2, 2));
        assert_eq!(client.hear().topic, "t/new");
        assert_eq!(client.answer(), (PUBREC, 2, 0));
        client.send(&subscribe(version, 3, "kept", 0)).unwrap();
        let mut heads = [(); 2].map(|()| client.receive().unwrap().unwrap().head);
        heads.sort_unstable();
        assert_eq!(heads, [0x31, 0x90], "the retained message and the SUBACK");
        Connect::new(version, "c").open(daemon.port());
    }
}

// Conforms: 5.0 [MQTT-3.1.2-23] [MQTT-4.1.0-2]
#[test]
fn a_session_expires_in_time_and_not_before() {
    let mut daemon = Daemon::start("mqtt { max_session_expiry_interval = 2s }");
    let forever = Connect::new(Version::V5, "c").resuming(u32::MAX);
    for (connect, seconds, is_restarted) in [
        (Connect::new(Version::V5, "c").resuming(1), 1, false),
        (forever, 2, false),
        (Connect::new(Version::V5, "c").resuming(2), 2, true),
    ] {
        let (client, connack) = connect.open(daemon.port());
        assert!(!connack.is_present(), "it has expired");
        drop(client);
        let before = Instant::now();
        let (client, connack) = connect.open(daemon.port());
        // A machine that stood still must not fail the test.
        assert!(connack.is_present() || before.elapsed() > Duration::from_secs(seconds));
        client.disconnect().unwrap();
        let left = Instant::now();
        if is_restarted {
            daemon.stop();
            daemon.restart();
        }
        wait::until_passed(left, seconds);
    }
    let (_, connack) = Connect::new(Version::V5, "c")
        .resuming(1)
        .open(daemon.port());
    assert!(!connack.is_present(), "it has expired");
}

// Conforms: 3.1.1 [MQTT-3.1.2-4]; 3.1 [MQTT31-13]
#[test]
fn sessions_of_mqtt_3_expire_as_configured() {
    let daemon = Daemon::start("mqtt { session_expiry_interval_v3 = 1s }");
    for version in [Version::V31, Version::V311] {
        let connect = Connect::new(version, "c").resuming(60);
        let (mut client, _) = connect.open(daemon.port());
        client.subscribe("t", 0).unwrap();
        client.disconnect().unwrap();
        let left = Instant::now();
        wait::until_passed(left, 1);
        let (mut client, connack) = connect.open(daemon.port());
        assert!(!connack.is_present());
        assert!(!is_subscribed(&mut client));
        Connect::new(version, "c").open(daemon.port());
    }
}
