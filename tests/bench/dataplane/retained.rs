//! What retained messages take, and how fast they come to a new subscriber.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::contender::{Contender, Setup, open};
use tests::wire::{Kept, packet};

use crate::OTHERS;
use crate::figure::{Figure, bytes_each, micros_each};
use crate::frame::Frame;
use crate::scenario::text;
use crate::subscription::{request, take_answers};

/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 64;
/// Unacknowledged messages.
const WINDOW: u64 = 500;
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

const SETUP: Setup<'_> = Setup {
    tidegate: "",
    mosquitto: "persistence false",
};

/// Retains so many, and subscribes to them.
pub(crate) fn measure(
    contender: &Contender,
    count: u64,
    settle: Duration,
) -> io::Result<Vec<Figure>> {
    let (broker, _) = contender.start(SETUP)?;
    let (mut publisher, _) = open(broker.port(), "publisher", Kept::Nothing)?;
    thread::sleep(settle);
    let before = broker.usage()?;
    for from in (0..count).step_by(WINDOW as usize) {
        publish(&mut publisher, from..count.min(from + WINDOW))?;
    }
    thread::sleep(settle);
    let usage = broker.usage()?;
    let bytes = bytes_each(before, usage, count) - PAYLOAD_BYTES as f64;
    let start = Instant::now();
    let (mut subscriber, _) = open(broker.port(), "subscriber", Kept::Nothing)?;
    subscriber.write_all(&request(["#".to_owned()].into_iter()))?;
    take_answers(&mut subscriber, 1)?;
    replay(&mut subscriber, count)?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let cpu = micros_each(usage.cpu, broker.cpu()?, count);
    let figure = |name: &str, value| {
        Figure::new(OTHERS, format!("{count} retained messages: {name}"), value)
    };
    Ok(vec![
        figure("bytes each without their payload", bytes),
        figure("messages a second to a new subscriber", rate),
        figure("CPU, µs for each of these", cpu),
    ])
}

fn publish(stream: &mut TcpStream, numbers: std::ops::Range<u64>) -> io::Result<()> {
    let mut output = Vec::new();
    let count = numbers.end - numbers.start;
    for number in numbers {
        let mut body = text(&format!("fleet/{number:06}/state"));
        let identifier = u16::try_from(number % WINDOW + 1).unwrap_or(1);
        body.extend(identifier.to_be_bytes());
        body.extend([b'x'; PAYLOAD_BYTES]);
        output.extend(packet(0x33, &body));
    }
    stream.write_all(&output)?;
    let mut answers = vec![0; 4 * usize::try_from(count).unwrap_or(0)];
    stream.read_exact(&mut answers)?;
    if answers.chunks(4).any(|it| !it.starts_with(&[0x40, 2])) {
        return Err(io::Error::other("PUBACK expected"));
    }
    Ok(())
}

/// Takes so many retained messages.
fn replay(stream: &mut TcpStream, count: u64) -> io::Result<()> {
    let mut input = vec![0; 2 * READ_BYTES];
    let (mut kept, mut taken) = (0, 0);
    while taken < count {
        let read = stream.read(&mut input[kept..kept + READ_BYTES]);
        let end = kept + read.map_err(|error| missing(&error, taken))?;
        if end == kept {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut used = 0;
        while let Some((frame, length)) = Frame::first(&input[used..end]) {
            if frame.head != 0x31 {
                return Err(io::Error::other(format!("{:#x} came", frame.head)));
            }
            used += length;
            taken += 1;
        }
        input.copy_within(used..end, 0);
        kept = end - used;
    }
    Ok(())
}

fn missing(error: &io::Error, taken: u64) -> io::Error {
    io::Error::new(error.kind(), format!("only {taken} came: {error}"))
}
