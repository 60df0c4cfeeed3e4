//! The limit: a program that copies what each publisher writes to its subscribers, and knows no
//! more of MQTT than where a packet ends. One thread; QoS 0 of MQTT 3.1.1 only. Each read is
//! written at once.
//!
//! Where a publisher's packets go is found once, with the first of them.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::time::Duration;

use crate::frame::{Frame, take};
use crate::peer::{Buffer, Peer};
use crate::poller::Poller;

/// The key of the listening socket.
const LISTENER: usize = 0;
/// How long it waits at most; it has nothing to do in between.
const WAIT: Duration = Duration::from_secs(60);

/// Serves a port until the process is killed.
pub(crate) fn run(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poller = Poller::new()?;
    poller.add(&listener, LISTENER)?;
    let mut relay = Relay {
        // The first key is the listener's.
        clients: vec![None],
        filters: Vec::new(),
        poller,
    };
    let mut buffer = Buffer::new();
    loop {
        relay.poller.wait(WAIT)?;
        for place in 0..relay.poller.count() {
            let ready = relay.poller.ready(place);
            if ready.key == LISTENER {
                while let Some(stream) = accept(&listener)? {
                    let peer = Peer::new(stream, relay.clients.len(), &relay.poller)?;
                    relay.clients.push(Some(Client {
                        peer,
                        targets: None,
                    }));
                }
                continue;
            }
            if ready.is_writable {
                relay.flush(ready.key);
            }
            if ready.is_readable && relay.read(ready.key, &mut buffer).is_err() {
                relay.forget(ready.key);
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<std::net::TcpStream>> {
    match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
        Ok((stream, _)) => Ok(Some(stream)),
    }
}

struct Relay {
    /// By key; none where one has ended.
    clients: Vec<Option<Client>>,
    /// Each with the client that has it.
    filters: Vec<(String, usize)>,
    poller: Poller,
}

struct Client {
    peer: Peer,
    /// Where its packets go, once it has published.
    targets: Option<Vec<usize>>,
}

impl Relay {
    fn read(&mut self, key: usize, buffer: &mut Buffer) -> io::Result<()> {
        let Some(mut client) = self.clients[key].take() else {
            return Ok(());
        };
        let Client { peer, targets } = &mut client;
        let read = peer.read(buffer, |bytes, output| {
            let end = take(bytes, |_| Ok(()))?;
            let mut copied = 0;
            while targets.is_none() {
                let Some((frame, length)) = Frame::first(&bytes[copied..end]) else {
                    return Ok(end);
                };
                *targets = answer(frame, key, &mut self.filters, output)?;
                if targets.is_none() {
                    copied += length;
                }
            }
            for target in targets.iter().flatten() {
                if let Some(client) = &mut self.clients[*target] {
                    client.peer.output.extend_from_slice(&bytes[copied..end]);
                    self.flush(*target);
                }
            }
            Ok(end)
        });
        self.clients[key] = Some(client);
        self.flush(key);
        read
    }

    fn flush(&mut self, key: usize) {
        if let Some(client) = &mut self.clients[key] {
            // That it has ended is seen when it is read.
            client.peer.flush(&self.poller).ok();
        }
    }

    fn forget(&mut self, key: usize) {
        self.clients[key] = None;
        self.filters.retain(|(_, client)| *client != key);
    }
}

/// Answers CONNECT and SUBSCRIBE; for the first PUBLISH it returns where that goes. DISCONNECT is
/// the end, as an error.
fn answer(
    frame: Frame<'_>,
    key: usize,
    filters: &mut Vec<(String, usize)>,
    output: &mut Vec<u8>,
) -> io::Result<Option<Vec<usize>>> {
    let text = |at: usize| {
        let length = usize::from(frame.number(at).unwrap_or(0));
        let bytes = frame.body.get(at + 2..at + 2 + length).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    match frame.kind() {
        1 => output.extend([0x20, 2, 0, 0]),
        3 => {
            let topic = text(0);
            let found = filters.iter().filter(|(filter, _)| {
                let prefix = filter.strip_suffix('+');
                *filter == topic || prefix.is_some_and(|prefix| topic.starts_with(prefix))
            });
            return Ok(Some(found.map(|(_, client)| *client).collect()));
        }
        8 => {
            let [high, low] = frame.number(0).unwrap_or(0).to_be_bytes();
            filters.push((text(2), key));
            output.extend([0x90, 3, high, low, 0]);
        }
        14 => return Err(ErrorKind::UnexpectedEof.into()),
        kind => return Err(io::Error::other(format!("no packet of type {kind}"))),
    }
    Ok(None)
}
