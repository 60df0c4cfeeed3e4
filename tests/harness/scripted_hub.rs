//! A hub that does what its test says, byte by byte.

use std::io::ErrorKind;
use std::net::TcpListener;

use crate::wait::until;
use crate::wire::{Version, WireClient};

/// A port that a bridge connects to.
#[derive(Debug)]
pub struct ScriptedHub {
    listener: TcpListener,
    port: u16,
}

/// A connection of a bridge that waits for CONNACK.
#[derive(Debug)]
pub struct Caller {
    /// What the hub sends and sees.
    pub wire: WireClient,
    /// The Protocol Level, of which the highest bit is the bridge bit.
    pub level: u8,
}

impl ScriptedHub {
    /// Listens.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("an option");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Drops the connections of a bridge that is no more and has not been answered. True if there
    /// were any.
    ///
    /// # Panics
    /// The listener fails.
    pub fn drop_waiting(&self) -> bool {
        let mut were_any = false;
        loop {
            match self.listener.accept() {
                Ok(_) => were_any = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return were_any,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next connection, once its CONNECT has come.
    ///
    /// # Panics
    /// There is none in time, or something else comes.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Caller {
        let mut accepted = None;
        until("the bridge connects", || {
            match self.listener.accept() {
                Ok((stream, _)) => accepted = Some(stream),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            accepted.is_some()
        });
        let stream = accepted.expect("a connection");
        stream.set_nonblocking(false).expect("an option");
        let mut wire = WireClient::over(stream, Version::V5).expect("a connection");
        let connect = wire.expect(0x10).expect("a CONNECT");
        let [_, length, rest @ ..] = connect.body.as_slice() else {
            panic!("no CONNECT: {connect:?}");
        };
        let level = rest[usize::from(*length)];
        Caller { wire, level }
    }
}

impl Caller {
    /// Accepts it, without a session and with the defaults of its version.
    ///
    /// # Panics
    /// It has gone.
    #[must_use]
    #[track_caller]
    pub fn accept(self) -> WireClient {
        self.answer(false)
    }

    /// Accepts it, and says that there is a session.
    ///
    /// # Panics
    /// It has gone.
    #[must_use]
    #[track_caller]
    pub fn resume(self) -> WireClient {
        self.answer(true)
    }

    #[track_caller]
    fn answer(mut self, is_present: bool) -> WireClient {
        let connack: &[u8] = match self.level {
            5 => &[0x20, 3, is_present.into(), 0, 0],
            _ => &[0x20, 2, is_present.into(), 0],
        };
        self.wire.send(connack).expect("an open connection");
        self.wire
    }
}
