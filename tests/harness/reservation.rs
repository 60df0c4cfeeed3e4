//! Ports and DDS domains that nobody else uses, in this process or another.
//!
//! A number is reserved by a lock on a file of that name, which the system gives up with the
//! process. The ports are below those that the system hands out for outgoing connections, so that
//! a daemon finds its port free again after a restart.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::Mutex;

const PORTS: RangeInclusive<u16> = 20_000..=31_999;
const DOMAINS: RangeInclusive<u16> = 1..=100;

static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A TCP port of the loopback interface.
#[must_use]
pub fn port() -> u16 {
    reserve("port", PORTS, |port| {
        TcpListener::bind(("127.0.0.1", port)).is_ok()
    })
}

/// A DDS domain.
#[must_use]
pub fn domain() -> u16 {
    reserve("domain", DOMAINS, |_| true)
}

/// Whether this port could be reserved.
#[must_use]
pub fn has_port(port: u16) -> bool {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    try_reserve("port", port, is_free)
}

/// Reserves the first number that is free, until the process ends.
fn reserve(kind: &str, mut numbers: RangeInclusive<u16>, is_free: impl Fn(u16) -> bool) -> u16 {
    let found = numbers.find(|number| try_reserve(kind, *number, &is_free));
    found.unwrap_or_else(|| panic!("every {kind} is in use"))
}

fn try_reserve(kind: &str, number: u16, is_free: impl Fn(u16) -> bool) -> bool {
    let user = std::env::var("USER").unwrap_or_default();
    let folder = std::env::temp_dir().join(format!("tidegate-tests-{user}"));
    fs::create_dir_all(&folder).expect("a folder for locks");
    let path = folder.join(format!("{kind}-{number}"));
    let file = File::create(path).expect("a lock file");
    let is_reserved = file.try_lock().is_ok() && is_free(number);
    if is_reserved {
        LOCKS.lock().expect("no test panics here").push(file);
    }
    is_reserved
}
