//! Writing: acknowledgements in the order of their messages, then deliveries, coalesced.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use mqtt::ReasonCode;
use mqtt::connection::{PendingAck, ServerConnection};
use persistence::{Position, Store};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Unsent bytes above which nothing more is taken from the session.
const FILL_BYTES: usize = 64 << 10;
/// Unsent bytes above which the connection is not read: its client does not read either.
const STALL_BYTES: usize = 256 << 10;

/// An answer without a reason.
const ANSWER_BYTES: usize = 4;

/// What is to be written, and the answers that wait for the store.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes that went to the socket and are not counted yet.
    uncounted: u64,
    replies: VecDeque<(Position, Reply)>,
    /// The store wakes the task at this position.
    awaited: Position,
}

/// An answer that may leave once a position of the store is durable.
#[derive(Debug)]
pub(super) enum Reply {
    /// To a PUBLISH or PUBREL.
    Ack(PendingAck),
    /// An encoded SUBACK or UNSUBACK.
    Encoded(Vec<u8>),
}

impl Reply {
    /// Makes it say that the message is not stored, if that can be said. A message of QoS 1 may
    /// still be delivered when the store can be written again, and again when its publisher
    /// repeats it; one of QoS 2 may not, so its publisher has to wait for the answer.
    const fn refuse(&mut self) -> bool {
        if let Self::Ack(ack) = self
            && ack.is_puback()
        {
            *ack = ack.with_reason(ReasonCode::QuotaExceeded);
            return true;
        }
        false
    }
}

impl Outbox {
    /// The buffer to encode into.
    pub(super) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes room for so many short answers.
    pub(super) fn make_room(&mut self, answers: usize) {
        self.bytes.reserve(answers * ANSWER_BYTES);
    }

    /// True while there is room for more deliveries, of which so many bytes may be in memory.
    pub(super) fn wants_more(&self, share: usize) -> bool {
        let unwritten = self.unwritten().len();
        unwritten == 0 || unwritten < FILL_BYTES.min(share)
    }

    /// True while the client reads so slowly that its own packets are left waiting.
    pub(super) const fn is_stalled(&self) -> bool {
        self.bytes.len() - self.written > STALL_BYTES
    }

    /// Queues an answer; it leaves after those queued before it.
    pub(super) fn reply(&mut self, position: Position, reply: Reply) {
        self.replies.push_back((position, reply));
    }

    /// True if nothing is to be written and no answer waits.
    pub(super) fn is_empty(&self) -> bool {
        self.unwritten().is_empty() && self.replies.is_empty()
    }

    /// What the last answer waits for.
    #[cfg(test)]
    pub(super) fn last_position(&self) -> Option<Position> {
        self.replies.back().map(|(position, _)| *position)
    }

    /// Answers that wait.
    pub(super) fn waiting(&self) -> usize {
        self.replies.len()
    }

    /// Encodes every answer whose turn has come; the task is woken for the next one. Returns how
    /// many there were.
    pub(super) fn release(
        &mut self,
        connection: &mut ServerConnection,
        store: &Store,
        context: &mut Context<'_>,
    ) -> u64 {
        let mut released = 0;
        let refuses = store.is_failing() && connection.version().is_v5();
        while let Some((position, reply)) = self.replies.front_mut() {
            if store.durable() < *position && !(refuses && reply.refuse()) {
                let asked = self.awaited == *position;
                self.awaited = *position;
                if asked || store.poll_durable(*position, context).is_pending() {
                    break;
                }
            }
            match self.replies.pop_front() {
                Some((_, Reply::Ack(ack))) => connection.encode_ack(ack, &mut self.bytes),
                Some((_, Reply::Encoded(packet))) => self.bytes.extend_from_slice(&packet),
                None => break,
            }
            released += 1;
        }
        released
    }

    /// Writes until everything is written or the socket is full.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            let Poll::Ready(count) = Pin::new(&mut *stream).poll_write(context, rest)? else {
                self.compact();
                return Poll::Pending;
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.uncounted += count as u64;
        }
        // An idle connection keeps no buffer.
        self.bytes = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Gives up what is written: a client that is always behind never has everything. What is not
    /// moves once for as many bytes as it has.
    fn compact(&mut self) {
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Bytes that were written since the last call.
    pub(super) const fn take_written(&mut self) -> u64 {
        std::mem::replace(&mut self.uncounted, 0)
    }

    /// What is left to write.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncRead, ReadBuf};
    use tokio::net::TcpSocket;

    use super::*;

    fn fill(outbox: &mut Outbox) {
        while outbox.wants_more(usize::MAX) {
            outbox.bytes().extend_from_slice(&[7; 4_000]);
        }
    }

    #[tokio::test]
    async fn a_client_that_is_always_behind_costs_no_more_than_what_it_has_not_read() {
        const BUFFER_BYTES: u32 = 8 << 10;
        let listening = TcpSocket::new_v4().unwrap();
        listening.set_send_buffer_size(BUFFER_BYTES).unwrap();
        listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listening = listening.listen(1).unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(BUFFER_BYTES).unwrap();
        let client = client.connect(listening.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listening.accept());
        let (mut client, (mut stream, _)) = (client.unwrap(), accepted.unwrap());
        let mut outbox = Outbox::default();
        let mut bytes = [0; 4_000];
        for _ in 0..1_000 {
            let some = poll_fn(|context| {
                fill(&mut outbox);
                let written = outbox.poll_write(&mut stream, context);
                assert!(written.is_pending(), "it is not behind");
                let mut read = ReadBuf::new(&mut bytes);
                Pin::new(&mut client).poll_read(context, &mut read)
            });
            some.await.unwrap();
        }
        let capacity = outbox.bytes.capacity();
        assert!(capacity < 5 * FILL_BYTES, "{capacity}");
    }
}
