//! What waits for a client that is away, and how fast it gets it.

use std::io;
use std::time::Duration;

use tests::contender::{Contender, Setup};

use crate::OTHERS;
use crate::figure::{Figure, bytes_each, micros_each};
use crate::load::{Load, drain, leave_session, publish};

const SETUP: Setup<'_> = Setup {
    tidegate: "",
    mosquitto: "persistence true\npersistence_location {folder}/",
};

/// Queues so many messages of QoS 1 for one session, and takes them out.
pub(crate) fn measure(contender: &Contender, count: u64) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(SETUP)?;
    let (session, filter) = ("session-0", "bench/+");
    leave_session(broker.port(), session, filter)?;
    let before = broker.usage()?;
    let load = Load {
        messages: count,
        publishers: 10,
        topics: 100,
    };
    let queueing = publish(broker.port(), load)?;
    let queued = broker.usage()?;
    let drained = drain(broker.port(), Some(broker.port()), session, filter)?;
    let cpu = broker.cpu()?;
    if drained.messages != count || drained.displaced > 0 {
        return Err(io::Error::other(format!(
            "{} messages came, {} of them out of order",
            drained.messages, drained.displaced
        )));
    }
    let figure =
        |name: &str, value| Figure::new(OTHERS, format!("{count} queued offline: {name}"), value);
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    Ok(vec![
        figure("messages a second in", rate(queueing)),
        figure(
            "CPU in, µs each",
            micros_each(before.cpu, queued.cpu, count),
        ),
        figure("memory for each, bytes", bytes_each(before, queued, count)),
        figure("messages a second out", rate(drained.time)),
        figure("CPU out, µs each", micros_each(queued.cpu, cpu, count)),
    ])
}
