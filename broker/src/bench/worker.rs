//! One thread with its share of the clients.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::client;
use super::course::{Course, Stage};
use super::metronome;
use super::plan::{Member, Role};
use super::schedule::Turns;

/// Connections of all workers that are not answered yet; further ones wait. A broker's system may
/// drop more of them, so that they are tried again only after a second.
const CONNECTING_MAX: u32 = 100;
/// The time between two looks whether clients have to be woken: half of the shortest Keep Alive.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// The clients of one thread.
pub(super) struct Worker {
    pub(super) course: Arc<Course>,
    /// Its place among the workers.
    pub(super) index: u32,
    /// When the first client of all workers connects.
    pub(super) begin: Instant,
}

impl Worker {
    /// Has its clients connect, each at its time, and lives until all of them are gone.
    pub(super) async fn run(self) -> io::Result<()> {
        let course = &self.course;
        let members: Vec<_> = self.members().collect();
        let publishers = members.iter().filter(|it| it.role == Role::Publisher);
        let publishers: Vec<_> = publishers.map(|it| it.index).collect();
        let turns = self.turns(publishers.len());
        let connecting = (CONNECTING_MAX / course.plan.workers).max(1);
        let mut clients = JoinSet::new();
        let all = async {
            let permits = Arc::new(Semaphore::new(connecting as usize));
            let mut place = 0;
            for member in members {
                let Some(permit) = self.turn_to_connect(member, &permits).await else {
                    break;
                };
                let mut schedule = None;
                if member.role == Role::Publisher {
                    schedule = turns.map(|it| it.of(place));
                    place += 1;
                }
                let (course, index) = (Arc::clone(course), self.index as usize);
                clients.spawn(client::live(course, index, member, schedule, permit));
            }
            while let Some(ended) = clients.join_next().await {
                ended?;
            }
            Ok(())
        };
        let beats = async {
            if let Some(turns) = turns {
                metronome::beat(course, turns, &publishers).await?;
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = all => ended,
            failed = beats => failed,
            () = self.sweep() => Ok(()),
        }
    }

    /// Its clients. Those who have the same place in their roles have the same worker.
    fn members(&self) -> impl Iterator<Item = Member> {
        let plan = &self.course.plan;
        plan.members()
            .filter(|it| it.place % plan.workers == self.index)
    }

    /// When its publishers are due, if there is a rate.
    fn turns(&self, publishers: usize) -> Option<Turns> {
        let plan = &self.course.plan;
        let interval = plan.publishing()?.interval?;
        Some(Turns {
            publishers: u32::try_from(publishers).ok().filter(|&it| it > 0)?,
            interval: interval.as_secs_f64() * 1e9,
            offset: f64::from(self.index) / f64::from(plan.workers),
        })
    }

    /// Waits until a client may connect; none if it need not any more.
    async fn turn_to_connect(
        &self,
        member: Member,
        permits: &Arc<Semaphore>,
    ) -> Option<OwnedSemaphorePermit> {
        let plan = &self.course.plan;
        let place = u32::try_from(member.index).unwrap_or(u32::MAX);
        let wait = async {
            sleep_until(self.begin + plan.connect_interval * place).await;
            Arc::clone(permits).acquire_owned().await.ok()
        };
        tokio::select! {
            () = self.course.reached(Stage::Finish) => None,
            permit = wait => permit,
        }
    }

    /// Wakes its clients once in a while, so that they see that it is time for a PINGREQ, or that
    /// something is lost.
    async fn sweep(&self) {
        let course = &self.course;
        let mut pauses = interval(SWEEP_INTERVAL);
        let mut woken_at = Instant::now();
        loop {
            let now = pauses.tick().await;
            let is_due = |pause| now.duration_since(woken_at) >= pause;
            if course.plan.has_round_trips() || course.ping_after().is_some_and(is_due) {
                woken_at = now;
                course.wake(self.members().map(|it| it.index));
            }
        }
    }
}
