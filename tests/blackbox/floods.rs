//! Too many connections, too many retained messages: established clients do not notice.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join};
use tests::figure::{EVERY_SECOND, figure, wait_figure};
use tests::message::Message;
use tests::wait::{until, until_passed};
use tests::wire::{Version, WireClient};

/// How soon a client is let in although others do their worst.
const LET_IN_MAX: Duration = Duration::from_secs(2);

/// Connections that send the first byte of a CONNECT and nothing more.
fn half_open(daemon: &Daemon, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
        // It may be closed already.
        stream.write_all(&[0x10]).ok();
        stream
    };
    (0..count).map(open).collect()
}

/// Both are connected and one gets what the other publishes.
fn expect_served(reader: &mut WireClient, publisher: &mut WireClient) {
    publisher.deliver(&Message::new("live", "1").qos(1, 1));
    assert_eq!(reader.take().text(), "1");
}

#[test]
fn a_client_is_let_in_while_others_connect_all_the_time() {
    let daemon = Daemon::start("log.level = warn");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..4 {
            let (daemon, is_over) = (&daemon, &is_over);
            scope.spawn(move || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(join(daemon, Version::V5, &format!("flood-{number}")));
                    // Half of them say nothing.
                    drop(half_open(daemon, 1));
                }
            });
        }
        for number in 0..20 {
            let start = Instant::now();
            let client = join(&daemon, Version::V311, &format!("client-{number}"));
            assert!(start.elapsed() < LET_IN_MAX, "{:?}", start.elapsed());
            client.disconnect().unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn who_sends_no_connect_makes_way_for_who_does() {
    let limits = "listeners.tcp.default { max_half_open = 50, max_connections = 50 }";
    let daemon = Daemon::start(&format!(
        "{EVERY_SECOND} {limits}, mqtt.connect_timeout = 60s"
    ));
    let mut flood = half_open(&daemon, 500);
    // Those who have sent no CONNECT take no place among the clients either.
    let mut clients = Vec::new();
    for number in 0..40 {
        let start = Instant::now();
        clients.push(join(&daemon, Version::V311, &format!("client-{number}")));
        assert!(start.elapsed() < LET_IN_MAX, "{:?}", start.elapsed());
        flood.extend(half_open(&daemon, 10));
    }
    wait_figure(&daemon, "sockets/half_open/dropped", |it| it >= 800);
    // The oldest are gone.
    for stream in &mut flood[..400] {
        let mut end = [0];
        let is_closed = |read: std::io::Result<usize>| read.is_ok_and(|it| it == 0);
        stream
            .set_read_timeout(Some(tests::wait::DEADLINE))
            .unwrap();
        assert!(is_closed(stream.read(&mut end)));
    }
    clients.iter_mut().for_each(WireClient::expect_silence);
}

#[test]
fn without_file_descriptors_clients_stay_connected_and_nothing_spins() {
    let mut daemon = Daemon::start_with_files(256, "mqtt.connect_timeout = 60s");
    let mut reader = join(&daemon, Version::V311, "reader");
    reader.subscribe("live", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "publisher");
    // More than it can accept, but not more than its socket lets wait.
    let flood = half_open(&daemon, 300);
    let complaint = "a connection could not be accepted";
    until("there are no more", || {
        daemon.process().log().contains(complaint)
    });
    let (start, ticks) = (Instant::now(), daemon.process().ticks());
    until_passed(start, 1);
    // Somebody who sends a CONNECT is let in all the same.
    join(&daemon, Version::V311, "new").disconnect().unwrap();
    assert!(start.elapsed() < LET_IN_MAX + Duration::from_secs(1));
    let ran = daemon.process().ticks() - ticks;
    assert!(ran < 30, "it ran for {ran} ticks of 10 ms");
    expect_served(&mut reader, &mut publisher);
    drop(flood);
    let mut late = join(&daemon, Version::V5, "late");
    late.subscribe("live", 0).unwrap();
    expect_served(&mut reader, &mut publisher);
    assert_eq!(late.take().text(), "1");
}

/// Publishes retained messages with QoS 1 to `r/<first digit>/<number>`.
fn retain(publisher: &mut WireClient, numbers: std::ops::Range<u16>, payload: &[u8]) {
    let message = |number: u16| {
        let topic = format!("r/{}/{number}", number % 10);
        Message::new(&topic, payload).qos(1, number + 1).retained()
    };
    let messages: Vec<_> = numbers.map(message).collect();
    for part in messages.chunks(64) {
        let bytes: Vec<_> = part.iter().map(|it| it.encode(Version::V311)).collect();
        publisher.send(&bytes.concat()).unwrap();
        for message in part {
            assert_eq!(publisher.answer(), (PUBACK, message.identifier, 0));
        }
    }
}

#[test]
fn retained_messages_are_limited_in_number_and_in_bytes_and_the_rest_is_counted() {
    let limits = [
        ("retain.max_messages = 1000", 1_000, 1_000),
        ("retain.max_size = 1MiB", 1_000, 1_048),
    ];
    for (limit, least, most) in limits {
        let mut daemon = Daemon::start(&format!("{EVERY_SECOND} {limit}"));
        let mut publisher = join(&daemon, Version::V311, "publisher");
        retain(&mut publisher, 0..1_000, &[b'x'; 1_000]);
        let before = daemon.process().memory();
        retain(&mut publisher, 1_000..5_000, &[b'x'; 1_000]);
        let grown = daemon.process().memory_peak().saturating_sub(before);
        assert!(grown < 8 << 20, "it took {grown} bytes");
        let refused = wait_figure(&daemon, "retained messages/refused", |it| it >= 3_900);
        // Those of the daemon itself are not limited.
        let mut watcher = join(&daemon, Version::V5, "watcher");
        watcher.subscribe("r/#", 0).unwrap();
        let kept = 5_000 - u16::try_from(refused).unwrap();
        assert!((least..=most).contains(&kept), "{kept}");
        let kept: BTreeSet<_> = (0..kept).map(|_| watcher.take().topic).collect();
        watcher.expect_silence();
        assert_eq!(kept.len() as u64 + refused, 5_000);
        assert!(figure(&daemon, "retained messages/count") >= kept.len() as u64);
        // There is room for what is there already, and again when something goes.
        retain(&mut publisher, 0..1, b"y");
        retain(&mut publisher, 1..500, b"");
        retain(&mut publisher, 4_000..4_400, b"z");
        wait_figure(&daemon, "retained messages/refused", |it| it == refused);
    }
}

#[test]
fn many_clients_ask_for_all_retained_messages_and_live_traffic_goes_on() {
    const MESSAGES: u16 = 2_000;
    const CLIENTS: usize = 10;
    let mut daemon = Daemon::start("retain.max_payload_size = 16KiB");
    let mut publisher = join(&daemon, Version::V311, "publisher");
    // For each client more than a socket holds.
    retain(&mut publisher, 0..MESSAGES, &[b'x'; 8_000]);
    let mut reader = join(&daemon, Version::V311, "reader");
    reader.subscribe("live", 1).unwrap();
    let before = daemon.process().memory();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = join(&daemon, Version::V5, &format!("client-{number}"));
            let filter = ["#", "+/+/7", "r/#"][number % 3];
            client.subscribe(filter, 0).unwrap();
            client
        })
        .collect();
    for _ in 0..100 {
        let start = Instant::now();
        expect_served(&mut reader, &mut publisher);
        assert!(start.elapsed() < LET_IN_MAX, "{:?}", start.elapsed());
    }
    let grown = daemon.process().memory_peak().saturating_sub(before);
    assert!(grown < 16 << 20, "it took {grown} bytes");
    for (number, client) in clients.iter_mut().enumerate() {
        let wanted = if number % 3 == 1 { 1 } else { MESSAGES };
        let mut topics = BTreeSet::new();
        while topics.len() < wanted.into() {
            let message = client.hear();
            if message.retain && message.topic.starts_with("r/") {
                assert!(topics.insert(message.topic), "it came twice");
            }
        }
    }
}
