//! The broker that is killed: a child process with a data directory, which is started again and
//! again.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use persistence::Durability;
use rustix::process::{Pid, Signal, kill_process};

use super::lab::Random;
use crate::config::ENVIRONMENT_PREFIX;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const PROBE_PAUSE: Duration = Duration::from_millis(2);
/// Below those that systems take for outgoing connections, which here are made all the time.
const PORTS: std::ops::Range<u64> = 10_000..20_000;
const PORT_ATTEMPTS: usize = 100;
const SIGKILL: i32 = 9;

/// The broker, running or not; killed when dropped.
pub(super) struct BrokerProcess {
    pub(super) address: SocketAddr,
    configuration: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl BrokerProcess {
    /// Writes the configuration of a broker whose data directory is below `data`; its other files
    /// are in `folder`.
    pub(super) fn new(
        folder: &Path,
        data: &Path,
        durability: Durability,
        random: &mut Random,
    ) -> Result<Self, String> {
        let address = free_address(random)?;
        let configuration = folder.join("tidegate.conf");
        let text = format!(
            "listeners.tcp.default {{ bind = \"{address}\" }}\n\
             store {{ path = \"{}\", durability = {durability} }}\n\
             log {{ level = \"warn\" }}\n",
            data.join("data").display()
        );
        fs::write(&configuration, text).map_err(|error| error.to_string())?;
        Ok(Self {
            address,
            configuration,
            log: folder.join("tidegate.log"),
            child: None,
        })
    }

    /// Starts it. With `crash_at` it ends itself there.
    pub(super) fn start(&mut self, crash_at: Option<&str>) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the broker cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let log = File::options().create(true).append(true).open(&self.log);
        let mut command = Command::new(program);
        command
            .args(["start", "--while-stdin", "--conf"])
            .arg(&self.configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.map_err(failed)?);
        if let Some(point) = crash_at {
            command.args(["--crash-at", point]);
        }
        // Only the configuration that is written here counts.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX) {
                command.env_remove(name);
            }
        }
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// The time from its start until it accepts connections; none if it was killed before.
    pub(super) fn wait_ready(&mut self) -> Result<Option<Duration>, String> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.has_ended()? {
                return Ok(None);
            }
            if begun.elapsed() > START_TIMEOUT {
                return Err(self.complain("the broker does not start"));
            }
            sleep(PROBE_PAUSE);
        }
        Ok(Some(begun.elapsed()))
    }

    /// Whether it was killed; an error if it has ended in another way.
    pub(super) fn has_ended(&mut self) -> Result<bool, String> {
        let status = match &mut self.child {
            Some(child) => child.try_wait().map_err(|error| error.to_string())?,
            None => return Ok(true),
        };
        match status {
            None => Ok(false),
            Some(status) if is_kill(status) => Ok(true),
            Some(status) => Err(self.complain(&format!("the broker has ended: {status}"))),
        }
    }

    /// Ends it with SIGKILL, if it runs, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Stops it in the midst of whatever it does, and waits until each of its threads stands.
    pub(super) fn freeze(&self) -> Result<(), String> {
        let child = self.child.as_ref().ok_or("the broker does not run")?;
        kill_process(Pid::from_child(child), Signal::STOP).map_err(|error| error.to_string())?;
        let tasks = format!("/proc/{}/task", child.id());
        let deadline = Instant::now() + START_TIMEOUT;
        while !are_stopped(Path::new(&tasks)) {
            if Instant::now() > deadline {
                return Err("the broker cannot be stopped".to_owned());
            }
            sleep(PROBE_PAUSE);
        }
        Ok(())
    }

    /// The lines of its log that are errors.
    pub(super) fn errors(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let errors = log.lines().filter(|it| it.contains("ERROR"));
        errors.map(str::to_owned).collect()
    }

    fn complain(&self, what: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!(
            "{what}; its last line: {}",
            log.lines().last().unwrap_or("none")
        )
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_kill(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(SIGKILL)
}

/// Whether all threads of a process are stopped: the state stands behind the name.
fn are_stopped(tasks: &Path) -> bool {
    let Ok(entries) = fs::read_dir(tasks) else {
        return true;
    };
    entries.flatten().all(|entry| {
        let stat = fs::read_to_string(entry.path().join(OsStr::new("stat"))).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|it| it.starts_with('T'))
    })
}

fn free_address(random: &mut Random) -> Result<SocketAddr, String> {
    let addresses = (0..PORT_ATTEMPTS).filter_map(|_| {
        let port = PORTS.start + random.below(PORTS.end - PORTS.start);
        let port = u16::try_from(port).ok()?;
        TcpListener::bind(("127.0.0.1", port))
            .ok()?
            .local_addr()
            .ok()
    });
    addresses
        .take(1)
        .next()
        .ok_or_else(|| "no free port".to_owned())
}
