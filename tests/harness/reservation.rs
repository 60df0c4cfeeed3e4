//! Ports and DDS domains that nobody else uses, in this process or another.
//!
//! A number is reserved by a Unix socket of that name in the abstract namespace (unix(7)), which the
//! system gives up with the process; all users and checkouts that share the ports share it too. The
//! ports are below those that the system hands out for outgoing connections, so that a daemon finds
//! its port free again after a restart.

use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;

const PORTS: RangeInclusive<u16> = 20_000..=31_999;
const DOMAINS: RangeInclusive<u16> = 1..=100;

static LOCKS: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A TCP port of the loopback interface.
#[must_use]
pub fn port() -> u16 {
    reserve("port", PORTS, is_free)
}

/// A DDS domain.
#[must_use]
pub fn domain() -> u16 {
    reserve("domain", DOMAINS, |_| true)
}

/// Whether this port could be reserved.
#[must_use]
pub fn has_port(port: u16) -> bool {
    try_reserve("port", port, is_free)
}

/// Whether nobody listens there. It is not tried by listening: until a process that another thread
/// starts at that moment has become its program, it has the listener too, and clients are let in.
fn is_free(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

/// Reserves the first number that is free, until the process ends.
fn reserve(kind: &str, mut numbers: RangeInclusive<u16>, is_free: impl Fn(u16) -> bool) -> u16 {
    let found = numbers.find(|number| try_reserve(kind, *number, &is_free));
    found.unwrap_or_else(|| panic!("every {kind} is in use"))
}

fn try_reserve(kind: &str, number: u16, is_free: impl Fn(u16) -> bool) -> bool {
    let name = format!("tidegate-tests/{kind}-{number}");
    let address = SocketAddr::from_abstract_name(name).expect("a short name");
    let Ok(socket) = UnixDatagram::bind_addr(&address) else {
        return false;
    };
    let is_reserved = is_free(number);
    if is_reserved {
        LOCKS.lock().expect("no test panics here").push(socket);
    }
    is_reserved
}
