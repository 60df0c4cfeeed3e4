//! The brokers that are compared, each with a fresh folder.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use tempfile::TempDir;

use crate::daemon::{configuration, program, tidegate};
use crate::process::Process;
use crate::reservation;
use crate::wait::DEADLINE;
use crate::wire::{Kept, Version, connect};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What its column is called.
    pub name: String,
    /// What is started.
    pub program: Program,
}

/// A program that is a broker.
#[derive(Clone, Debug)]
pub enum Program {
    /// Tidegate.
    Tidegate {
        /// The durability level; its default is `normal`.
        level: &'static str,
        /// Another binary than the one of this build.
        binary: Option<PathBuf>,
    },
    /// Debian's Mosquitto.
    Mosquitto,
    /// A line for the shell, where `{port}` is what it has to listen on and `{folder}` one of its
    /// own. It must stay in the foreground.
    CommandLine(String),
}

/// What the brokers are told beyond their defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup<'a> {
    /// Appended to Tidegate's configuration.
    pub tidegate: &'a str,
    /// Appended to Mosquitto's, where `{folder}` is a folder of its own.
    pub mosquitto: &'a str,
}

/// A broker that runs.
#[derive(Debug)]
pub struct Broker {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    program: Program,
    port: u16,
    folder: TempDir,
}

/// What a process has used since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// That its threads have run.
    pub cpu: Duration,
    /// Bytes that it made the system write to the disk.
    pub written: u64,
    /// Bytes of memory that it has.
    pub memory: u64,
    /// The most that it had since [`Broker::reset_peak`].
    pub memory_peak: u64,
}

impl Contender {
    /// Starts it with an empty store; returns it and how long it took to its first CONNACK.
    ///
    /// # Errors
    /// It does not answer a CONNECT, or the system does not give what this takes.
    pub fn start(&self, setup: Setup<'_>) -> io::Result<(Broker, Duration)> {
        let folder = tempfile::tempdir()?;
        let port = reservation::port();
        let path = folder.path();
        let text = match &self.program {
            Program::Tidegate { .. } => configuration(port, &path.join("data"), setup.tidegate),
            // Its window is as large as Tidegate's.
            Program::Mosquitto => format!(
                "listener {port} 127.0.0.1\nuser root\nallow_anonymous true\n\
                 set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 128\n{}\n",
                setup.mosquitto.replace("{folder}", &path.to_string_lossy())
            ),
            Program::CommandLine(_) => String::new(),
        };
        fs::write(path.join("broker.conf"), text)?;
        let exec = Instant::now();
        let process = launch(&self.program, path, port);
        let mut broker = Broker {
            process,
            program: self.program.clone(),
            port,
            folder,
        };
        let time = broker.await_connack(exec)?;
        Ok((broker, time))
    }
}

impl Broker {
    /// The port that it listens on, of the loopback interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it with SIGTERM.
    pub fn stop(&mut self) {
        self.process.terminate();
        self.process.wait();
    }

    /// Starts it again; returns how long it took to its first CONNACK.
    ///
    /// # Errors
    /// There is none.
    pub fn restart(&mut self) -> io::Result<Duration> {
        let exec = Instant::now();
        self.process = launch(&self.program, self.folder.path(), self.port);
        self.await_connack(exec)
    }

    /// What it has used.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> io::Result<Usage> {
        let status = self.read("status")?;
        Ok(Usage {
            cpu: self.cpu()?,
            written: number(&self.read("io")?, "write_bytes:"),
            // What `status` has of it may be off by 128 pages for each processor.
            memory: number(&self.read("smaps_rollup")?, "Rss:") << 10,
            memory_peak: number(&status, "VmHWM:") << 10,
        })
    }

    /// How long its threads have run, to the nanosecond; without those that have ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> io::Result<Duration> {
        let nanos = self.sum_of_threads("schedstat", |text| {
            let run = text.split_whitespace().next();
            run.and_then(|it| it.parse().ok()).unwrap_or(0)
        })?;
        Ok(Duration::from_nanos(nanos))
    }

    /// How often its threads began to run.
    ///
    /// # Errors
    /// It has ended.
    pub fn switches(&self) -> io::Result<u64> {
        self.sum_of_threads("status", |text| number(text, "voluntary_ctxt_switches:"))
    }

    /// The greatest use of memory counts from here.
    ///
    /// # Errors
    /// It has ended.
    pub fn reset_peak(&self) -> io::Result<()> {
        fs::write(self.file("clear_refs"), "5")
    }

    fn await_connack(&mut self, exec: Instant) -> io::Result<Duration> {
        loop {
            match open(self.port, "probe", Kept::Nothing) {
                Ok(_) => return Ok(exec.elapsed()),
                Err(error) if exec.elapsed() > DEADLINE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
            if let Some(status) = self.process.status() {
                let log = self.process.log();
                return Err(io::Error::other(format!("ended with {status}: {log}")));
            }
        }
    }

    fn sum_of_threads(&self, file: &str, value: impl Fn(&str) -> u64) -> io::Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(self.file("task"))? {
            // One that ends meanwhile has nothing to tell.
            let text = fs::read_to_string(thread?.path().join(file));
            sum += text.map_or(0, |text| value(&text));
        }
        Ok(sum)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.file(name))
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.process.id()))
    }
}

/// Connects; true if a session was resumed. Nothing behind the CONNACK is read.
///
/// # Errors
/// There is no connection, or it is refused.
pub fn open(port: u16, client_id: &str, kept: Kept) -> io::Result<(TcpStream, bool)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(&connect(Version::V311, client_id, kept))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    match answer {
        [0x20, 2, present, 0] => Ok((stream, present == 1)),
        _ => Err(io::Error::other(format!("refused with {answer:?}"))),
    }
}

fn launch(what: &Program, folder: &Path, port: u16) -> Process {
    let conf = folder.join("broker.conf");
    let mut command = match what {
        Program::Tidegate { level, binary } => {
            let arguments = [OsStr::new("start"), OsStr::new("--conf"), conf.as_os_str()];
            let mut command = match binary {
                Some(binary) => program(binary, arguments),
                None => tidegate(arguments),
            };
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
        Program::CommandLine(line) => {
            let line = line.replace("{port}", &port.to_string());
            let line = line.replace("{folder}", &folder.to_string_lossy());
            let mut command = Command::new("sh");
            // The shell must not stay between: what it starts is measured.
            command.arg("-c").arg(format!("exec {line}"));
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
