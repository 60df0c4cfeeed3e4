//! What happens to a bridge in its life besides a broken way: reloads in the middle of a stream, a
//! way that comes and goes, a hub that stands still, messages that expire.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join};
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::message::Message;
use tests::property::Property;
use tests::publisher::{Publisher, Stream};
use tests::scripted_hub::ScriptedHub;
use tests::sequence::{NO_REPEATS, Repeats, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::{DEADLINE, until};
use tests::wire::Version;

use crate::bridge_stream::{Crossing, numbers};

const PAUSE: Duration = Duration::from_millis(10);
const HOUR: u32 = 3_600;

/// A bridge to this port; what is below `line` goes up below a prefix.
fn bridge(port: u16, prefix: &str, more: &str) -> String {
    format!(
        "sys_topics.interval = 1s\n\
         bridges.mqtt.up {{\n\
         server = \"mqtt-tcp://127.0.0.1:{port}\"\n\
         clientid = \"edge\"\n\
         backoff_max = 100ms\n\
         connect_timeout = 2s\n\
         {more}\n\
         forwards = [\n\
         {{ local_topic = \"line/#\", remote_topic = \"\", prefix = \"{prefix}\" }}\n\
         ]\n\
         }}\n"
    )
}

/// Waits until so many more have come to each.
#[track_caller]
fn wait_more(subscribers: &[Subscriber; 2], count: usize) {
    let before = subscribers.each_ref().map(Subscriber::count);
    for (subscriber, before) in subscribers.iter().zip(before) {
        until("more comes", || subscriber.count() >= before + count);
    }
}

#[test]
fn reloads_in_the_middle_of_a_stream_lose_nothing() {
    const COUNT: u64 = 8_000;
    let hub = Hub::start();
    let port = hub.port();
    let mut daemon = Daemon::start(&bridge(port, "a/", ""));
    let subscribers = [1, 2].map(|qos| {
        let filter = format!("+/line/{qos}/#");
        Subscriber::start_with(port, &filter, &filter, qos)
    });
    let publishers = [1, 2].map(|qos| {
        let stream = Stream::new(&format!("line/{qos}"), qos, COUNT).paced(PAUSE);
        Publisher::start(daemon.port(), &format!("publisher-{qos}"), stream)
    });
    let changes = [
        bridge(port, "a/", "keepalive = 7s"),
        bridge(port, "b/", "keepalive = 7s"),
        bridge(port, "b/", "max_inflight = 5"),
    ];
    for change in &changes {
        wait_more(&subscribers, 300);
        let said = daemon.reload(change);
        assert!(said.contains("changed=1"), "{said}");
    }
    wait_more(&subscribers, 300);
    let said = daemon.reload(&bridge(port, "b/", "enable = false"));
    assert!(said.contains("paused=1"), "{said}");
    let paused = publishers.each_ref().map(Publisher::done);
    for (publisher, done) in publishers.iter().zip(paused) {
        publisher.wait(done + 300);
    }
    daemon.reload(&bridge(port, "b/", ""));
    publishers.iter().for_each(|it| it.wait(COUNT));
    let at_qos_1 = Repeats {
        steps_max: changes.len() + 1,
        messages_max: 256,
    };
    for ((qos, subscriber), repeats) in (1..).zip(&subscribers).zip([at_qos_1, NO_REPEATS]) {
        until("the last have come", || {
            let mut last = COUNT - 3..=COUNT;
            last.all(|number| subscriber.has(|it| it.number() == Some(number)))
        });
        let received = numbers(subscriber);
        let has = |prefix: &str| received.iter().any(|it| it.0.starts_with(prefix));
        assert!(has("a/") && has("b/"), "the prefix has changed");
        // The order is kept over the change of the prefix too.
        let received = received.into_iter();
        let received: Vec<_> = received
            .map(|(mut topic, number)| (topic.split_off("a/".len()), number))
            .collect();
        assert_complete(&format!("QoS {qos}"), &received, 1..=COUNT, repeats);
    }
}

/// Were the pauses to grow, these would take some minutes.
#[test]
fn a_hub_that_takes_a_message_and_closes_each_time_is_not_waited_for_longer_and_longer() {
    const COUNT: u16 = 12;
    let hub = ScriptedHub::start();
    let config = bridge(hub.port(), "a/", "").replace("100ms", "60s");
    let daemon = Daemon::start(&config);
    let mut connection = hub.next().accept();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    for number in 1..=COUNT {
        publisher.deliver(&Message::new("line/1", number.to_string()).qos(1, number));
    }
    let start = Instant::now();
    for number in 1..=COUNT {
        let message = connection.hear();
        assert_eq!(message.text(), number.to_string());
        connection.reply(PUBACK, message.identifier);
        drop(connection);
        connection = hub.next().resume();
    }
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
}

#[test]
fn a_way_that_comes_and_goes_loses_nothing_and_says_little() {
    const ROUNDS: usize = 30;
    const PHASE: Duration = Duration::from_millis(300);
    /// Each time that the way is lost, why it is not found, and that it is found again.
    const LINES_MAX: usize = 3 * ROUNDS + 20;
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let mut daemon = Daemon::start(&bridge(proxy.port(), "", ""));
    let crossing = Crossing::start(daemon.port(), hub.port(), 12_000, PAUSE);
    crossing.wait_more(100);
    // How long a phase lasts is what is tested.
    let wait = |since: Instant| until("the phase is over", || since.elapsed() >= PHASE);
    for _ in 0..ROUNDS {
        proxy.refuse();
        wait(Instant::now());
        proxy.pass();
        wait(Instant::now());
    }
    crossing.finish(ROUNDS);
    let connections = hub.connections_of("edge");
    assert!(connections > ROUNDS / 2, "{connections} connections");
    let log = daemon.process().log();
    let lines = log.lines().count();
    assert!(lines <= LINES_MAX, "{lines} lines:\n{log}");
}

#[test]
fn a_hub_that_stands_still_is_left_and_gets_everything() {
    let mut hub = Hub::start();
    let mut daemon = Daemon::start(&bridge(hub.port(), "", "keepalive = 5s"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 4_000, PAUSE);
    crossing.wait_more(300);
    hub.freeze();
    for reason in ["did not answer PINGREQ", "did not answer CONNECT"] {
        until(reason, || daemon.process().log().contains(reason));
    }
    hub.thaw();
    crossing.finish(1);
}

/// mosquitto may save everything at once. What it acknowledged in the moment before it was killed may
/// be lost all the same, and what it kept may come again, and behind what came later; but no more.
#[test]
fn a_killed_hub_that_saves_at_once_gets_everything_but_its_last_moment() {
    const COUNT: u64 = 4_000;
    const KILLS: usize = 3;
    /// What mosquitto handles in one turn, before it saves: what its window lets it take.
    const LAST_MOMENT: usize = 20;
    let mut hub = Hub::start_with("autosave_on_changes true\nautosave_interval 1");
    let daemon = Daemon::start(&bridge(hub.port(), "", ""));
    let at_hub = Subscriber::start(hub.port(), "all", "line/#");
    let stream = Stream::new("line", 1, COUNT).paced(PAUSE);
    let publisher = Publisher::start(daemon.port(), "publisher", stream);
    for _ in 0..KILLS {
        let before = at_hub.count();
        until("more comes", || at_hub.count() >= before + 500);
        hub.kill();
        hub.resume();
    }
    publisher.wait(COUNT);
    let missing = || {
        let found: BTreeSet<u64> = numbers(&at_hub).iter().map(|it| it.1).collect();
        (1..=COUNT).filter(|it| !found.contains(it)).count()
    };
    until("the last have come", || {
        let mut last = COUNT - 3..=COUNT;
        last.all(|number| at_hub.has(|it| it.number() == Some(number)))
    });
    until("what it kept has come", || missing() <= KILLS * LAST_MOMENT);
    assert_eq!(at_hub.lost_sessions(), 0, "it has not saved");
}

#[test]
fn what_expires_while_the_way_is_cut_is_counted_and_the_rest_goes_with_the_time_that_is_left() {
    const SHORT: u32 = 2;
    const LONG: u32 = 60;
    let mut hub = Hub::start();
    let port = hub.port();
    let mut daemon = Daemon::start_at("@2031-01-01 00:00:00", &bridge(port, "", ""));
    let (mut at_hub, _) = Connect::new(Version::V5, "all").resuming(HOUR).open(port);
    at_hub.subscribe("line/#", 1).unwrap();
    at_hub.disconnect().unwrap();
    until("it is connected", || hub.connections_of("edge") == 1);
    hub.stop();
    let mut publisher = join(&daemon, Version::V5, "p");
    let published = Instant::now();
    for number in 1..=30 {
        let text = number.to_string();
        let message = Message::new("line/1", text).qos(1, number);
        let seconds = [None, Some(SHORT), Some(LONG)][usize::from(number % 3)];
        let expiring = seconds.map(|it| Property::four_bytes(0x02, it));
        publisher.deliver(&expiring.into_iter().fold(message, Message::with));
    }
    // The wall clock has no say in it.
    daemon.set_wall_clock("@2033-01-01 00:00:00");
    daemon.kill();
    daemon.restart();
    let mut watcher = join(&daemon, Version::V5, "watcher");
    let topic = "$SYS/broker/publish/messages/dropped/expired";
    watcher.subscribe(topic, 0).unwrap();
    until("ten have expired", || watcher.hear().text() == "10");
    hub.resume();
    until("it is connected again", || hub.connections_of("edge") == 2);
    let (mut at_hub, _) = Connect::new(Version::V5, "all").resuming(HOUR).open(port);
    for number in (1..=30).filter(|it| it % 3 != 1) {
        let message = at_hub.take();
        assert_eq!(message.text(), number.to_string());
        let passed = u32::try_from(published.elapsed().as_secs()).unwrap();
        let left = message.number(0x02);
        if number % 3 == 0 {
            assert_eq!(left, None);
        } else {
            let left = left.unwrap();
            let range = LONG - passed - 1..=LONG - SHORT;
            assert!(range.contains(&left), "{left} after {passed} seconds");
        }
    }
    at_hub.expect_silence();
}
