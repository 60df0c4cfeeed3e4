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

/// The least time between two beats.
const BEAT_MIN: Duration = Duration::from_micros(10);

/// Wakes these clients in turn from the beginning of the load to its end.
pub(super) async fn beat(course: &Course, turns: Turns, publishers: &[usize]) -> io::Result<()> {
    course.reached(Stage::Load).await;
    let mut finished = pin!(course.reached(Stage::Finish));
    let turns = turns.all();
    let mut timer = timer()?;
    let mut turn = 0;
    loop {
        let elapsed = course.clock.now().saturating_sub(course.load_began_at());
        let due = turns.due(elapsed);
        // Each of them once, even if it is behind by several messages.
        let first = turn.max(due.saturating_sub(publishers.len() as u64));
        let places = (first..due).filter_map(|it| usize::try_from(it).ok());
        course.wake(places.map(|it| publishers[it % publishers.len()]));
        turn = due;
        let pause = Duration::from_nanos(turns.at(due).saturating_sub(elapsed));
        set(&timer, pause.max(BEAT_MIN))?;
        // A read that does not fill its buffer tells the runtime that there is no more.
        let mut beaten = [0; 16];
        tokio::select! {
            () = &mut finished => return Ok(()),
            beaten = timer.read(&mut beaten) => beaten?,
        };
    }
}

/// A timer of the system: there is something to read when its time is over.
fn timer() -> io::Result<pipe::Receiver> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // The runtime has no safe way to wait for it, but reads it in the way of a pipe.
    pipe::Receiver::from_owned_fd_unchecked(timer)
}

fn set(timer: &pipe::Receiver, pause: Duration) -> io::Result<()> {
    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: pause.subsec_nanos().into(),
        },
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}
