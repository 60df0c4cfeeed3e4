//! What it costs that clients come and go.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::contender::{Contender, Setup};
use tests::wait::DEADLINE;
use tests::wire::{Kept, Version, connect};

use crate::OTHERS;
use crate::figure::{Figure, micros_each};

/// Clients that are there at the same time.
const TOGETHER: u64 = 50;

const SETUP: Setup<'_> = Setup {
    tidegate: "",
    mosquitto: "persistence false",
};

/// Clients that connect and disconnect, for so long.
pub(crate) fn measure(contender: &Contender, time: Duration) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(SETUP)?;
    turn(broker.port(), 0)?;
    let (start, cpu) = (Instant::now(), broker.cpu()?);
    let mut count = 0;
    while start.elapsed() < time {
        turn(broker.port(), count)?;
        count += TOGETHER;
    }
    let cpu = micros_each(cpu, broker.cpu()?, count);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let figure = |name: &str, value| Figure::new(OTHERS, format!("churn: {name}"), value);
    Ok(vec![
        figure("CPU, µs for each connection and its end", cpu),
        figure("connections a second", rate),
    ])
}

/// Some connect, and then disconnect.
fn turn(port: u16, from: u64) -> io::Result<()> {
    let mut streams = Vec::new();
    for number in from..from + TOGETHER {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let client_id = format!("visitor-{number:07}");
        stream.write_all(&connect(Version::V311, &client_id, Kept::Nothing))?;
        streams.push(stream);
    }
    for stream in &mut streams {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        if answer != [0x20, 2, 0, 0] {
            return Err(io::Error::other(format!("refused with {answer:?}")));
        }
        stream.write_all(&[0xe0, 0])?;
    }
    for stream in &mut streams {
        if stream.read(&mut [0])? > 0 {
            return Err(io::Error::other("something came behind DISCONNECT"));
        }
    }
    Ok(())
}
