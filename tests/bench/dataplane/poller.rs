//! Waiting for many sockets at once.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Sockets that one wait tells of.
const EVENTS_MAX: usize = 512;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// A socket that can be read or written.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    /// What it was added with.
    pub(crate) key: usize,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Tells of a socket when it can be read.
    pub(crate) fn add(&self, socket: impl AsFd, key: usize) -> io::Result<()> {
        let data = EventData::new_u64(key as u64);
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Whether to tell also when it can be written.
    pub(crate) fn watch_writes(
        &self,
        socket: &TcpStream,
        key: usize,
        watched: bool,
    ) -> io::Result<()> {
        let data = EventData::new_u64(key as u64);
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, watched);
        Ok(epoll::modify(&self.epoll, socket, data, flags)?)
    }

    /// Waits at most so long; true unless nothing came.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.events.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(count) => Ok(count > 0),
        }
    }

    /// How many sockets the last wait told of.
    pub(crate) fn count(&self) -> usize {
        self.events.len()
    }

    /// One of them.
    pub(crate) fn ready(&self, place: usize) -> Ready {
        let event = self.events[place];
        let ends = EventFlags::HUP | EventFlags::ERR;
        // What a packed structure has is copied before it is used.
        let (flags, data) = (event.flags, event.data);
        Ready {
            key: usize::try_from(data.u64()).unwrap_or(usize::MAX),
            is_readable: flags.intersects(EventFlags::IN | ends),
            is_writable: flags.contains(EventFlags::OUT),
        }
    }
}
