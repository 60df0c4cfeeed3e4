//! The transport of one client: bytes to a broker and back. What is not plain TCP would be here.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::fault::Fault;

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// One buffer for each worker, so that an idle client owns none.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// The bytes of a packet that has not come to its end.
    partial: Vec<u8>,
    /// What is to be sent; the bytes before `written` are.
    output: Vec<u8>,
    written: usize,
}

impl Connection {
    /// Connects to the first of these addresses that takes it.
    pub(super) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            partial: Vec::new(),
            output: Vec::new(),
            written: 0,
        })
    }

    /// Where packets are put that are to be sent.
    pub(super) const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Reads once. `take` is given all bytes that are there and where to put answers; it returns
    /// how many bytes it has used.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<usize, Fault>,
    ) -> Poll<Result<(), Fault>> {
        let Self {
            stream,
            partial,
            output,
            ..
        } = self;
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(stream).poll_read(context, &mut read))?;
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(Fault::Closed));
            }
            if partial.is_empty() {
                let used = take(bytes, output)?;
                partial.extend_from_slice(&bytes[used..]);
            } else {
                partial.extend_from_slice(bytes);
                let used = take(partial, output)?;
                partial.drain(..used);
                if partial.is_empty() {
                    *partial = Vec::new();
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Sends what is there; ready when all of it is.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends what is there and awaits that the broker closes the connection.
    pub(super) async fn close(mut self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_flush(context)).await?;
        self.stream.shutdown().await?;
        let mut ignored = vec![0; READ_BYTES];
        while self.stream.read(&mut ignored).await? > 0 {}
        Ok(())
    }
}
