//! What messages cost that come as fast as they are taken, or at a fixed rate.

use std::io;
use std::time::{Duration, Instant};

use tests::contender::{Broker, Contender};

use crate::figure::{Figure, mebibytes, micros_each};
use crate::scenario::Scenario;
use crate::traffic::Traffic;

pub(crate) const CPU: &str = "CPU of the broker, µs for each delivered message";
const RATE: &str = "Delivered messages a second";
const MEMORY: &str = "Resident memory of the broker behind it, MiB";
pub(crate) const PACED_CPU: &str =
    "At a fixed rate: CPU of the broker, µs for each delivered message";
const LATENCY: &str = "At a fixed rate: latency, µs, of 50 / 99 / 99.9 % of the messages";
/// Share of the time that a load lasts before it is measured.
const WARM_UP: f64 = 0.25;
/// How many times longer a load of a fixed rate is, because it has few messages.
const PACED_TIMES: f64 = 2.0;

/// What a load of a broker came to. All its messages have arrived.
pub(crate) struct Cost {
    /// Microseconds of the broker's CPU for each delivered message.
    pub(crate) cpu: f64,
    /// Delivered messages a second.
    pub(crate) rate: f64,
}

pub(crate) fn saturated(
    contender: &Contender,
    scenario: Scenario,
    time: Duration,
) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(scenario.setup())?;
    let cost = load(&broker, scenario, time)?;
    let row = scenario.name();
    Ok(vec![
        Figure::new(CPU, &row, cost.cpu),
        Figure::new(RATE, &row, cost.rate),
        Figure::new(MEMORY, &row, mebibytes(&broker)?),
    ])
}

/// Connects clients, and publishes for so long.
pub(crate) fn load(broker: &Broker, scenario: Scenario, time: Duration) -> io::Result<Cost> {
    let mut traffic = Traffic::connect(broker.port(), scenario)?;
    traffic.run(time.mul_f64(WARM_UP))?;
    measure(broker, &mut traffic, time)
}

pub(crate) fn paced(
    contender: &Contender,
    scenario: Scenario,
    time: Duration,
) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(scenario.setup())?;
    let mut traffic = Traffic::connect(broker.port(), scenario)?;
    traffic.run(time.mul_f64(WARM_UP))?;
    traffic.note_latencies();
    let cost = measure(&broker, &mut traffic, time.mul_f64(PACED_TIMES))?;
    let latencies = traffic.latencies();
    let quantile = |permille: usize| {
        let micros = latencies.get(latencies.len() * permille / 1000);
        micros.map_or(0.0, |it| f64::from(*it) / 1e3)
    };
    let row = scenario.name();
    Ok(vec![
        Figure::new(PACED_CPU, &row, cost.cpu),
        Figure {
            table: LATENCY,
            row,
            values: [500, 990, 999].map(quantile).to_vec(),
        },
    ])
}

fn measure(broker: &Broker, traffic: &mut Traffic, time: Duration) -> io::Result<Cost> {
    let (start, delivered, cpu) = (Instant::now(), traffic.delivered(), broker.cpu()?);
    traffic.run(time)?;
    let after = broker.cpu()?;
    let time = start.elapsed();
    let delivered = traffic.delivered() - delivered;
    traffic.finish()?;
    Ok(Cost {
        cpu: micros_each(cpu, after, delivered),
        rate: delivered as f64 / time.as_secs_f64(),
    })
}
