//! The wall clock jumps, and what ends by itself ends when it should.

use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{join, leave_session, resume};
use tests::message::Message;
use tests::property::Property;
use tests::wait::until;
use tests::wire::Version;

const HOUR: u32 = 3_600;

fn expiring(topic: &str, payload: &str, seconds: u32) -> Message {
    // The Message Expiry Interval.
    Message::new(topic, payload).with(Property::four_bytes(0x02, seconds))
}

/// The log shows this moment of the wall clock, so the daemon has it.
#[track_caller]
fn wait_logged(daemon: &mut Daemon, time: &str) {
    until(time, || daemon.process().log().contains(time));
}

/// What waits for an hour is there: a session, its message, and a retained one.
#[track_caller]
fn assert_kept(daemon: &Daemon) {
    let (mut away, is_resumed) = resume(daemon, Version::V5, "away");
    assert!(is_resumed);
    // Not acknowledged, so it waits on.
    let message = away.hear();
    assert_eq!(message.text(), "queued");
    let left = message.number(0x02).unwrap();
    assert!((HOUR / 2..=HOUR).contains(&left), "{left}");
    away.disconnect().unwrap();
    let mut late = join(daemon, Version::V5, "late");
    late.subscribe("r", 0).unwrap();
    let message = late.hear();
    assert_eq!(message.text(), "retained");
    let left = message.number(0x02).unwrap();
    assert!((HOUR / 2..=HOUR).contains(&left), "{left}");
}

#[test]
fn jumps_of_the_wall_clock_end_nothing() {
    let mut daemon = Daemon::start_at("@2031-01-01 00:00:00", "");
    wait_logged(&mut daemon, "2031-01-01T00");
    leave_session(&daemon, Version::V5, "away", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&expiring("t", "queued", HOUR).qos(1, 1));
    publisher.deliver(&expiring("r", "retained", HOUR).qos(1, 2).retained());
    for (year, is_killed) in [
        ("2032", false),
        ("2030", true),
        ("1970", false),
        ("2033", true),
    ] {
        // While it runs, and over a restart.
        daemon.set_wall_clock(&format!("@{year}-06-01 00:00:00"));
        assert_kept(&daemon);
        wait_logged(&mut daemon, &format!("{year}-06-01T00"));
        if is_killed {
            daemon.kill();
        } else {
            assert!(daemon.stop().0.success());
        }
        daemon.set_wall_clock(&format!("@{year}-12-01 00:00:00"));
        daemon.restart();
        assert_kept(&daemon);
        wait_logged(&mut daemon, &format!("{year}-12-01T00"));
    }
}

#[test]
fn what_ends_while_the_daemon_is_down_is_gone_although_the_wall_clock_went_back() {
    let mut daemon = Daemon::start_at("@2031-01-01 00:00:00", "");
    leave_session(&daemon, Version::V5, "away", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    let published = Instant::now();
    publisher.deliver(&expiring("t", "short", 2).qos(1, 1));
    publisher.deliver(&expiring("r/short", "x", 2).qos(1, 2).retained());
    publisher.deliver(&expiring("t", "long", HOUR).qos(1, 3));
    publisher.deliver(&expiring("r/long", "x", HOUR).qos(1, 4).retained());
    assert!(daemon.stop().0.success());
    let stopped = published.elapsed();
    until("two seconds have passed", || {
        published.elapsed() > stopped + Duration::from_secs(2)
    });
    daemon.set_wall_clock("@2030-06-01 00:00:00");
    daemon.restart();
    let (mut away, is_resumed) = resume(&daemon, Version::V5, "away");
    assert!(is_resumed);
    assert_eq!(away.take().text(), "long");
    away.expect_silence();
    let mut late = join(&daemon, Version::V5, "late");
    late.subscribe("r/#", 0).unwrap();
    assert_eq!(late.take().topic, "r/long");
    late.expect_silence();
}

/// Waits until the daemon says this of itself.
#[track_caller]
fn wait_said(daemon: &Daemon, name: &str, value: &str) {
    let mut watcher = join(daemon, Version::V5, "watcher");
    let topic = format!("$SYS/broker/{name}");
    watcher.subscribe(&topic, 0).unwrap();
    until(&topic, || watcher.hear().text() == value);
}

#[test]
fn what_expires_leaves_the_queue_of_a_client_that_does_not_come() {
    let mut daemon = Daemon::start("sys_topics { interval = 1s }\nmqtt { max_mqueue_len = 4 }");
    leave_session(&daemon, Version::V5, "away", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    for number in 1..=20 {
        let text = number.to_string();
        let message = if number % 10 == 0 {
            expiring("t", &text, HOUR)
        } else {
            expiring("t", &text, 1)
        };
        publisher.deliver(&message.qos(1, number));
    }
    wait_said(&daemon, "publish/messages/dropped/expired", "18");
    wait_said(&daemon, "store/messages/count", "2");
    daemon.kill();
    daemon.restart();
    wait_said(&daemon, "store/messages/count", "2");
    wait_said(&daemon, "publish/messages/dropped/expired", "0");
    let (mut away, _) = resume(&daemon, Version::V5, "away");
    assert_eq!(away.take().text(), "10");
    assert_eq!(away.take().text(), "20");
    away.expect_silence();
}

#[test]
fn a_message_is_kept_for_its_maximum_age() {
    let daemon = Daemon::start("sys_topics { interval = 1s }\nstore { max_age = 3s }");
    leave_session(&daemon, Version::V5, "away", "t", 1);
    let mut live = join(&daemon, Version::V5, "live");
    live.subscribe("t", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&Message::new("t", "endless").qos(1, 1));
    publisher.deliver(&expiring("t", "long", HOUR).qos(1, 2));
    // Who is told hears nothing of that.
    assert_eq!(live.take().number(0x02), None);
    assert!(live.take().number(0x02) > Some(HOUR / 2));
    wait_said(&daemon, "publish/messages/dropped/expired", "2");
    wait_said(&daemon, "store/messages/count", "0");
    let (mut away, is_resumed) = resume(&daemon, Version::V5, "away");
    assert!(is_resumed);
    away.expect_silence();
}

#[test]
fn what_people_read_is_the_wall_clock() {
    let mut daemon = Daemon::start_at("@2031-01-01 00:00:00", "");
    assert!(daemon.stop().0.success());
    daemon.set_wall_clock("@2040-01-01 00:00:00");
    daemon.restart();
    let mut watcher = join(&daemon, Version::V5, "watcher");
    watcher.subscribe("$SYS/brokers/connected", 0).unwrap();
    let _other = join(&daemon, Version::V5, "other");
    let event: serde_json::Value = serde_json::from_str(&watcher.hear().text()).unwrap();
    // 2040-01-01.
    assert!(event["ts"].as_u64() >= Some(2_208_988_800_000), "{event}");
}
