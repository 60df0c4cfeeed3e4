//! A socket of the load or of the relay, which is never waited for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::poller::Poller;

/// Bytes that one read takes at most, beside the beginning of a packet that came before.
const READ_BYTES: usize = 256 << 10;

/// Where all sockets are read into, one after the other.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; READ_BYTES])
    }
}

pub(crate) struct Peer {
    stream: TcpStream,
    key: usize,
    /// The beginning of a packet.
    tail: Vec<u8>,
    /// What [`Peer::flush`] writes.
    pub(crate) output: Vec<u8>,
    written: usize,
    is_blocked: bool,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, key: usize, poller: &Poller) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poller.add(&stream, key)?;
        Ok(Self {
            stream,
            key,
            tail: Vec::new(),
            output: Vec::new(),
            written: 0,
            is_blocked: false,
        })
    }

    /// Reads once. `take` gets what came and is to say how much of it was whole packets; what it
    /// appends is the output.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Buffer,
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let kept = self.tail.len();
        let Buffer(buffer) = buffer;
        if buffer.len() < kept + READ_BYTES {
            buffer.resize(kept + READ_BYTES, 0);
        }
        let count = match self.stream.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            count => count?,
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer[..kept].copy_from_slice(&self.tail);
        let bytes = &buffer[..kept + count];
        let used = take(bytes, &mut self.output)?;
        self.tail.clear();
        self.tail.extend_from_slice(&bytes[used..]);
        Ok(())
    }

    /// Writes what is possible now.
    pub(crate) fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.block(poller, true);
                }
                count => self.written += count?,
            }
        }
        self.output.clear();
        self.written = 0;
        self.block(poller, false)
    }

    /// Whether the broker does not read what was written to it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    fn block(&mut self, poller: &Poller, blocked: bool) -> io::Result<()> {
        if self.is_blocked != blocked {
            self.is_blocked = blocked;
            poller.watch_writes(&self.stream, self.key, blocked)?;
        }
        Ok(())
    }
}
