//! What messages under way may take of the memory, over all clients.

use std::thread;

use tests::control_group::ControlGroup;
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join, leave_session, resume};
use tests::figure::{EVERY_SECOND, figure, wait_figure};
use tests::message::Message;
use tests::wire::{Version, WireClient};

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

/// Messages that are published before those who read take them: much less than what is left for each
/// when the memory is shared by all, of which those who do not read take a little more than theirs.
const STEP: u16 = 8;
/// So small that each session gets a copy.
const SMALL_BYTES: usize = 1_000;

/// Subscribers of which most read nothing, and somebody who publishes to them.
struct Crowd {
    publisher: WireClient,
    reader: WireClient,
    durable: WireClient,
    stuck: Vec<WireClient>,
}

impl Crowd {
    fn join(daemon: &Daemon, stuck: usize) -> Self {
        let subscribe = |mut client: WireClient, qos| {
            client.subscribe("t", qos).unwrap();
            client
        };
        let stuck = (0..stuck).map(|it| format!("stuck-{it}"));
        Self {
            publisher: join(daemon, Version::V5, "publisher"),
            reader: subscribe(join(daemon, Version::V5, "reader"), 0),
            durable: subscribe(resume(daemon, Version::V5, "durable").0, 1),
            stuck: stuck
                .map(|it| subscribe(join(daemon, Version::V5, &it), 0))
                .collect(),
        }
    }

    /// Publishes again and again; those who read get everything.
    fn flood(&mut self, steps: u16) {
        let message = |identifier| Message::new("t", [b'x'; SMALL_BYTES]).qos(1, identifier);
        let step: Vec<_> = (1..=STEP)
            .map(|it| message(it).encode(Version::V5))
            .collect();
        let step = step.concat();
        for _ in 0..steps {
            self.publisher.send(&step).unwrap();
            for identifier in 1..=STEP {
                assert_eq!(self.publisher.answer(), (PUBACK, identifier, 0));
                assert_eq!(self.reader.hear().payload.len(), SMALL_BYTES);
                assert_eq!(self.durable.take().payload.len(), SMALL_BYTES);
            }
        }
    }
}

/// Clients whose deliveries fill the memory and that read nothing of them.
#[test]
fn clients_that_do_not_read_leave_room_for_those_that_do() {
    // Each of them could have 1 MiB.
    let budget = "runtime.memory_limit = 16MiB, log.level = warn";
    let mut daemon = Daemon::start(&format!("{EVERY_SECOND} {budget}"));
    let mut crowd = Crowd::join(&daemon, 40);
    let before = daemon.process().memory();
    crowd.flood(1_400);
    wait_figure(&daemon, "publish/messages/dropped/memory_full", |it| it > 0);
    let waiting = figure(&daemon, "memory/waiting");
    assert!((5 << 20..=13 << 20).contains(&waiting), "{waiting}");
    let grown = daemon.process().memory_peak().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    drop(crowd.stuck);
    wait_figure(&daemon, "memory/waiting", |it| it == 0);
}

/// As in a container: the limit follows from that of the group.
#[test]
fn a_daemon_that_may_have_little_memory_is_not_ended_for_taking_more() {
    const GROUP_BYTES: u64 = 64 << 20;
    let Some(group) = ControlGroup::with_memory(GROUP_BYTES) else {
        eprintln!("SKIPPED: the system lets nobody make a control group of his own");
        return;
    };
    let more = format!("{EVERY_SECOND} log.level = warn");
    let mut daemon = Daemon::start_in_group(&group, &more);
    assert_eq!(figure(&daemon, "memory/limit"), GROUP_BYTES / 4);
    // Each of them could have 1 MiB.
    let mut crowd = Crowd::join(&daemon, 80);
    crowd.flood(1_400);
    wait_figure(&daemon, "publish/messages/dropped/memory_full", |it| it > 0);
    assert_eq!(daemon.process().status(), None);
}
