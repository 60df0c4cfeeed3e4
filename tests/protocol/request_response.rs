//! Request and response (§4.10), from end to end.

use tests::daemon::Daemon;
use tests::dialogue::{join, leave_session, resume};
use tests::message::Message;
use tests::property::{self, Property};
use tests::wire::{Version, WireClient, packet};

const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION: u8 = 0x09;
const RESPONSE_INFORMATION: u8 = 0x1a;

/// The string or binary value of a property.
fn value(message: &Message, identifier: u8) -> Vec<u8> {
    let mut properties = message.properties.iter();
    let found = properties.find(|it| it.identifier == identifier);
    let found = found.unwrap_or_else(|| panic!("no {identifier:#x}: {message:?}"));
    found.value[2..].to_vec()
}

/// A client that asks for Response Information, if `asks` says so, and what it is told.
fn requester(daemon: &Daemon, client_id: &str, asks: Option<u8>) -> (WireClient, Option<String>) {
    let asked: Vec<_> = asks
        .map(|it| Property::byte(0x19, it))
        .into_iter()
        .collect();
    let mut body = b"\0\x04MQTT\x05\x02\0\x3c".to_vec();
    body.extend(property::encode(&asked));
    body.extend(tests::subscription::string(client_id));
    let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
    client.send(&packet(0x10, &body)).unwrap();
    let answer = client.expect(0x20).unwrap();
    assert_eq!(answer.body[1], 0);
    let (properties, _) = property::decode(&answer.body[2..]).unwrap();
    let mut told = properties.into_iter();
    let told = told.find(|it| it.identifier == RESPONSE_INFORMATION);
    let told = told.map(|it| String::from_utf8(it.value[2..].to_vec()).unwrap());
    (client, told)
}

/// Answers a request: the payload in capitals, to the Response Topic, with the Correlation Data.
fn answer(responder: &mut WireClient) {
    let request = responder.take();
    let topic = String::from_utf8(value(&request, RESPONSE_TOPIC)).unwrap();
    let correlation = Property::text(CORRELATION, value(&request, CORRELATION));
    let response = Message::new(&topic, request.text().to_uppercase()).with(correlation);
    // An acknowledgement here is not told from a request.
    responder.say(&response);
}

// Conforms: 5.0 [MQTT-3.1.2-28] [MQTT-3.3.2-15] [MQTT-3.3.2-16]
#[test]
fn each_requester_gets_the_answers_to_its_requests() {
    let daemon = Daemon::start("mqtt { response_information = \"reply/${clientid}\" }");
    let mut responder = join(&daemon, Version::V5, "responder");
    responder.subscribe("service", 1).unwrap();
    let mut requesters = ["one", "two"].map(|client_id| {
        let (mut client, told) = requester(&daemon, client_id, Some(1));
        let topic = told.unwrap();
        assert_eq!(topic, format!("reply/{client_id}"));
        client.subscribe(&format!("{topic}/#"), 1).unwrap();
        (client, topic)
    });
    for round in 0..3_u8 {
        for (client, topic) in &mut requesters {
            for part in ["a", "b"] {
                let request = Message::new("service", format!("{topic} {part} {round}"))
                    .qos(1, 1)
                    .with(Property::text(RESPONSE_TOPIC, format!("{topic}/{part}")))
                    .with(Property::text(CORRELATION, [round, 0, 0xff]));
                client.deliver(&request);
            }
        }
        for _ in 0..4 {
            answer(&mut responder);
        }
        for (client, topic) in &mut requesters {
            for part in ["a", "b"] {
                let response = client.take();
                assert_eq!(response.topic, format!("{topic}/{part}"));
                let expected = format!("{topic} {part} {round}").to_uppercase();
                assert_eq!(response.text(), expected);
                assert_eq!(value(&response, CORRELATION), [round, 0, 0xff]);
            }
            client.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-28]
#[test]
fn response_information_is_for_those_who_ask_and_where_it_is_configured() {
    let configured = Daemon::start("mqtt { response_information = \"reply/${clientid}\" }");
    assert_eq!(requester(&configured, "c", Some(0)).1, None);
    assert_eq!(requester(&configured, "c", None).1, None);
    let told = requester(&configured, "c", Some(1)).1;
    assert_eq!(told.as_deref(), Some("reply/c"));
    let plain = Daemon::start("");
    assert_eq!(requester(&plain, "c", Some(1)).1, None);
}

// Conforms: 5.0 [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-4.5.0-1]
#[test]
fn a_request_and_its_response_wait_for_those_who_are_away() {
    let mut daemon = Daemon::start("");
    leave_session(&daemon, Version::V5, "responder", "service", 1);
    leave_session(&daemon, Version::V5, "requester", "answers", 1);
    let (mut client, _) = resume(&daemon, Version::V5, "requester");
    let request = Message::new("service", "please")
        .qos(1, 1)
        .with(Property::text(RESPONSE_TOPIC, "answers"))
        .with(Property::text(CORRELATION, "7"));
    client.deliver(&request);
    client.disconnect().unwrap();
    daemon.kill();
    daemon.restart();
    let (mut responder, _) = resume(&daemon, Version::V5, "responder");
    let request = responder.take();
    assert_eq!(value(&request, RESPONSE_TOPIC), b"answers");
    let correlation = Property::text(CORRELATION, value(&request, CORRELATION));
    responder.deliver(&Message::new("answers", "done").qos(1, 1).with(correlation));
    daemon.kill();
    daemon.restart();
    let (mut client, _) = resume(&daemon, Version::V5, "requester");
    let response = client.take();
    assert_eq!(
        (&*response.text(), value(&response, CORRELATION)),
        ("done", b"7".to_vec())
    );
}

// Conforms: 5.0 [MQTT-3.3.2-15]
#[test]
fn a_request_without_a_subscriber_is_told() {
    let daemon = Daemon::start("");
    let mut client = join(&daemon, Version::V5, "c");
    let request = Message::new("service", "x").with(Property::text(RESPONSE_TOPIC, "answers"));
    client.say(&request.clone().qos(1, 1));
    assert_eq!(client.answer(), (0x40, 1, 0x10));
    let mut responder = join(&daemon, Version::V5, "r");
    responder.subscribe("service", 0).unwrap();
    client.say(&request.qos(1, 2));
    assert_eq!(client.answer(), (0x40, 2, 0));
    assert_eq!(value(&responder.take(), RESPONSE_TOPIC), b"answers");
}
