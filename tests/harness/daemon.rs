//! The daemon under test.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

use crate::control_group::ControlGroup;
use crate::process::Process;
use crate::reservation;
use crate::wait::until;
use crate::wall_clock;

/// A running `tidegate start` with a configuration and a data directory of its own.
#[derive(Debug)]
pub struct Daemon {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Daemon {
    /// Starts a daemon with one listener; `more` is appended to its configuration.
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), more)
    }

    /// The same, but its wall clock shows what the test says, as in [`wall_clock::set`].
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start_at(time: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        wall_clock::set(folder.path(), time);
        Self::start_in(folder, more)
    }

    /// The same, but it may have no more than so many open files. It has as many as others when it
    /// is started again.
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start_with_files(files: u32, more: &str) -> Self {
        Self::start_after("ulimit -n \"$0\"", files.to_string().as_ref(), more)
    }

    /// The same, but it is in a control group, and in the one that the test is in when it is
    /// started again. It has to be dropped before its group.
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start_in_group(group: &ControlGroup, more: &str) -> Self {
        Self::start_after("echo $$ > \"$0\"", group.members().as_os_str(), more)
    }

    /// The same in a shell that first runs a command, which has `$0`.
    #[track_caller]
    fn start_after(command: &str, argument: &OsStr, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = reservation::port();
        configure(folder.path(), port, more);
        let conf = folder.path().join("tidegate.conf");
        let script = format!("{command} && exec \"$@\"");
        let mut command = program(Path::new("sh"), ["-c", &script]);
        command.arg(argument).arg(binary());
        command.args([OsStr::new("start"), OsStr::new("--conf"), conf.as_os_str()]);
        let mut process = Process::start(&mut command, folder.path(), "tidegate");
        wait_ready(&mut process, port);
        Self {
            process,
            port,
            folder,
        }
    }

    #[track_caller]
    fn start_in(folder: TempDir, more: &str) -> Self {
        let port = reservation::port();
        configure(folder.path(), port, more);
        let mut process = launch(folder.path());
        wait_ready(&mut process, port);
        Self {
            process,
            port,
            folder,
        }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file with its configuration.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("tidegate.conf")
    }

    /// The directory with its store.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Sets the wall clock of one that was started with [`Daemon::start_at`], whether it runs or
    /// not.
    pub fn set_wall_clock(&self, time: &str) {
        wall_clock::set(self.folder.path(), time);
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it with SIGTERM, and says how, and how long that took.
    #[track_caller]
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.process.terminate();
        (self.process.wait(), start.elapsed())
    }

    /// Has it read its configuration anew, now with `more`, and returns what it says of that.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn reload(&mut self, more: &str) -> String {
        configure(self.folder.path(), self.port, more);
        self.reload_with(|process| process.signal("HUP"))
    }

    /// The same with the configuration that is there and another way to ask for it.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn reload_with(&mut self, ask: impl FnOnce(&mut Process)) -> String {
        const ENDS: [&str; 2] = ["the configuration was read anew", "nothing is changed"];
        let before = self.process.log().len();
        ask(&mut self.process);
        let mut said = String::new();
        until("the configuration is read anew", || {
            said = self.process.log().split_off(before);
            ENDS.iter().any(|it| said.contains(it)) && said.ends_with('\n')
        });
        said
    }

    /// Starts it again after it has ended, with `more` in its configuration.
    #[track_caller]
    pub fn reconfigure(&mut self, more: &str) {
        configure(self.folder.path(), self.port, more);
        self.restart();
    }

    /// Starts it again after it has ended.
    ///
    /// # Panics
    /// It still runs, or does not accept connections in time.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.status().is_some(), "the daemon still runs");
        self.process = launch(self.folder.path());
        wait_ready(&mut self.process, self.port);
    }
}

fn configure(folder: &Path, port: u16, more: &str) {
    let text = configuration(port, &folder.join("data"), more);
    fs::write(folder.join("tidegate.conf"), text).expect("a configuration file");
}

/// A configuration with one listener and a store.
#[must_use]
pub fn configuration(port: u16, data: &Path, more: &str) -> String {
    let data = data.display();
    format!(
        "listeners.tcp.default {{ bind = \"127.0.0.1:{port}\" }}\n\
         store {{ path = \"{data}\" }}\n\
         log {{ level = \"info\" }}\n\
         {more}\n"
    )
}

/// The program as a command, without the configuration that the environment may hold.
#[must_use]
pub fn tidegate<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    program(binary(), arguments)
}

/// The same with another binary.
#[must_use]
pub fn program<A: AsRef<OsStr>>(binary: &Path, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Whether something accepts connections there.
#[must_use]
pub fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn launch(folder: &Path) -> Process {
    let conf = folder.join("tidegate.conf");
    let mut command = tidegate([OsStr::new("start"), OsStr::new("--conf"), conf.as_os_str()]);
    wall_clock::give(&mut command, folder);
    Process::start(&mut command, folder, "tidegate")
}

#[track_caller]
fn wait_ready(process: &mut Process, port: u16) {
    until("the daemon listens", || {
        if let Some(status) = process.status() {
            panic!("the daemon ended with {status}: {}", process.log());
        }
        accepts(port)
    });
}

/// The program, built if it is out of date; or the one that `TIDEGATE_BINARY` names.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os("TIDEGATE_BINARY") {
            return path.into();
        }
        let test = env::current_exe().expect("the path of this test");
        // target/debug/deps/blackbox-0123456789abcdef
        let folder = test.parent().and_then(Path::parent);
        let folder = folder.expect("a folder of the target directory");
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "broker"]);
        build.args(["--bin", "tidegate"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let build = build.current_dir(crate::workspace()).status();
        assert!(build.expect("cargo").success(), "the daemon does not build");
        folder.join("tidegate")
    })
}
