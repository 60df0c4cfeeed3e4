//! A mosquitto broker as the hub.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::accepts;
use crate::process::Process;
use crate::reservation;
use crate::wait::until;

/// A mosquitto broker that keeps its sessions while it is stopped.
#[derive(Debug)]
pub struct Hub {
    // Before the folder, so that it has ended when its files go.
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl Hub {
    /// Starts a hub.
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a hub; `more` is appended to its configuration.
    ///
    /// # Panics
    /// It does not accept connections in time.
    #[must_use]
    #[track_caller]
    pub fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = reservation::port();
        let path = folder.path().display();
        // Without `user` a mosquitto that root starts would not be root, and could not write.
        let text = format!(
            "listener {port} 127.0.0.1\n\
             user root\n\
             allow_anonymous true\n\
             max_queued_messages 0\n\
             persistence true\n\
             persistence_location {path}/\n\
             log_dest stderr\n\
             log_type error\n\
             log_type warning\n\
             log_type notice\n\
             {more}\n"
        );
        fs::write(folder.path().join("mosquitto.conf"), text).expect("a configuration file");
        let mut hub = Self {
            process: None,
            port,
            folder,
        };
        hub.resume();
        hub
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often a client with this Client Identifier has connected, over all its starts.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn connections_of(&self, client_id: &str) -> usize {
        let log = self.log();
        let of_client = format!(" as {client_id} (");
        let connected = log.lines().filter(|it| it.contains(" connected from "));
        connected.filter(|it| it.contains(&of_client)).count()
    }

    /// What it has logged, over all its starts.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().expect("a running hub").log()
    }

    /// Stops it; it writes down what it holds.
    ///
    /// # Panics
    /// It does not run, or does not end well.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("a running hub");
        process.terminate();
        let status = process.wait();
        assert!(status.success(), "the hub ended with {status}");
    }

    /// Ends it with SIGKILL: it forgets what it has not written down, which is all that came since
    /// it was started.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("a running hub").kill();
    }

    /// Has it stand still, with SIGSTOP: connections to it are made, and nobody answers.
    ///
    /// # Panics
    /// It does not run.
    pub fn freeze(&mut self) {
        self.process.as_mut().expect("a running hub").signal("STOP");
    }

    /// Has it go on after [`Hub::freeze`].
    ///
    /// # Panics
    /// It does not run.
    pub fn thaw(&mut self) {
        self.process.as_mut().expect("a running hub").signal("CONT");
    }

    /// Starts it again.
    ///
    /// # Panics
    /// It runs already, or does not accept connections in time.
    #[track_caller]
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "the hub runs already");
        let mut command = Command::new(mosquitto());
        command
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"));
        let mut process = Process::start(&mut command, self.folder.path(), "mosquitto");
        until("the hub listens", || {
            if let Some(status) = process.status() {
                panic!("the hub ended with {status}: {}", process.log());
            }
            accepts(self.port)
        });
        self.process = Some(process);
    }
}

/// Debian puts it where only root's path leads.
fn mosquitto() -> &'static str {
    if fs::exists("/usr/sbin/mosquitto").unwrap_or_default() {
        "/usr/sbin/mosquitto"
    } else {
        "mosquitto"
    }
}
