//! What brokerless peers send reaches the hub, whatever happens to the hub and to the daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::sequence::{Repeats, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::{until, until_every};
use tests::wire::{Kept, Version, WireClient};

use crate::plant::{Plant, Source};

/// Numbers that each peer sends.
const COUNT: u64 = 10_000;
/// How often the counters are looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Connections on the way to the hub's subscriber that are lost: the bridge's when the hub stops,
/// twice, and when the daemon is killed; the subscriber's when the hub stops, twice. What may be
/// repeated is what the bridge (256) and the hub (20) had not seen acknowledged.
const HUB_REPEATS: Repeats = Repeats {
    steps_max: 5,
    messages_max: 256 + 20,
};
/// The local subscriber loses one connection. The daemon has 128 messages in flight to it, and
/// what it acknowledged in the last few milliseconds may not have been written.
const LOCAL_REPEATS: Repeats = Repeats {
    steps_max: 1,
    messages_max: 4_096,
};

/// Waits until everything up to this number of every peer has been received and is durable.
fn wait_received(plant: &Plant, sources: &[Source], last: u64, recorder: &Subscriber) {
    for source in sources {
        // The last of each topic: the numbers go round four of them.
        until_every(
            INTERVAL,
            &format!("{} has sent {last}", source.name),
            || (last - 3..=last).all(|number| source.has_arrived(number, recorder)),
        );
    }
    // Takes its place in the bridge's outbox behind them, so its PUBACK vouches for them too.
    let (mut client, _) =
        WireClient::connect(plant.daemon.port(), Version::V5, "marker", Kept::Nothing).unwrap();
    client.publish_acknowledged("plant/marker", b"0").unwrap();
}

/// How many different readings of all peers together a subscriber has got.
fn count_numbers(sources: &[Source], subscriber: &Subscriber) -> usize {
    let all = sources.iter().flat_map(|it| it.numbers(subscriber));
    all.collect::<BTreeSet<_>>().len()
}

/// Waits until the hub's subscriber has got so many.
fn wait_forwarded(sources: &[Source], subscriber: &Subscriber, count: usize) {
    until_every(
        INTERVAL,
        &format!("{count} readings are at the hub"),
        || count_numbers(sources, subscriber) >= count,
    );
}

#[test]
fn ten_thousand_readings_of_each_peer_survive_two_hub_outages_and_a_sigkill() {
    let mut plant = Plant::start();
    let at_hub = Subscriber::start(plant.hub.port(), "cloud", "plant/#");
    let recorder = Subscriber::start(plant.daemon.port(), "recorder", "plant/#");
    let mut sources = plant.sources();
    sources.iter_mut().for_each(|it| it.sync(&recorder));

    // The hub goes away amid the stream.
    sources.iter_mut().for_each(|it| it.send(1, 4_000));
    wait_forwarded(&sources, &at_hub, 1_000);
    plant.hub.stop();
    wait_received(&plant, &sources, 4_000, &recorder);
    sources.iter_mut().for_each(|it| it.send(4_001, 7_000));
    wait_received(&plant, &sources, 7_000, &recorder);
    let before = at_hub.count();

    // The daemon is killed while it works off what has accumulated.
    plant.hub.resume();
    until("the bridge works it off", || at_hub.count() > before + 500);
    plant.daemon.kill();
    let forwarded = count_numbers(&sources, &at_hub);
    assert!(
        forwarded < 3 * 7_000,
        "killed too late: {forwarded} are at the hub"
    );
    plant.daemon.restart();
    sources.iter_mut().for_each(|it| it.sync(&recorder));

    // The hub goes away once more.
    sources.iter_mut().for_each(|it| it.send(7_001, COUNT));
    wait_forwarded(&sources, &at_hub, 15_000);
    plant.hub.stop();
    wait_received(&plant, &sources, COUNT, &recorder);
    plant.hub.resume();
    wait_forwarded(&sources, &at_hub, 30_000);

    for source in &sources {
        let name = source.name;
        let numbers = source.numbers(&recorder);
        assert_complete(
            &format!("{name}, local"),
            &numbers,
            1..=COUNT,
            LOCAL_REPEATS,
        );
        let numbers = source.numbers(&at_hub);
        eprintln!("{name}: {} repeated", numbers.len() - 10_000);
        assert_complete(&format!("{name}, hub"), &numbers, 1..=COUNT, HUB_REPEATS);
    }
    assert_eq!((at_hub.connections(), at_hub.lost_sessions()), (3, 0));
    assert_eq!((recorder.connections(), recorder.lost_sessions()), (2, 0));
    // What ends well ends well here too.
    let (status, _) = plant.daemon.stop();
    assert!(status.success(), "{status}");
}
