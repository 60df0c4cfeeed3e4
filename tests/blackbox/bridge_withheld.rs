//! A hub that takes none of one topic, of which more messages wait than it may have unacknowledged:
//! the other topics go on.

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join};
use tests::scripted_hub::ScriptedHub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Publish, Version, WireClient};

/// Five times as many as the hub gets at a time.
const BAD: usize = 50;
const GOOD: usize = 20;
const QUOTA_EXCEEDED: u8 = 0x97;

fn start(hub: &ScriptedHub) -> Daemon {
    Daemon::start(&format!(
        r##"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{}"
  clientid = "edge"
  backoff_max = 20ms
  max_inflight = 10
  forwards = [{{ local_topic = "good" }}, {{ local_topic = "bad" }}]
}}
"##,
        hub.port()
    ))
}

/// Publishes numbered messages of `bad` with payloads of so many bytes, and then those of `good`.
fn publish(daemon: &Daemon, bytes: usize) {
    let mut client = join(daemon, Version::V311, "publisher");
    for (topic, count, bytes) in [("bad", BAD, bytes), ("good", GOOD, 0)] {
        for number in 0..count {
            let payload = " ".repeat(bytes) + &number.to_string();
            let sent = client.publish_acknowledged(topic, payload.as_bytes());
            sent.unwrap();
        }
    }
}

/// The next PUBLISH of the bridge; its PINGREQs are answered.
fn next(wire: &mut WireClient) -> Publish {
    loop {
        let packet = wire.receive().unwrap().unwrap();
        if let Some(publish) = packet.publish(Version::V5) {
            return publish;
        }
        assert_eq!(packet.head, 0xC0, "{packet:?}");
        wire.send(&[0xD0, 0]).unwrap();
    }
}

/// Takes what comes of `good`, and closes the connection at `bad`; returns the last connection.
fn take_good(hub: &ScriptedHub, mut wire: Option<WireClient>) -> WireClient {
    let mut taken = Vec::new();
    until("the others come", || {
        let open = wire.get_or_insert_with(|| hub.next().accept());
        let publish = next(open);
        if publish.topic == "bad" {
            wire = None;
        } else {
            open.reply(PUBACK, publish.identifier);
            taken.push(publish);
        }
        taken.len() == GOOD
    });
    assert_eq!(numbers(&taken, "good"), Vec::from_iter(0..GOOD));
    wire.unwrap()
}

fn numbers(taken: &[Publish], topic: &str) -> Vec<usize> {
    let of_topic = taken.iter().filter(|it| it.topic == topic);
    let numbers = of_topic.map(|it| it.number().unwrap() as usize);
    numbers.collect()
}

#[test]
fn a_topic_without_room_that_fills_the_window_does_not_stop_the_others_and_comes_later() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub);
    publish(&daemon, 0);
    let mut wire = hub.next().accept();
    let mut taken = Vec::new();
    let mut step = |has_room: bool| {
        let publish = next(&mut wire);
        if publish.topic == "bad" && !has_room {
            wire.reply_reason(PUBACK, publish.identifier, QUOTA_EXCEEDED);
        } else {
            wire.reply(PUBACK, publish.identifier);
            taken.push(publish);
        }
        taken.clone()
    };
    until("the others come", || step(false).len() == GOOD);
    until("the rest comes", || step(true).len() == GOOD + BAD);
    assert_eq!(numbers(&taken, "good"), Vec::from_iter(0..GOOD));
    assert_eq!(numbers(&taken, "bad"), Vec::from_iter(0..BAD));
}

#[test]
fn a_topic_that_the_hub_closes_the_connection_for_and_that_fills_the_window_is_given_up() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub);
    publish(&daemon, 0);
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/bad");
    let mut wire = take_good(&hub, None);
    assert_eq!(letters.count(), 0, "nothing is proven yet");
    assert_eq!(next(&mut wire).topic, "bad", "it is tried once more");
    drop(wire);
    let _wire = hub.next().accept();
    until("it is given up", || letters.count() == BAD);
}

#[test]
fn a_topic_that_leaves_others_no_place_at_all_is_given_up_if_the_hub_took_others_before() {
    // 10 MB, of which 4 MiB are withheld beside the window, and as much in it.
    const BYTES: usize = 200_000;
    let hub = ScriptedHub::start();
    let daemon = start(&hub);
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/bad");
    let mut open = hub.next().accept();
    let mut client = join(&daemon, Version::V311, "first");
    client.publish_acknowledged("good", b"0").unwrap();
    let first = next(&mut open);
    open.reply(PUBACK, first.identifier);
    publish(&daemon, BYTES);
    let _wire = take_good(&hub, Some(open));
    until("it is given up", || letters.count() == BAD);
}
