//! Why a client is gone.

use std::io;

use mqtt::{ProtocolViolation, ReasonCode};
use rustix::io::Errno;

use super::open_files;
use crate::cli::words;

/// What ended a connection, or kept it from beginning.
#[derive(Debug)]
pub(super) enum Fault {
    System(io::Error),
    /// The broker did not answer in time.
    Silence,
    /// The CONNACK says no.
    Refused(ReasonCode),
    /// The SUBACK says no.
    SubscriptionRefused(ReasonCode),
    /// The broker ended the connection with a DISCONNECT.
    Ended(ReasonCode),
    /// The broker ended the connection without a word.
    Closed,
    /// The broker broke a rule.
    Violation(ProtocolViolation),
    /// The broker sent a packet that has no place here.
    Unexpected(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<ProtocolViolation> for Fault {
    fn from(violation: ProtocolViolation) -> Self {
        Self::Violation(violation)
    }
}

impl Fault {
    /// What happened, and what can be done about it if that is known.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::System(error) => match Errno::from_io_error(error) {
                Some(Errno::MFILE) => format!(
                    "too many open files: this process may have {}; raise it with `ulimit -n`",
                    open_files::limit()
                ),
                Some(Errno::ADDRNOTAVAIL) => "no local port is free: wait until closed \
                     connections are gone, or widen net.ipv4.ip_local_port_range"
                    .to_owned(),
                Some(_) | None => error.to_string(),
            },
            Self::Silence => "no answer in time".to_owned(),
            Self::Refused(reason) => {
                format!("the broker refuses the connection: {}", words(reason))
            }
            Self::SubscriptionRefused(reason) => {
                format!("the subscription was refused: {}", words(reason))
            }
            Self::Ended(reason) => format!("the broker ended the connection: {}", words(reason)),
            Self::Closed => "the broker closed the connection".to_owned(),
            Self::Violation(violation) => format!("the broker broke a rule: {violation}"),
            Self::Unexpected(packet) => format!("the broker sent {packet} at a wrong time"),
        }
    }
}
