//! Reading: bytes from the socket, cut into packets.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mqtt::ProtocolViolation;
use mqtt::packet::Frame;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::client::Client;
use crate::memory::{Room, SMALL_BYTES, Waiting};

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// One buffer for each worker thread, so that an idle connection owns none.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// The bytes of a packet that has not come to its end.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    partial: Vec<u8>,
    /// Of a large packet.
    begun: Option<Box<Begun>>,
}

/// A large packet of which something has come.
#[derive(Debug)]
enum Begun {
    /// Its rest may come.
    Room(#[expect(dead_code, reason = "held, and given back when it is dropped")] Room),
    /// No more is read.
    Waiting(Waiting),
}

impl Begun {
    fn with(room: Room, client: &Client) -> Self {
        client.link.note_begun(Some(client.exchange.now()));
        Self::Room(room)
    }
}

impl Inbox {
    /// Begins with bytes that came together with the CONNECT.
    pub(super) const fn new(partial: Vec<u8>) -> Self {
        Self {
            partial,
            begun: None,
        }
    }

    /// True if no packet has begun.
    pub(super) const fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// True if a large packet has begun. It is read to its end although its client reads
    /// nothing, so that others get its room.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Reads once and has every packet handled that is complete then. Returns how many bytes came;
    /// none at the end of the stream. Nothing is read while a large packet waits for room.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
        client: &mut Client,
    ) -> Poll<io::Result<Result<usize, ProtocolViolation>>> {
        ready!(self.poll_room(context, client));
        READ_BUFFER.with_borrow_mut(|buffer| {
            let readable = client.exchange.memory.readable();
            let missing = self.missing(client).unwrap_or(0);
            let bytes_max = READ_BYTES.min(readable.max(missing));
            let mut read = ReadBuf::new(&mut buffer[..bytes_max]);
            ready!(Pin::new(stream).poll_read(context, &mut read))?;
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Ok(0)));
            }
            let outcome = self.take(bytes, client);
            Poll::Ready(Ok(outcome.map(|()| bytes.len())))
        })
    }

    /// Handles the packets that came together with the CONNECT.
    pub(super) fn take_first(&mut self, client: &mut Client) -> Result<(), ProtocolViolation> {
        let first = std::mem::take(&mut self.partial);
        if first.is_empty() {
            return Ok(());
        }
        self.take(&first, client)
    }

    fn take(&mut self, mut bytes: &[u8], client: &mut Client) -> Result<(), ProtocolViolation> {
        while !self.partial.is_empty() {
            let missing = self.missing(client)?;
            let (rest, behind) = bytes.split_at(missing.min(bytes.len()));
            if self.has_begun() {
                self.partial.reserve_exact(missing);
            }
            self.partial.extend_from_slice(rest);
            bytes = behind;
            if self.missing(client)? == 0 {
                let packet = std::mem::take(&mut self.partial);
                client.handle_all(&packet)?;
                if self.begun.take().is_some() {
                    client.link.note_begun(None);
                }
            } else if bytes.is_empty() {
                break;
            }
        }
        if !bytes.is_empty() {
            let used = client.handle_all(bytes)?;
            self.partial = bytes[used..].to_vec();
        }
        self.begin(client);
        Ok(())
    }

    /// How many bytes of the packet that has begun are still to come, as far as is known.
    fn missing(&self, client: &Client) -> Result<usize, ProtocolViolation> {
        let length = Frame::length(&self.partial, client.limits.packet_bytes_max as usize)?;
        Ok(length.map_or(1, |it| it - self.partial.len()))
    }

    /// Asks for room for the packet that has begun, if it is large.
    fn begin(&mut self, client: &Client) {
        let length = Frame::length(&self.partial, client.limits.packet_bytes_max as usize);
        if let Ok(Some(length)) = length
            && length > SMALL_BYTES
            && self.begun.is_none()
        {
            let begun = match client.exchange.memory.begin(length) {
                Ok(room) => Begun::with(room, client),
                Err(waiting) => Begun::Waiting(waiting),
            };
            self.begun = Some(Box::new(begun));
        }
    }

    /// Ready if more may be read.
    fn poll_room(&mut self, context: &mut Context<'_>, client: &Client) -> Poll<()> {
        if let Some(begun) = &mut self.begun
            && let Begun::Waiting(waiting) = &mut **begun
            && let Some(room) = ready!(waiting.poll(context))
        {
            **begun = Begun::with(room, client);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
