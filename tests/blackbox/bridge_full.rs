//! An outbox that is full: what it has no room for.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::fault_proxy::FaultProxy;
use tests::figure::wait_figure;
use tests::hub::Hub;
use tests::message::Message;
use tests::sequence::{NO_REPEATS, Repeats};
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

use crate::bridge_stream::Crossing;

/// Messages that wait for a session at most.
const ROOM: u64 = 100;
/// More than that, of each QoS.
const COUNT: u64 = 130;
const PAUSE: Duration = Duration::from_millis(10);

fn bridge(port: u16, more: &str) -> String {
    format!(
        "store.max_messages = {ROOM}\nsys_topics.interval = 100ms\n\
         bridges.mqtt.up {{\nserver = \"mqtt-tcp://127.0.0.1:{port}\"\nclientid = \"edge\"\n\
         backoff_max = 100ms\nforwards = [{{ local_topic = \"line/#\" }}]\n{more}\n}}\n"
    )
}

/// Publishes a number with MQTT 5; returns the reason in the answer.
#[track_caller]
fn publish(client: &mut WireClient, number: u64, qos: u8) -> u8 {
    let identifier = u16::try_from(number).unwrap();
    let message = Message::new("line/1", number.to_string()).qos(qos, identifier);
    client.send(&message.encode(Version::V5)).unwrap();
    let answer = if qos == 1 { 0x40 } else { 0x50 };
    client.expect(answer).unwrap().reason()
}

/// The numbers that have come, in order.
fn numbers(subscriber: &Subscriber) -> Vec<u64> {
    let received = subscriber.received();
    received.iter().map(|it| it.number().unwrap()).collect()
}

#[track_caller]
fn until_full(daemon: &Daemon) {
    let topic = "$SYS/broker/gateway/bridge/up/outbox/messages";
    let observer = Subscriber::start(daemon.port(), "observer", topic);
    until("the outbox is full", || {
        observer.has(|it| it.number() == Some(ROOM))
    });
}

/// Publishers of MQTT 3 are not answered, and publish it again when they are connected again.
#[test]
fn an_outbox_that_refuses_when_it_is_full_gets_everything_when_it_is_not() {
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let daemon = Daemon::start(&bridge(proxy.port(), "refuse_when_full = true"));
    let mut crossing = Crossing::subscribe(hub.port(), COUNT);
    crossing.publish(daemon.port(), PAUSE);
    until_full(&daemon);
    proxy.pass();
    let at_qos_1 = Repeats {
        steps_max: 2,
        messages_max: 256,
    };
    crossing.finish_with([at_qos_1, NO_REPEATS]);
}

#[test]
fn what_a_full_outbox_refuses_goes_to_nobody_and_is_answered() {
    let proxy = FaultProxy::start(1);
    proxy.refuse();
    let mut daemon = Daemon::start(&bridge(proxy.port(), "refuse_when_full = true"));
    let local = Subscriber::start(daemon.port(), "local", "line/#");
    let mut client = join(&daemon, Version::V5, "publisher");
    for number in 1..=ROOM {
        assert_eq!(publish(&mut client, number, 1), 0);
    }
    for qos in [1, 2] {
        assert_eq!(publish(&mut client, ROOM + 1, qos), 0x97, "QoS {qos}");
    }
    // Without the key it goes to those who have room, and is answered as theirs.
    daemon.reload(&bridge(proxy.port(), ""));
    assert_eq!(publish(&mut client, ROOM + 2, 1), 0);
    until("it has come", || {
        local.has(|it| it.number() == Some(ROOM + 2))
    });
    let expected: Vec<_> = (1..=ROOM).chain([ROOM + 2]).collect();
    assert_eq!(numbers(&local), expected);
}

/// What would have been published with QoS 0 waits there too.
#[test]
fn an_outbox_of_a_bridge_that_is_paused_refuses_after_a_restart_too() {
    let hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "cloud", "line/#");
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let more = "refuse_when_full = true\nretry_qos_0 = true";
    let mut daemon = Daemon::start(&bridge(proxy.port(), more));
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
    daemon.reconfigure(&bridge(proxy.port(), &format!("enable = false\n{more}")));
    // It has room for what no outbox has.
    let local = Subscriber::start(daemon.port(), "local", "line/#");
    let mut client = join(&daemon, Version::V5, "publisher");
    client
        .send(&Message::new("line/1", "1").encode(Version::V5))
        .unwrap();
    for number in 2..=ROOM {
        assert_eq!(publish(&mut client, number, 1), 0);
    }
    for qos in [1, 2] {
        let refused = publish(&mut client, ROOM + 1, qos);
        assert_eq!(refused, 0x97, "QoS {qos}");
    }
    daemon.reload(&bridge(proxy.port(), more));
    proxy.pass();
    let expected: Vec<_> = (1..=ROOM).collect();
    for subscriber in [&at_hub, &local] {
        until("everything has come", || {
            subscriber.count() >= expected.len()
        });
        assert_eq!(numbers(subscriber), expected);
    }
}

/// One bridge brings what another has no room for. A hub cannot be refused a message, so it is
/// acknowledged only when there is room.
#[test]
fn what_a_bridge_brings_for_a_full_outbox_stays_at_its_hub_until_there_is_room() {
    let [hub, source] = [Hub::start(), Hub::start()];
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let down = format!(
        "bridges.mqtt.down {{\nserver = \"mqtt-tcp://127.0.0.1:{}\"\nclientid = \"edge\"\n\
         subscription = [{{ remote_topic = \"line/#\", qos = 2 }}, {{ remote_topic = probe }}]\n}}\n",
        source.port()
    );
    let daemon = Daemon::start(&(bridge(proxy.port(), "refuse_when_full = true") + &down));
    let mut crossing = Crossing::subscribe(hub.port(), COUNT);
    // They have room for what the outbox has not.
    let here = Crossing::subscribe(daemon.port(), COUNT);
    let probed = Subscriber::start(daemon.port(), "probed", "probe");
    let prober = WireClient::connect(source.port(), Version::V5, "prober", Kept::Nothing);
    let (mut prober, _) = prober.unwrap();
    until("the bridge has subscribed", || {
        prober.publish_acknowledged("probe", b"").unwrap();
        probed.count() > 0
    });
    crossing.publish(source.port(), Duration::ZERO);
    until_full(&daemon);
    wait_figure(&daemon, "messages/refused", |it| it > 0);
    proxy.pass();
    crossing.finish_with([NO_REPEATS; 2]);
    here.finish_with([NO_REPEATS; 2]);
}
