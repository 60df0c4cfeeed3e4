//! What subscriptions take, and what they cost the messages of others.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::contender::{Contender, open};
use tests::wire::{Kept, packet};

use crate::OTHERS;
use crate::figure::{Figure, bytes_each};
use crate::scenario::{PAIRS, Scenario, TOPICS, text};
use crate::throughput::load;

/// Subscriptions of one client; as many as Tidegate allows.
const EACH: u64 = 1000;
/// Filters in one SUBSCRIBE.
const FILTERS: u64 = 100;

/// A table with so many subscriptions; and how fast messages are that none of them matches,
/// compared with those through the empty table of another broker.
pub(crate) fn table(
    contender: &Contender,
    count: u64,
    settle: Duration,
    time: Duration,
) -> io::Result<Vec<Figure>> {
    let scenario = Scenario::new(PAIRS, 0, 16);
    let (empty, _) = contender.start(scenario.setup())?;
    let (broker, _) = contender.start(scenario.setup())?;
    let mut clients = Vec::new();
    for number in 0..count / EACH {
        let client_id = format!("holder-{number:04}");
        let (stream, _) = open(broker.port(), &client_id, Kept::Nothing)?;
        clients.push(stream);
    }
    thread::sleep(settle);
    let before = broker.usage()?;
    let start = Instant::now();
    for (place, stream) in (0..).zip(&mut clients) {
        let mut requests = Vec::new();
        for from in (place * EACH..(place + 1) * EACH).step_by(FILTERS as usize) {
            requests.extend(request((from..from + FILTERS).map(filter)));
        }
        stream.write_all(&requests)?;
        for _ in 0..EACH / FILTERS {
            take_answers(stream, FILTERS)?;
        }
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    thread::sleep(settle);
    let bytes = bytes_each(before, broker.usage()?, count);
    let figure =
        |name: &str, value| Figure::new(OTHERS, format!("{count} subscriptions: {name}"), value);
    let mut figures = vec![figure("bytes each", bytes), figure("made a second", rate)];
    for topics in [1, TOPICS] {
        let scenario = Scenario { topics, ..scenario };
        let none = load(&empty, scenario, time)?;
        let all = load(&broker, scenario, time)?;
        let name = |what: &str| {
            format!("{what} of 100 publishers with {topics} topics each, times that with none")
        };
        figures.push(figure(&name("messages a second"), all.rate / none.rate));
        figures.push(figure(&name("CPU for each message"), all.cpu / none.cpu));
    }
    Ok(figures)
}

/// Of ten one has a `+`, of a thousand one a `#`. They stand beside the topics of the traffic, so
/// that these are looked for among them.
fn filter(number: u64) -> String {
    let device = number / 1000;
    match (number % 1000, number % 10) {
        (0, _) => format!("bench/{device:04}/{number:07}/#"),
        (_, 1) => format!("bench/+/{number:07}/value"),
        _ => format!("bench/{device:04}/{number:07}/value"),
    }
}

/// A SUBSCRIBE with QoS 0.
pub(crate) fn request(filters: impl Iterator<Item = String>) -> Vec<u8> {
    let mut body = vec![0, 1];
    for filter in filters {
        body.extend(text(&filter));
        body.push(0);
    }
    packet(0x82, &body)
}

/// Takes the SUBACK for so many filters, at most 125, which must be granted.
pub(crate) fn take_answers(stream: &mut TcpStream, filters: u64) -> io::Result<()> {
    let mut answer = vec![0; 4 + usize::try_from(filters).unwrap_or(0)];
    stream.read_exact(&mut answer)?;
    match &answer[..] {
        [0x90, _, 0, 1, codes @ ..] if codes.iter().all(|code| *code == 0) => Ok(()),
        _ => Err(io::Error::other(format!("not granted: {answer:?}"))),
    }
}
