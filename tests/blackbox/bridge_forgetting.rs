//! Hubs that forget their session between PUBREC and PUBREL, and pass a message on at PUBREL: what
//! they had received is published again. What a hub has not forgotten is exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use tests::daemon::Daemon;
use tests::dialogue::{PUBCOMP, PUBREC, PUBREL, join};
use tests::message::Message;
use tests::publisher::{Publisher, Stream};
use tests::random::Random;
use tests::scripted_hub::ScriptedHub;
use tests::sequence::{Repeats, assert_complete};
use tests::wire::{Version, WireClient};

/// Packet Identifier not found.
const NOT_FOUND: u8 = 0x92;
/// Messages of a stream.
const COUNT: u64 = 2_000;

fn bridge(port: u16) -> String {
    format!(
        "bridges.mqtt.up {{\n\
         server = \"mqtt-tcp://127.0.0.1:{port}\"\n\
         clientid = \"edge\"\n\
         backoff_max = 100ms\n\
         forwards = [{{ local_topic = \"line/#\" }}]\n\
         }}\n"
    )
}

/// Publishes these numbers, each of which the daemon has when this returns.
#[track_caller]
fn publish(daemon: &Daemon, numbers: RangeInclusive<u16>) {
    let mut publisher = join(daemon, Version::V5, "publisher");
    for number in numbers {
        publisher.deliver(&Message::new("line/1", number.to_string()).qos(2, number));
    }
}

/// These numbers come next, with these Packet Identifiers if they are known.
#[track_caller]
fn hear(hub: &mut WireClient, numbers: RangeInclusive<u16>, known: &[u16]) -> Vec<u16> {
    let mut identifiers = Vec::new();
    for number in numbers {
        let message = hub.hear();
        let found = (message.text(), message.qos, message.dup);
        assert_eq!(found, (number.to_string(), 2, !known.is_empty()));
        identifiers.push(message.identifier);
    }
    assert!(known.is_empty() || identifiers == known, "{identifiers:?}");
    identifiers
}

/// So many come next; returns their Packet Identifiers.
#[track_caller]
fn hear_any<const COUNT: usize>(hub: &mut WireClient) -> [u16; COUNT] {
    [(); COUNT].map(|()| hub.hear().identifier)
}

/// The first of six messages is completed, the hub has the second and third, and their PUBREL; the
/// others are only sent. Returns their identifiers.
#[track_caller]
fn begin(daemon: &Daemon, hub: &mut WireClient) -> Vec<u16> {
    publish(daemon, 1..=4);
    let mut identifiers = hear(hub, 1..=4, &[]);
    for identifier in &identifiers[..3] {
        hub.reply(PUBREC, *identifier);
    }
    for identifier in &identifiers[..3] {
        assert_eq!(hub.answer(), (PUBREL, *identifier, 0));
    }
    hub.reply(PUBCOMP, identifiers[0]);
    // When the fifth comes, PUBCOMP is read; when the daemon has the sixth, it is stored.
    for number in 5..=6 {
        publish(daemon, number..=number);
        identifiers.extend(hear(hub, number..=number, &[]));
    }
    identifiers
}

/// Completes these, which were heard, and checks that nothing of them is left.
#[track_caller]
fn complete(daemon: &Daemon, scripted: &ScriptedHub, mut hub: WireClient, identifiers: &[u16]) {
    for identifier in identifiers {
        hub.reply(PUBREC, *identifier);
    }
    for identifier in identifiers {
        assert_eq!(hub.answer(), (PUBREL, *identifier, 0));
        hub.reply(PUBCOMP, *identifier);
    }
    publish(daemon, 7..=7);
    let last = hear(&mut hub, 7..=7, &[]);
    drop(hub);
    let mut hub = scripted.next().accept();
    hear(&mut hub, 7..=7, &last);
}

/// What becomes of the daemon when the connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    IsKilled,
}

/// A hub that has some of the messages in part, with these identifiers, and is not connected.
#[track_caller]
fn leave(fate: Fate) -> (ScriptedHub, Daemon, Vec<u16>) {
    let scripted = ScriptedHub::start();
    let mut daemon = Daemon::start(&bridge(scripted.port()));
    let mut hub = scripted.next().accept();
    let identifiers = begin(&daemon, &mut hub);
    // Before the connection ends, or it might be asking for its session once more.
    if fate == Fate::IsKilled {
        daemon.kill();
    }
    drop(hub);
    if fate == Fate::IsKilled {
        daemon.restart();
    }
    (scripted, daemon, identifiers)
}

#[track_caller]
fn check_forgotten(fate: Fate) {
    let (scripted, daemon, identifiers) = leave(fate);
    let mut hub = scripted.next().accept();
    hear(&mut hub, 2..=6, &identifiers[1..]);
    complete(&daemon, &scripted, hub, &identifiers[1..]);
}

#[test]
fn what_the_hub_has_forgotten_is_published_again_in_its_order() {
    check_forgotten(Fate::Lives);
}

#[test]
fn what_the_hub_has_forgotten_is_published_again_after_a_kill() {
    check_forgotten(Fate::IsKilled);
}

#[track_caller]
fn check_kept(fate: Fate) {
    let (scripted, daemon, identifiers) = leave(fate);
    check_released(&scripted, &daemon, &identifiers);
}

/// The hub has kept its session: it gets no message again that it has received.
#[track_caller]
fn check_released(scripted: &ScriptedHub, daemon: &Daemon, identifiers: &[u16]) {
    let mut hub = scripted.next().resume();
    for identifier in &identifiers[1..3] {
        // All that it may have become is released.
        for copy in 0..16 {
            assert_eq!(hub.answer(), (PUBREL, identifier + copy, 0));
            // It has completed the third before; this is how it says so.
            let is_known = copy == 0 && *identifier == identifiers[1];
            let reason = if is_known { 0 } else { NOT_FOUND };
            hub.reply_reason(PUBCOMP, identifier + copy, reason);
        }
    }
    hear(&mut hub, 4..=6, &identifiers[3..]);
    complete(daemon, scripted, hub, &identifiers[3..]);
}

/// Asked for its session, it said nothing; nor did it forget.
#[test]
fn what_a_silent_hub_still_has_is_only_released_after_a_kill() {
    let (scripted, mut daemon, identifiers) = leave(Fate::Lives);
    drop(scripted.next());
    // Now it does not ask.
    let paused = format!(
        "{}bridges.mqtt.up.enable = false\n",
        bridge(scripted.port())
    );
    let said = daemon.reload(&paused);
    assert!(said.contains("paused=1"), "{said}");
    daemon.kill();
    // It may have asked again before.
    scripted.drop_waiting();
    daemon.reconfigure(&bridge(scripted.port()));
    check_released(&scripted, &daemon, &identifiers);
}

#[test]
fn what_a_silent_hub_still_has_is_only_released_after_a_stop() {
    let (scripted, mut daemon, identifiers) = leave(Fate::Lives);
    let silent = scripted.next();
    daemon.stop();
    drop(silent);
    daemon.restart();
    check_released(&scripted, &daemon, &identifiers);
}

#[test]
fn what_the_hub_still_has_is_only_released() {
    check_kept(Fate::Lives);
}

#[test]
fn what_the_hub_still_has_is_only_released_after_a_kill() {
    check_kept(Fate::IsKilled);
}

/// Killed at any moment from CONNECT, with which the hub begins a new session, to the first message.
#[track_caller]
fn check_kill_amid(answer: impl FnOnce(&ScriptedHub, &[u16]) -> Option<WireClient>) {
    let (scripted, mut daemon, identifiers) = leave(Fate::Lives);
    let hub = answer(&scripted, &identifiers);
    daemon.kill();
    drop(hub);
    daemon.restart();
    let mut hub = scripted.next().resume();
    hear(&mut hub, 2..=6, &identifiers[1..]);
    complete(&daemon, &scripted, hub, &identifiers[1..]);
}

#[test]
fn a_daemon_that_is_killed_before_it_hears_that_the_hub_has_forgotten_loses_nothing() {
    check_kill_amid(|scripted, _| Some(scripted.next().wire));
}

#[test]
fn a_daemon_that_is_killed_when_it_hears_that_the_hub_has_forgotten_loses_nothing() {
    check_kill_amid(|scripted, _| Some(scripted.next().accept()));
}

#[test]
fn a_daemon_that_is_killed_amid_what_is_published_again_loses_nothing() {
    check_kill_amid(|scripted, identifiers| {
        let mut hub = scripted.next().accept();
        hear(&mut hub, 2..=3, &identifiers[1..3]);
        Some(hub)
    });
}

/// The first hub has kept a session, and Packet Identifiers in it that were never released, while the
/// bridge was elsewhere and used them for other messages.
#[test]
fn a_bridge_that_comes_back_to_a_hub_releases_what_it_left_there() {
    let [first, second] = [(); 2].map(|()| ScriptedHub::start());
    let mut daemon = Daemon::start(&bridge(first.port()));
    let mut hub = first.next().accept();
    let identifiers = begin(&daemon, &mut hub);
    daemon.reload(&bridge(second.port()));
    drop(hub);
    // It does not know the bridge, and gets everything that the first one has not completed.
    let mut hub = second.next().accept();
    hear(&mut hub, 2..=6, &identifiers[1..]);
    complete(&daemon, &second, hub, &identifiers[1..]);
    daemon.kill();
    daemon.reconfigure(&bridge(first.port()));
    let mut hub = first.next().resume();
    for identifier in 1..=u16::MAX {
        assert_eq!(hub.answer(), (PUBREL, identifier, 0));
    }
    // What the second one had not completed comes behind that.
    let [last] = hear_any(&mut hub);
    hub.reply_reason(PUBCOMP, last, NOT_FOUND);
    hub.reply(PUBREC, last);
    assert_eq!(hub.answer(), (PUBREL, last, 0));
    hub.reply(PUBCOMP, last);
    publish(&daemon, 8..=8);
    hear(&mut hub, 8..=8, &[]);
    drop(hub);
    // There is no other hub any more.
    let mut hub = first.next().resume();
    hear_any::<1>(&mut hub);
}

/// A hub that passes a message on at PUBREL, as Mosquitto does, and keeps nothing on a disk.
struct Forgetful {
    scripted: ScriptedHub,
    /// The messages that it has received and not passed on; none without a session.
    session: Option<BTreeMap<u16, (String, u64)>>,
    passed_on: Vec<(String, u64)>,
    /// Their numbers.
    numbers: BTreeSet<u64>,
    /// Sessions that it has forgotten.
    forgotten: usize,
}

impl Forgetful {
    fn start() -> Self {
        Self {
            scripted: ScriptedHub::start(),
            session: None,
            passed_on: Vec::new(),
            numbers: BTreeSet::new(),
            forgotten: 0,
        }
    }

    fn forget(&mut self) {
        self.session = None;
        self.forgotten += 1;
    }

    /// The next connection, which has a session from here on.
    #[track_caller]
    fn next(&mut self) -> WireClient {
        let caller = self.scripted.next();
        let is_present = self.session.is_some();
        self.session.get_or_insert_default();
        if is_present {
            caller.resume()
        } else {
            caller.accept()
        }
    }

    fn has_all(&self) -> bool {
        self.numbers.len() as u64 == COUNT
    }

    /// Handles so many packets, as long as the connection lasts and there are more; the last is not
    /// answered.
    fn serve(&mut self, mut wire: WireClient, packets: u64) {
        for left in (0..packets).rev() {
            if self.has_all() {
                return;
            }
            let Ok(Some(packet)) = wire.receive() else {
                return;
            };
            let session = self.session.get_or_insert_default();
            let (head, identifier, reason) =
                if let Some(message) = Message::decode(&packet, Version::V5) {
                    let number = message.text().trim().parse().unwrap();
                    let identifier = message.identifier;
                    session.insert(identifier, (message.topic, number));
                    (PUBREC, identifier, 0)
                } else if packet.head == PUBREL {
                    let identifier = u16::from_be_bytes([packet.body[0], packet.body[1]]);
                    let message = session.remove(&identifier);
                    let reason = if message.is_some() { 0 } else { NOT_FOUND };
                    self.numbers.extend(message.iter().map(|it| it.1));
                    self.passed_on.extend(message);
                    (PUBCOMP, identifier, reason)
                } else {
                    assert_eq!(packet.head, 0xe0, "{packet:?}");
                    return;
                };
            let [high, low] = identifier.to_be_bytes();
            let is_lost = left == 0;
            if !is_lost && wire.send(&[head, 3, high, low, reason]).is_err() {
                return;
            }
        }
    }
}

/// A stream of messages to a hub that cuts the connection again and again, while the daemon is
/// killed now and then, also while it is asked for its session.
#[track_caller]
fn check_stream(forgets: bool) {
    const ROUNDS: u64 = 40;
    const PACKETS_MAX: u64 = 60;
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let mut hub = Forgetful::start();
    let mut daemon = Daemon::start(&bridge(hub.scripted.port()));
    let stream = Stream::new("line", 2, COUNT).paced(Duration::from_millis(5));
    let publisher = Publisher::start(daemon.port(), "publisher", stream);
    let mut doubts = 0;
    for _ in 0..ROUNDS {
        let wire = hub.next();
        hub.serve(wire, 1 + random.below(PACKETS_MAX));
        if forgets && random.once_in(2) {
            hub.forget();
        }
        if random.once_in(4) {
            let is_asked = forgets && random.once_in(2);
            let caller = is_asked.then(|| hub.scripted.next());
            if is_asked {
                hub.session.get_or_insert_default();
            }
            daemon.kill();
            drop(caller);
            // It may have sent a CONNECT before, and then it does not know what the hub has.
            doubts += usize::from(hub.scripted.drop_waiting());
            daemon.restart();
        }
    }
    while !hub.has_all() {
        let wire = hub.next();
        hub.serve(wire, 1_000);
    }
    publisher.wait(COUNT);
    let repeats = Repeats {
        steps_max: 2 * (hub.forgotten + doubts),
        messages_max: 200,
    };
    let what = format!("SEED={seed}");
    assert_complete(&what, &hub.passed_on, 1..=COUNT, repeats);
}

#[test]
fn a_hub_that_forgets_amid_a_stream_gets_everything() {
    check_stream(true);
}

#[test]
fn a_hub_that_forgets_nothing_gets_everything_once() {
    check_stream(false);
}
