//! The brokers that are compared, each with a fresh folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;
use tests::daemon::{configuration, tidegate};
use tests::process::Process;
use tests::reservation;

use crate::load::await_connack;

/// Clock ticks a second in `/proc/PID/stat`, which Linux never changes for programs.
const TICKS: u64 = 100;

/// What is measured.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) program: Program,
}

#[derive(Clone)]
pub(crate) enum Program {
    /// With a durability level, and another binary than the one of this build.
    Tidegate {
        level: &'static str,
        binary: Option<PathBuf>,
    },
    Mosquitto,
}

/// A broker that runs.
pub(crate) struct Broker {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    program: Program,
    pub(crate) port: u16,
    folder: TempDir,
}

/// What a process has used since it was started.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Bytes that it made the system write to the disk.
    pub(crate) written: u64,
    /// Bytes of memory that it has.
    pub(crate) memory: u64,
    /// The most that it had since [`Broker::reset_peak`].
    pub(crate) memory_peak: u64,
}

impl Contender {
    pub(crate) fn is_tidegate(&self) -> bool {
        matches!(self.program, Program::Tidegate { .. })
    }

    /// One level shows what all have in common.
    pub(crate) fn has_backlog(&self) -> bool {
        match &self.program {
            Program::Tidegate { level, .. } => *level == "normal",
            Program::Mosquitto => true,
        }
    }

    /// Starts it with an empty store.
    pub(crate) fn start(&self) -> io::Result<Broker> {
        let folder = tempfile::tempdir()?;
        let port = reservation::port();
        let path = folder.path();
        let text = match &self.program {
            // Room for the backlog and the message behind it.
            Program::Tidegate { .. } => configuration(port, &path.join("data"), "")
                .replace("store {", "store { max_messages = 100000000, "),
            // Its window is as large as Tidegate's.
            Program::Mosquitto => format!(
                "listener {port} 127.0.0.1\nuser root\nallow_anonymous true\n\
                 max_queued_messages 0\nmax_inflight_messages 128\n\
                 persistence true\npersistence_location {}/\n",
                path.display()
            ),
        };
        fs::write(path.join("broker.conf"), text)?;
        let process = launch(&self.program, path);
        let broker = Broker {
            process,
            program: self.program.clone(),
            port,
            folder,
        };
        await_connack(port, Instant::now())?;
        Ok(broker)
    }
}

impl Broker {
    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it with SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.process.terminate();
        self.process.wait();
    }

    /// Starts it again; returns how long it took to its first CONNACK.
    pub(crate) fn restart(&mut self) -> io::Result<Duration> {
        let exec = Instant::now();
        self.process = launch(&self.program, self.folder.path());
        await_connack(self.port, exec)
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        let stat = self.read("stat")?;
        // The name of the program, which may have spaces, ends with the last parenthesis.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|it| it.parse::<u64>().ok()).sum();
        let status = self.read("status")?;
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1000 / TICKS),
            written: number(&self.read("io")?, "write_bytes:"),
            memory: number(&status, "VmRSS:") << 10,
            memory_peak: number(&status, "VmHWM:") << 10,
        })
    }

    /// The greatest use of memory counts from here.
    pub(crate) fn reset_peak(&self) -> io::Result<()> {
        fs::write(self.file("clear_refs"), "5")
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.file(name))
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.process.id()))
    }
}

fn launch(program: &Program, folder: &Path) -> Process {
    let conf = folder.join("broker.conf");
    let mut command = match program {
        Program::Tidegate { level, binary } => {
            let arguments = [OsStr::new("start"), OsStr::new("--conf"), conf.as_os_str()];
            let mut command = match binary {
                Some(binary) => Command::new(binary),
                None => tidegate::<&OsStr>([]),
            };
            command.args(arguments);
            if *level != "normal" {
                command.env("TIDEGATE_STORE__DURABILITY", level);
            }
            command
        }
        Program::Mosquitto => {
            let mut command = Command::new("mosquitto");
            command.arg("-c").arg(conf);
            command
        }
    };
    Process::start(&mut command, folder, "broker")
}

/// The number behind a word.
fn number(text: &str, word: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let number = line.and_then(|it| it.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}
