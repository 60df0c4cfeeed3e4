//! What a broker takes that has nothing to do.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use tests::contender::{Contender, Setup, open};
use tests::wire::Kept;

use crate::OTHERS;
use crate::figure::{Figure, bytes_each, mebibytes};
use crate::subscription::{request, take_answers};

/// How long a broker is looked at that nobody is connected to.
const WATCH: Duration = Duration::from_secs(5);
/// Until it has settled after its start.
const START: Duration = Duration::from_secs(2);

const SETUP: Setup<'_> = Setup {
    tidegate: "listeners.tcp.default.max_connections = 20000",
    mosquitto: "persistence false",
};

/// A broker without clients.
pub(crate) fn daemon(contender: &Contender) -> io::Result<Vec<Figure>> {
    let (broker, ready) = contender.start(Setup {
        tidegate: "",
        mosquitto: "persistence false",
    })?;
    thread::sleep(START);
    let memory = mebibytes(&broker)?;
    let (switches, cpu) = (broker.switches()?, broker.cpu()?);
    thread::sleep(WATCH);
    let switches = (broker.switches()? - switches) as f64 / WATCH.as_secs_f64();
    let cpu = broker.cpu()?.saturating_sub(cpu).as_secs_f64() / WATCH.as_secs_f64();
    let figure = |name: &str, value| Figure::new(OTHERS, format!("idle daemon: {name}"), value);
    Ok(vec![
        figure("resident memory, MiB", memory),
        figure(
            "ms from exec to the first CONNACK",
            ready.as_secs_f64() * 1e3,
        ),
        figure("wake-ups a second", switches),
        figure("CPU, µs a second", cpu * 1e6),
    ])
}

/// Clients that have connected, and subscribed to so many topics of their own.
pub(crate) fn connections(
    contender: &Contender,
    count: u64,
    subscriptions: u64,
    settle: Duration,
) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(SETUP)?;
    thread::sleep(START);
    let before = broker.usage()?;
    let mut clients = Vec::new();
    for number in 0..count {
        let client_id = format!("device-{number:05}");
        let (mut stream, _) = open(broker.port(), &client_id, Kept::Nothing)?;
        if subscriptions > 0 {
            let filters = (0..subscriptions).map(|it| format!("fleet/{client_id}/command/{it}"));
            stream.write_all(&request(filters))?;
            take_answers(&mut stream, subscriptions)?;
        }
        clients.push(stream);
    }
    thread::sleep(settle);
    let bytes = bytes_each(before, broker.usage()?, count);
    // Whether they are still there.
    for stream in &mut clients {
        stream.write_all(&[0xc0, 0])?;
    }
    for stream in &mut clients {
        stream.read_exact(&mut [0; 2])?;
    }
    let name = match subscriptions {
        0 => format!("{count} idle connections: bytes each"),
        _ => format!("{count} idle connections with {subscriptions} subscriptions: bytes each"),
    };
    Ok(vec![Figure::new(OTHERS, name, bytes)])
}
