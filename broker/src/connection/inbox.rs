//! Reading: bytes from the socket, cut into packets.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mqtt::ProtocolViolation;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

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
}

impl Inbox {
    /// Begins with bytes that came together with the CONNECT.
    pub(super) const fn new(partial: Vec<u8>) -> Self {
        Self { partial }
    }

    /// True if no packet has begun.
    pub(super) const fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Reads once and has every packet handled that is complete then. Returns how many bytes came;
    /// none at the end of the stream.
    ///
    /// `handle_all` is given what has not been handled, and returns how much of it now is.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
        handle_all: impl FnMut(&[u8]) -> Result<usize, ProtocolViolation>,
    ) -> Poll<io::Result<Result<usize, ProtocolViolation>>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(stream).poll_read(context, &mut read))?;
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Ok(0)));
            }
            let outcome = self.take(bytes, handle_all);
            Poll::Ready(Ok(outcome.map(|()| bytes.len())))
        })
    }

    /// Handles the packets that came together with the CONNECT.
    pub(super) fn take_first(
        &mut self,
        handle_all: impl FnMut(&[u8]) -> Result<usize, ProtocolViolation>,
    ) -> Result<(), ProtocolViolation> {
        if self.partial.is_empty() {
            return Ok(());
        }
        self.take(&[], handle_all)
    }

    fn take(
        &mut self,
        bytes: &[u8],
        mut handle_all: impl FnMut(&[u8]) -> Result<usize, ProtocolViolation>,
    ) -> Result<(), ProtocolViolation> {
        if self.partial.is_empty() {
            let used = handle_all(bytes)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let used = handle_all(&whole)?;
        whole.drain(..used);
        // The space goes with the last packet that needed it.
        if !whole.is_empty() {
            self.partial = whole;
        }
        Ok(())
    }
}
