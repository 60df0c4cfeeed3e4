//! A run from the first connection to the last DISCONNECT.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::course::{Attendance, Course, Stage};
use super::plan::Plan;
use super::progress::Progress;
use super::worker::Worker;
use crate::demo::interruption;

/// The time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of progress without any after which nothing is waited for at the end.
const STILL_MAX: u32 = 3;

/// Runs everything; returns when all clients are gone.
pub(super) fn run(course: &Arc<Course>, mut progress: Progress) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let begin = Instant::now();
    let mut threads = Vec::new();
    for index in 0..course.plan.workers {
        let runtime = runtime().map_err(failed)?;
        let course = Arc::clone(course);
        threads.push(thread::spawn(move || {
            let worker = Worker {
                course: Arc::clone(&course),
                index,
                begin,
            };
            let outcome = runtime.block_on(worker.run());
            if outcome.is_err() {
                // The others would wait for its clients.
                course.enter(Stage::Stop);
                course.changed.notify_one();
            }
            outcome
        }));
    }
    let conducted = runtime().map(|it| it.block_on(conduct(course, &mut progress)));
    course.enter(Stage::Stop);
    for thread in threads {
        let outcome = thread.join().map_err(|_| "a worker has panicked")?;
        outcome.map_err(failed)?;
    }
    conducted.map_err(failed)
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Takes the run from stage to stage until it has stopped.
async fn conduct(course: &Course, progress: &mut Progress) {
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut interrupted = pin!(interruption());
    let mut is_interrupted = false;
    let mut deadline = None;
    let mut still = 0;
    loop {
        let (stage, attendance) = (course.stage(), course.attendance());
        if let Some(next) = next(
            stage,
            &course.plan,
            &attendance,
            course.is_enough_received(),
        ) {
            course.enter(next);
            continue;
        }
        if stage == Stage::Stop || still >= STILL_MAX {
            return;
        }
        if deadline.is_none() && stage == Stage::Load {
            let duration = course.plan.duration;
            deadline = duration.map(|it| Instant::now() + it);
        }
        let end = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = course.changed.notified() => {}
            _ = ticks.tick() => {
                let is_moving = progress.show(course);
                still = if is_moving || stage != Stage::Finish { 0 } else { still + 1 };
            }
            _ = &mut interrupted, if !is_interrupted => {
                is_interrupted = true;
                course.enter(Stage::Finish);
            }
            () = end, if stage < Stage::Finish => course.enter(Stage::Finish),
        }
    }
}

/// The stage that follows, if it is time for it.
fn next(stage: Stage, plan: &Plan, attendance: &Attendance, is_enough: bool) -> Option<Stage> {
    let have_all_tried = attendance.tried == plan.total();
    let is_over = plan.publishing().is_some() && attendance.publishing == 0;
    match stage {
        Stage::Connect | Stage::Load if attendance.is_hopeless() => Some(Stage::Stop),
        Stage::Connect => have_all_tried.then_some(Stage::Load),
        Stage::Load if is_enough => Some(Stage::Finish),
        Stage::Load if have_all_tried && (is_over || attendance.present() == 0) => {
            Some(Stage::Stop)
        }
        Stage::Finish if is_over || plan.publishing().is_none() => Some(Stage::Stop),
        Stage::Load | Stage::Finish | Stage::Stop => None,
    }
}

#[cfg(test)]
mod tests {
    use mqtt::QoS;

    use super::super::plan::{Load, Subscribing};
    use super::super::topic::TopicTemplate;
    use super::*;

    /// Who has tried, is connected, has failed, is lost.
    fn attendance(counts: [u32; 4]) -> Attendance {
        let [tried, connected, failed, lost] = counts;
        Attendance {
            tried,
            connected,
            failed,
            lost,
            ..Attendance::default()
        }
    }

    #[test]
    fn a_run_without_publishers_goes_on_until_nobody_is_there() {
        let subscribing = Subscribing {
            topic: TopicTemplate::parse("a").unwrap(),
            qos: QoS::AtMostOnce,
            limit: Some(1),
        };
        let plan = Plan {
            clients: 3,
            ..Plan::for_tests(Load::Subscribe(subscribing))
        };
        use Stage::{Connect, Finish, Load as Loaded, Stop};
        let table = [
            (Connect, [0, 0, 0, 0], false, None),
            (Connect, [1, 0, 1, 0], false, Some(Stop)),
            (Connect, [2, 1, 1, 0], false, None),
            (Connect, [3, 2, 1, 0], false, Some(Loaded)),
            (Loaded, [3, 2, 1, 1], false, None),
            (Loaded, [3, 2, 1, 1], true, Some(Finish)),
            (Loaded, [3, 2, 1, 2], false, Some(Stop)),
            (Loaded, [2, 1, 1, 1], false, None),
            (Finish, [3, 3, 0, 0], true, Some(Stop)),
            (Stop, [3, 3, 0, 3], true, None),
        ];
        for (stage, counts, is_enough, expected) in table {
            let found = next(stage, &plan, &attendance(counts), is_enough);
            assert_eq!(found, expected, "{stage:?} {counts:?}");
        }
    }
}
