//! What messages under way may take of the memory, over all clients.

use std::thread;

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join, leave_session, resume};
use tests::figure::{EVERY_SECOND, figure, wait_figure};
use tests::message::Message;
use tests::wire::Version;

const PAYLOAD_BYTES: usize = 64 << 10;

fn large(number: u16) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, b'x');
    let message = Message::new("t", payload).qos(1, 1);
    message.encode(Version::V5)
}

fn number(message: &Message) -> u16 {
    u16::from_be_bytes(*message.payload.first_chunk().unwrap())
}

/// Reliability of many publishers at once: more than the budget has begun to come in before
/// anything is complete.
#[test]
fn many_large_packets_that_come_together_wait_for_each_other_and_are_all_taken() {
    const CLIENTS: u16 = 2_000;
    let budget = "runtime.memory_limit = 64MiB, log.level = warn";
    let mut daemon = Daemon::start(&format!("{EVERY_SECOND} {budget}"));
    leave_session(&daemon, Version::V5, "reader", "t", 1);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| join(&daemon, Version::V5, &format!("client-{number}")))
        .collect();
    // All but the last byte.
    for (number, client) in (0..).zip(&mut clients) {
        let packet = large(number);
        client.send(&packet[..packet.len() - 1]).unwrap();
    }
    wait_figure(&daemon, "memory/incoming/held", |it| it > 1_000);
    let incoming = figure(&daemon, "memory/incoming");
    assert!(incoming <= 16 << 20, "{incoming}");
    // Small ones and pings need no room.
    let mut small = join(&daemon, Version::V311, "small");
    small.deliver(&Message::new("other", "1").qos(1, 1));
    small.expect_silence();
    // Some who have begun go away.
    clients.drain(..10);
    for client in &mut clients {
        client.send(b"x").unwrap();
    }
    let reader = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reader, _) = resume(&daemon, Version::V5, "reader");
            let mut numbers: Vec<_> = (10..CLIENTS).map(|_| number(&reader.take())).collect();
            numbers.sort_unstable();
            numbers
        });
        for client in &mut clients {
            assert_eq!(client.answer(), (PUBACK, 1, 0));
        }
        reader.join().unwrap()
    });
    assert_eq!(reader, (10..CLIENTS).collect::<Vec<_>>());
    wait_figure(&daemon, "memory/incoming", |it| it == 0);
    let peak = daemon.process().memory_peak();
    assert!(peak < 128 << 20, "{peak}");
}

/// Clients whose deliveries fill the memory and that read nothing of them.
#[test]
fn clients_that_do_not_read_leave_room_for_those_that_do() {
    const STUCK: usize = 40;
    const STEPS: u16 = 700;
    // Less than what is left for each when the memory is shared by all.
    const STEP: u16 = 16;
    // Each of them could have 1 MiB.
    let budget = "runtime.memory_limit = 16MiB, log.level = warn";
    let mut daemon = Daemon::start(&format!("{EVERY_SECOND} {budget}"));
    let mut reader = join(&daemon, Version::V5, "reader");
    reader.subscribe("t", 0).unwrap();
    let (mut durable, _) = resume(&daemon, Version::V5, "durable");
    durable.subscribe("t", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    let subscribe = |number| {
        let mut client = join(&daemon, Version::V5, &format!("stuck-{number}"));
        client.subscribe("t", 0).unwrap();
        client
    };
    let stuck: Vec<_> = (0..STUCK).map(subscribe).collect();
    let before = daemon.process().memory();
    // So small that each session gets a copy.
    let message = |identifier| Message::new("t", [b'x'; 1_000]).qos(1, identifier);
    let step: Vec<_> = (1..=STEP)
        .map(|it| message(it).encode(Version::V5))
        .collect();
    let step = step.concat();
    for _ in 0..STEPS {
        publisher.send(&step).unwrap();
        for identifier in 1..=STEP {
            assert_eq!(publisher.answer(), (PUBACK, identifier, 0));
            assert_eq!(reader.hear().payload.len(), 1_000);
            assert_eq!(durable.take().payload.len(), 1_000);
        }
    }
    wait_figure(&daemon, "publish/messages/dropped/memory_full", |it| it > 0);
    let waiting = figure(&daemon, "memory/waiting");
    assert!((5 << 20..=13 << 20).contains(&waiting), "{waiting}");
    let grown = daemon.process().memory_peak().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    drop(stuck);
    wait_figure(&daemon, "memory/waiting", |it| it == 0);
}
