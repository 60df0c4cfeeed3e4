//! Wakes publishers when their messages are due, more exactly than the runtime's timers, which count
//! milliseconds.

use std::io;
use std::pin::pin;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::course::{Course, Stage};
use super::schedule::Turns;

/// The least nanoseconds between two beats.
const BEAT_MIN: u64 = 10_000;

/// Wakes these clients in turn from the beginning of the load to its end.
pub(super) async fn beat(course: &Course, turns: Turns, publishers: &[usize]) -> io::Result<()> {
    course.reached(Stage::Load).await;
    let mut timer = timer(turns.distance())?;
    let mut finished = pin!(course.reached(Stage::Finish));
    let mut turn = 0;
    loop {
        let elapsed = course.clock.now().saturating_sub(course.load_began_at());
        let due = turns.due(elapsed);
        // Each of them once, even if it is behind by several messages.
        let first = turn.max(due.saturating_sub(publishers.len() as u64));
        let places = (first..due).filter_map(|it| usize::try_from(it).ok());
        course.wake(places.map(|it| publishers[it % publishers.len()]));
        turn = due;
        tokio::select! {
            () = &mut finished => return Ok(()),
            beaten = beaten(&mut timer) => beaten?,
        }
    }
}

/// A timer that beats at this distance: bytes can be read when it has.
fn timer(distance: f64) -> io::Result<pipe::Receiver> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let distance = Duration::from_secs_f64(distance / 1e9).max(Duration::from_nanos(BEAT_MIN));
    let interval = Timespec {
        tv_sec: i64::try_from(distance.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: distance.subsec_nanos().into(),
    };
    let beats = Itimerspec {
        it_interval: interval,
        it_value: interval,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &beats)?;
    // The runtime has no safe way to wait for a timer's file; it is read in the way of a pipe's.
    pipe::Receiver::from_owned_fd_unchecked(timer)
}

async fn beaten(timer: &mut pipe::Receiver) -> io::Result<()> {
    // How often it has beaten follows from the time. A read that does not fill its buffer tells
    // the runtime that there is no more, so it does not try.
    timer.read(&mut [0; 16]).await.map(drop)
}
