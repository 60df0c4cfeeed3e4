//! A process whose disk fails at every place of a script, by a library that is preloaded into it:
//! what it says to be durable is there when it is killed and the store is opened again, also after
//! a power cut; it recovers by itself; and it always can be opened.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod child;
mod script;
pub mod shim;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use std::{iter, thread};

use persistence::Durability;
use tempfile::TempDir;

use crate::child::{Run, say};
use crate::script::{content, contents, copy, memory};
use crate::shim::{Control, EIO, ENOSPC, EROFS, Fault, Shim};

/// Processes at a time; most of them wait until they try again.
const PROCESSES: usize = 32;
const CHILD: &str = "child";
/// What happens, and to which calls, as `shim.c` numbers it.
const NOTHING: u64 = 0;
const FAIL: u64 = 1;
const SHORT: u64 = 2;
const WRITES: u64 = 1;
const SYNCS: u64 = 2;
const ALL: u64 = 127;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == CHILD) {
        return child::main(&arguments[1], &arguments[2..]);
    }
    let shim = Shim::compile();
    let lab = Lab::new(&shim, false);
    let long = Lab::new(&shim, true);
    let cases: [(&str, &dyn Fn()); 8] = [
        ("any_call_may_fail_once", &|| lab.once(ALL, FAIL, EIO)),
        ("any_call_may_find_the_disk_full", &|| {
            lab.once(ALL, FAIL, ENOSPC)
        }),
        ("any_write_may_be_short", &|| lab.once(WRITES, SHORT, 0)),
        ("any_call_may_fail_with_all_that_follow", &|| {
            lab.and_all_that_follow(EIO)
        }),
        ("the_disk_may_be_full_from_any_call_on", &|| {
            lab.and_all_that_follow(ENOSPC)
        }),
        ("it_may_be_read_only_from_any_call_on", &|| {
            lab.and_all_that_follow(EROFS)
        }),
        ("a_power_cut_after_a_failed_sync_takes_nothing", &|| {
            long.power_cuts(Then::GoesOn);
        }),
        (
            "a_power_cut_after_a_failed_sync_and_a_kill_takes_nothing",
            &|| {
                long.power_cuts(Then::IsKilled);
            },
        ),
    ];
    let filters: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    for (name, case) in cases {
        if !filters.is_empty() && !filters.iter().any(|it| name.contains(it.as_str())) {
            continue;
        }
        let start = Instant::now();
        case();
        say(&format!(
            "test {name} ... ok ({} ms)",
            start.elapsed().as_millis()
        ));
    }
    ExitCode::SUCCESS
}

/// What is the same for all runs of a script.
struct Lab<'a> {
    shim: &'a Shim,
    stays_open: bool,
    /// What is there before the first step and after each.
    contents: Vec<String>,
}

impl<'a> Lab<'a> {
    fn new(shim: &'a Shim, stays_open: bool) -> Self {
        let run = Run {
            durability: Durability::Full,
            stays_open,
            from: 0,
        };
        Self {
            shim,
            stays_open,
            contents: contents(run.script()),
        }
    }

    fn run(&self, durability: Durability) -> Run {
        Run {
            durability,
            stays_open: self.stays_open,
            from: 0,
        }
    }

    /// How many calls there are if none fails.
    fn calls(&self, run: Run, calls: u64, has_disk: bool) -> u64 {
        let fault = Fault {
            kind: NOTHING,
            value: 0,
            calls,
            first: 0,
            last: 0,
        };
        let mut process = Process::start(self, run, fault, has_disk);
        assert_eq!(process.go_on(), Event::Done);
        process.control.counts().0
    }

    /// Each call by itself.
    fn once(&self, calls: u64, kind: u64, value: u64) {
        for durability in [Durability::Normal, Durability::Full] {
            let run = self.run(durability);
            each(self.calls(run, calls, false), |call| {
                let fault = Fault {
                    kind,
                    value,
                    calls,
                    first: call,
                    last: call,
                };
                let mut process = Process::start(self, run, fault, false);
                process.finish();
                process.assert_all(&process.data());
                process.is_struck()
            });
        }
    }

    /// Each call with all that follow, until the disk is healed.
    fn and_all_that_follow(&self, error: u64) {
        let run = self.run(Durability::Full);
        each(self.calls(run, ALL, false), |call| {
            let fault = Fault {
                kind: FAIL,
                value: error,
                calls: ALL,
                first: call,
                last: u64::MAX,
            };
            let mut process = Process::start(self, run, fault, false);
            match process.go_on() {
                // It is no reason to fail for whoever only reads, or has only to clear up.
                Event::Done => {}
                Event::Failing | Event::Ended => process.assert_durable(&process.data()),
            }
            process.control.heal();
            process.finish();
            process.assert_all(&process.data());
            process.is_struck()
        });
    }

    /// Each sync by itself; what it should have written is never written, unless it is written
    /// again.
    fn power_cuts(&self, then: Then) {
        for durability in [Durability::Normal, Durability::Full] {
            let run = self.run(durability);
            each(self.calls(run, SYNCS, true), |call| {
                let fault = Fault {
                    kind: FAIL,
                    value: EIO,
                    calls: SYNCS,
                    first: call,
                    last: call + then.more(),
                };
                let mut process = Process::start(self, run, fault, true);
                process.finish_between_cuts(then);
                process.is_struck()
            });
        }
    }
}

/// What happens to a process whose disk has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
}

impl Then {
    /// The syncs that fail after the first: those by which it recovers.
    fn more(self) -> u64 {
        match self {
            Self::GoesOn => 1,
            Self::IsKilled => 0,
        }
    }
}

/// For each call from the first one on. The case says whether the fault struck: time decides which
/// commits are synced, so the last calls may not come.
fn each(last: u64, case: impl Fn(u64) -> bool + Sync) {
    assert!(last > 10, "{last}");
    let (next, struck) = (AtomicU64::new(1), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                let calls = iter::repeat_with(|| next.fetch_add(1, Ordering::SeqCst));
                for call in calls.take_while(|call| *call <= last) {
                    struck.fetch_add(u64::from(case(call)), Ordering::SeqCst);
                }
            });
        }
    });
    let struck = struck.into_inner();
    assert!(struck * 10 >= last * 8, "{struck} of {last}");
}

/// What a process came to.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// It is through with the script.
    Done,
    /// Its store cannot be written.
    Failing,
    /// It ended: it could not open the store, or not close it in order.
    Ended,
}

/// A process that goes through the script on a disk that may fail.
struct Process<'a> {
    lab: &'a Lab<'a>,
    run: Run,
    fault: Fault,
    folder: TempDir,
    control: Control,
    child: Child,
    output: BufReader<ChildStdout>,
    /// The steps that are durable.
    durable: usize,
    said: Vec<String>,
}

impl<'a> Process<'a> {
    fn start(lab: &'a Lab<'a>, run: Run, fault: Fault, has_disk: bool) -> Self {
        let folder = memory();
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let disk = has_disk.then_some(disk);
        let control = Control::new(folder.path(), folder.path().join("data"), disk);
        control.set(fault);
        let (child, output) = launch(lab.shim, &control, &folder, run);
        Self {
            lab,
            run,
            fault,
            folder,
            control,
            child,
            output,
            durable: 0,
            said: Vec::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What a power cut would leave.
    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Follows what it says.
    fn go_on(&mut self) -> Event {
        while self.said.last().is_none_or(|it| it.trim() != "done") {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            self.said.push(line.clone());
            match line.trim() {
                "durable" => self.durable += 1,
                "failing" => return Event::Failing,
                "done" => {}
                "" => {
                    let status = self.child.wait().unwrap();
                    assert_eq!(status.code(), Some(1), "{self}");
                    return Event::Ended;
                }
                line => assert!(!line.starts_with("damage"), "{self}"),
            }
        }
        Event::Done
    }

    /// Follows it to the end of the script; if it ends before, it is started again.
    fn finish(&mut self) {
        while self.go_on() != Event::Done {
            self.start_again_if_ended();
        }
        self.kill();
    }

    fn is_struck(&self) -> bool {
        self.control.counts().1 > 0
    }

    /// The same, with a power cut each time that it says something.
    fn finish_between_cuts(&mut self, then: Then) {
        loop {
            let event = self.go_on();
            self.assert_synced();
            match event {
                Event::Done => return,
                Event::Failing if then == Then::IsKilled => self.kill(),
                Event::Failing | Event::Ended => {}
            }
            self.start_again_if_ended();
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again_if_ended(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            self.said.push("started again".to_owned());
            let run = Run {
                from: self.durable,
                ..self.run
            };
            (self.child, self.output) = launch(self.lab.shim, &self.control, &self.folder, run);
        }
    }

    /// A copy of the directory has what is durable.
    fn assert_durable(&self, directory: &Path) {
        let content = content(copy(directory).path());
        let mut allowed = self.lab.contents.iter().skip(self.durable);
        assert!(allowed.any(|it| *it == content), "{self}{content}");
    }

    /// A power cut leaves what the store knows to be synced, which is all that is durable if every
    /// commit is.
    fn assert_synced(&mut self) {
        self.signal("STOP");
        let left = copy(&self.disk());
        let noted = self.data().join("tidegate.epoch");
        if noted.exists() {
            std::fs::copy(noted, left.path().join("tidegate.epoch")).unwrap();
        }
        self.signal("CONT");
        if self.run.durability == Durability::Full {
            self.assert_durable(left.path());
        } else {
            let content = content(left.path());
            assert!(self.lab.contents.contains(&content), "{self}{content}");
        }
    }

    /// Nothing if it has ended.
    fn signal(&mut self, signal: &str) {
        if self.child.try_wait().unwrap().is_some() {
            return;
        }
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s \"$0\" \"$1\"", signal]);
        kill.arg(self.child.id().to_string());
        assert!(kill.status().unwrap().success());
    }

    /// A copy of the directory has everything.
    fn assert_all(&self, directory: &Path) {
        let content = content(copy(directory).path());
        assert_eq!(Some(&content), self.lab.contents.last(), "{self}");
    }
}

impl std::fmt::Display for Process<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (fault, run) = (self.fault, self.run);
        writeln!(
            formatter,
            "{fault:?}, {run:?}, {} durable, {:?}",
            self.durable, self.said
        )
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(
    shim: &Shim,
    control: &Control,
    folder: &TempDir,
    run: Run,
) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(CHILD).arg(folder.path().join("data"));
    command.args(run.arguments());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    shim.preload(&mut command, control);
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}
