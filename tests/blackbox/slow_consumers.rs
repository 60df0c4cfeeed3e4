//! Subscribers that do not read: they cost themselves, and nobody else.

use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, resume};
use tests::figure::{EVERY_SECOND, figure, wait_figure};
use tests::message::Message;
use tests::wire::{Version, WireClient};

const QUOTA_EXCEEDED: u8 = 0x97;
/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 4 << 10;
/// More than the buffers of a socket hold, and many times what a session may have in memory.
const COUNT: u32 = 7_000;
/// Messages that are published before somebody who reads takes them: less than a session holds.
const STEP: u32 = 100;

fn message(number: u32, qos: u8) -> Message {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, b'x');
    // Not 0, and free again long before it is needed again.
    let identifier = u16::try_from(number % 60_000 + 1).unwrap();
    Message::new("t", payload).qos(qos, identifier)
}

fn number(message: &Message) -> u32 {
    u32::from_be_bytes(*message.payload.first_chunk().unwrap())
}

/// Publishes messages and completes them; returns the numbers of those that were refused.
fn publish(publisher: &mut WireClient, numbers: std::ops::Range<u32>, qos: u8) -> Vec<u32> {
    let messages: Vec<_> = numbers.map(|it| message(it, qos)).collect();
    let mut refused = Vec::new();
    let version = publisher.version();
    for part in messages.chunks(64) {
        let bytes: Vec<_> = part.iter().map(|it| it.encode(version)).collect();
        publisher.send(&bytes.concat()).unwrap();
        for message in part.iter().filter(|_| qos > 0) {
            let (head, identifier, reason) = publisher.answer();
            assert_eq!(identifier, message.identifier);
            if reason == QUOTA_EXCEEDED {
                refused.push(number(message));
            } else if head != PUBACK {
                publisher.reply(PUBREL, identifier);
            }
        }
        let released = part
            .iter()
            .filter(|it| qos == 2 && !refused.contains(&number(it)));
        for message in released {
            let answer = (PUBCOMP, message.identifier, 0);
            assert_eq!(publisher.answer(), answer);
        }
    }
    refused
}

/// The numbers of all messages that wait for a client, which answers them.
fn take_rest(client: &mut WireClient) -> Vec<u32> {
    let mut numbers = Vec::new();
    // More may wait than is sent before the answer to a PINGREQ; nothing does after two in a row.
    let mut silences = 0;
    while silences < 2 {
        let before = numbers.len();
        client.send(&[0xc0, 0]).unwrap();
        loop {
            let packet = client.receive().unwrap().unwrap();
            match Message::decode(&packet, client.version()) {
                Some(message) => {
                    numbers.push(number(&message));
                    match message.qos {
                        0 => {}
                        1 => client.reply(PUBACK, message.identifier),
                        _ => client.reply(PUBREC, message.identifier),
                    }
                }
                None if packet.head == PUBREL => {
                    client
                        .send(&tests::wire::packet(PUBCOMP, &packet.body[..2]))
                        .unwrap();
                }
                None => {
                    assert_eq!(packet.head, 0xd0, "{packet:?}");
                    break;
                }
            }
        }
        silences = if numbers.len() == before {
            silences + 1
        } else {
            0
        };
    }
    numbers
}

#[test]
fn a_client_that_stops_reading_loses_qos_0_and_nobody_else_does() {
    let mut daemon = Daemon::start(EVERY_SECOND);
    let mut stuck = join(&daemon, Version::V5, "stuck");
    stuck.subscribe("t", 0).unwrap();
    let mut reader = join(&daemon, Version::V311, "reader");
    reader.subscribe("t", 0).unwrap();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    publish(&mut publisher, 0..STEP, 0);
    (0..STEP).for_each(|_| drop(reader.hear()));
    let before = daemon.process().memory();
    for start in (STEP..COUNT).step_by(STEP as usize) {
        publish(&mut publisher, start..start + STEP, 0);
        for expected in start..start + STEP {
            assert_eq!(number(&reader.hear()), expected);
        }
    }
    let grown = daemon.process().memory_peak().saturating_sub(before);
    assert!(grown < 12 << 20, "it took {grown} bytes");

    // What it gets and what was dropped is everything.
    publisher.skip();
    let taken = take_rest(&mut stuck);
    assert!(taken.is_sorted(), "{taken:?}");
    let dropped = u64::from(COUNT) - taken.len() as u64;
    assert!(dropped > 0);
    let is_counted = |found| found == dropped;
    wait_figure(&daemon, "publish/messages/dropped/live_full", is_counted);
    assert_eq!(figure(&daemon, "publish/messages/dropped"), dropped);
    // It goes on with the next one.
    publish(&mut publisher, COUNT..COUNT + 1, 0);
    assert_eq!(number(&stuck.hear()), COUNT);
}

/// A durable session with few messages in memory whose client takes none.
fn spill(when_full: &str) {
    const WAITING: u32 = 2_000;
    let mut daemon = Daemon::start(&format!(
        "{EVERY_SECOND} mqtt.max_mqueue_len = 100, mqtt.max_queue_bytes = 256KiB
         store {{ max_messages = {WAITING}, when_full = {when_full} }}"
    ));
    let (mut stuck, _) = resume(&daemon, Version::V5, "stuck");
    stuck.subscribe("t", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    let mut refused = publish(&mut publisher, 0..WAITING / 2, 1);
    let before = daemon.process().memory();
    refused.extend(publish(&mut publisher, WAITING / 2..COUNT, 1));
    let grown = daemon.process().memory_peak().saturating_sub(before);
    assert!(grown < 24 << 20, "it took {grown} bytes");
    // What is accepted last is never what is dropped.
    let last = (0..COUNT).rev().find(|it| !refused.contains(it));
    let mut taken = Vec::new();
    while taken.last().copied() != last {
        taken.push(number(&stuck.take()));
    }
    assert!(taken.is_sorted(), "{taken:?}");
    let dropped = u64::from(COUNT) - taken.len() as u64;
    if when_full == "reject_new" {
        assert_eq!(refused.len() as u64, dropped);
        assert!(refused.iter().all(|it| !taken.contains(it)));
        let figures = [("queue_full", dropped), ("dropped_oldest", 0)];
        wait_dropped(&daemon, &figures);
    } else {
        assert!(refused.is_empty(), "{refused:?}");
        wait_dropped(&daemon, &[("queue_full", 0), ("dropped_oldest", dropped)]);
        assert_eq!(taken.last(), Some(&(COUNT - 1)));
    }
    // What waits, a hundredth more while others make way, and what is in flight.
    let range = WAITING..=WAITING + WAITING / 100 + 128;
    let taken = u32::try_from(taken.len()).unwrap();
    assert!(range.contains(&taken), "{taken}");
}

fn wait_dropped(daemon: &Daemon, figures: &[(&str, u64)]) {
    for (cause, count) in figures {
        let name = format!("publish/messages/dropped/{cause}");
        wait_figure(daemon, &name, |it| it == *count);
    }
}

#[test]
fn what_a_client_does_not_take_with_qos_1_is_stored_up_to_the_quota_and_then_refused() {
    spill("reject_new");
}

#[test]
fn what_a_client_does_not_take_with_qos_1_is_stored_up_to_the_quota_and_then_makes_way() {
    spill("drop_oldest");
}

#[test]
fn no_publisher_waits_for_clients_that_do_not_read() {
    const PART: u32 = 1_000;
    let daemon = Daemon::start("store.max_messages = 3000");
    let (mut durable, _) = resume(&daemon, Version::V5, "durable");
    durable.subscribe("t", 2).unwrap();
    let mut transient = join(&daemon, Version::V5, "transient");
    transient.subscribe("t", 2).unwrap();
    let mut live = join(&daemon, Version::V311, "live");
    live.subscribe("t", 0).unwrap();
    let mut reader = join(&daemon, Version::V311, "reader");
    reader.subscribe("t", 0).unwrap();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    let mut time = |part: u32, qos| {
        let start = Instant::now();
        for first in (part * PART..(part + 1) * PART).step_by(STEP as usize) {
            publish(&mut publisher, first..first + STEP, qos);
            (0..STEP).for_each(|_| drop(reader.hear()));
        }
        start.elapsed()
    };
    for qos in [0, 1, 2] {
        let take_all = |clients: [&mut WireClient; 3]| {
            clients.into_iter().for_each(|it| drop(take_rest(it)));
        };
        let mut while_they_read = Duration::ZERO;
        for part in 0..3 {
            while_they_read += time(part, qos);
            take_all([&mut durable, &mut transient, &mut live]);
        }
        // What the buffers of their sockets hold.
        for part in 3..6 {
            time(part, qos);
        }
        let while_they_do_not: Duration = (6..9).map(|part| time(part, qos)).sum();
        assert!(
            while_they_do_not < while_they_read * 4 + Duration::from_secs(2),
            "QoS {qos}: {while_they_do_not:?} instead of {while_they_read:?}"
        );
        take_all([&mut durable, &mut transient, &mut live]);
    }
}
