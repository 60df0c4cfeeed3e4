//! The figures below `$SYS/broker`.

use crate::daemon::Daemon;
use crate::dialogue::join;
use crate::wait::{DEADLINE, until_every};
use crate::wire::Version;

/// What a daemon that announces its figures every second is configured with.
pub const EVERY_SECOND: &str = "sys_topics.interval = 1s\n";

/// What a daemon said last of itself below `$SYS/broker/`.
///
/// # Panics
/// It says no such thing, or no number.
#[must_use]
#[track_caller]
pub fn figure(daemon: &Daemon, name: &str) -> u64 {
    let mut watcher = join(daemon, Version::V5, "figure");
    let topic = format!("$SYS/broker/{name}");
    watcher.subscribe(&topic, 0).expect("a subscription");
    let message = watcher.hear();
    let value = message.text().parse();
    value.unwrap_or_else(|_| panic!("no number: {message:?}"))
}

/// Waits until a daemon says of itself what the condition asks for; returns the figure.
///
/// # Panics
/// It never does.
#[track_caller]
pub fn wait_figure(daemon: &Daemon, name: &str, condition: impl Fn(u64) -> bool) -> u64 {
    let mut last = 0;
    let what = format!("{name} is as expected");
    until_every(DEADLINE / 600, &what, || {
        last = figure(daemon, name);
        condition(last)
    });
    last
}
