//! A child process with its log, which does not outlive its test.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{io, thread};

use crate::wait::until;

/// Lines of a log that are shown when a test fails.
const SHOWN_LINES_MAX: usize = 60;

/// A running or ended child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints, on either stream, is appended to `name`.log in the folder.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.expect("a log file");
        let output = file.try_clone().expect("the log file twice");
        command.stdin(Stdio::piped()).stdout(output).stderr(file);
        Self::spawn(command, log, name)
    }

    /// The same, but the standard output is the test's, through [`Process::take_output`].
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_piped(command: &mut Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.expect("a log file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(file);
        Self::spawn(command, log, name)
    }

    fn spawn(command: &mut Command, log: PathBuf, name: &str) -> Self {
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let name = name.to_owned();
        Self { name, child, log }
    }

    /// The child's standard output.
    ///
    /// # Panics
    /// It is not piped, or was taken before.
    pub fn take_output(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("a piped output")
    }

    /// The child's standard input.
    ///
    /// # Panics
    /// It was taken before.
    pub fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a piped input")
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The status that it ended with, if it has ended.
    ///
    /// # Panics
    /// The system does not know it.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(&what, || self.status().is_some());
        self.status().expect("it has ended")
    }

    /// Asks it to end, with SIGTERM.
    ///
    /// # Panics
    /// It has ended before.
    pub fn terminate(&mut self) {
        self.signal("TERM");
    }

    /// Sends it a signal, such as `HUP`.
    ///
    /// # Panics
    /// It has ended before.
    pub fn signal(&mut self, signal: &str) {
        assert_eq!(self.status(), None, "{} has ended by itself", self.name);
        let mut kill = Command::new("sh");
        kill.args([
            "-c",
            "kill -s \"$1\" \"$0\"",
            &self.id().to_string(),
            signal,
        ]);
        assert!(kill.status().expect("a shell").success());
    }

    /// Ends it at once, with SIGKILL.
    ///
    /// # Panics
    /// It has ended before.
    pub fn kill(&mut self) {
        assert_eq!(self.status(), None, "{} has ended by itself", self.name);
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Bytes of memory that it has now.
    ///
    /// # Panics
    /// It has ended.
    #[must_use]
    #[track_caller]
    pub fn memory(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that it ever had.
    ///
    /// # Panics
    /// It has ended.
    #[must_use]
    #[track_caller]
    pub fn memory_peak(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Clock ticks, of 10 ms, for which it has run.
    ///
    /// # Panics
    /// It has ended.
    #[must_use]
    #[track_caller]
    pub fn ticks(&self) -> u64 {
        let stat = self.system_file("stat");
        // Behind the name, which may have spaces: user and system time are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let times = fields.split_whitespace().skip(11).take(2);
        times.map(|it| it.parse::<u64>().expect("a number")).sum()
    }

    #[track_caller]
    fn status_bytes(&self, name: &str) -> u64 {
        let status = self.system_file("status");
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = value.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.expect("a size") << 10
    }

    #[track_caller]
    fn system_file(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/{name}", self.id()));
        text.expect("a process")
    }

    /// What it has printed so far.
    ///
    /// # Panics
    /// The log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("a log file")).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; what matters is that it has.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            show(&self.name, &self.log).ok();
        }
    }
}

fn show(name: &str, log: &Path) -> io::Result<()> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let skipped = text.lines().count().saturating_sub(SHOWN_LINES_MAX);
    let mut out = io::stderr().lock();
    writeln!(out, "--- the end of what {name} printed:")?;
    for line in text.lines().skip(skipped) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "---")
}

/// How long after SIGTERM the daemon may take to end.
pub const STOP_MAX: Duration = Duration::from_secs(5);
