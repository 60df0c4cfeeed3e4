//! Peers in other languages that are driven by lines; the scripts are in `peers/`.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::process::Process;
use crate::wait::until;

/// Cyclone DDS leaves the loopback interface out unless it is told.
const CYCLONE: &str = "<CycloneDDS><Domain><General><Interfaces>\
    <NetworkInterface name=\"lo\" multicast=\"true\"/>\
    </Interfaces></General></Domain></CycloneDDS>";

/// A peer that runs.
#[derive(Debug)]
pub struct Peer {
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
    _process: Process,
    _folder: TempDir,
}

impl Peer {
    /// Starts `peers/SCRIPT ROLE PLACE` and waits until it is ready.
    ///
    /// # Panics
    /// It never is.
    #[must_use]
    #[track_caller]
    pub fn start(script: &str, role: &str, place: impl Display) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = python(script);
        command.arg(role).arg(place.to_string());
        let name = format!("{script} {role}");
        let mut process = Process::start_piped(&mut command, folder.path(), &name);
        let input = process.take_input();
        let output = BufReader::new(process.take_output());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let printed = Arc::clone(&lines);
        // It ends with the process, whose output then ends.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                printed.lock().expect("no reader panics").push(line);
            }
        });
        let peer = Self {
            input,
            lines,
            _process: process,
            _folder: folder,
        };
        until(&format!("{name} is ready"), || peer.has_printed("ready"));
        peer
    }

    /// Tells it to do something.
    ///
    /// # Panics
    /// It has ended.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("a running peer");
    }

    /// Whether it has printed this line.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn has_printed(&self, line: &str) -> bool {
        let lines = self.lines.lock().expect("no reader panics");
        lines.iter().any(|it| it == line)
    }

    /// The messages that it got, as topic and number.
    ///
    /// # Panics
    /// It printed something else.
    #[must_use]
    pub fn received(&self) -> Vec<(String, u64)> {
        let lines = self.lines.lock().expect("no reader panics");
        let messages = lines.iter().filter_map(|line| line.strip_prefix("got "));
        let messages = messages.map(|message| {
            let (topic, number) = message.rsplit_once(' ').expect("topic and number");
            (topic.to_owned(), number.parse().expect("a number"))
        });
        messages.collect()
    }
}

/// The command that runs a script of `peers/`.
///
/// # Panics
/// There is no Python environment.
#[must_use]
pub fn python(script: &str) -> Command {
    let root = crate::workspace();
    let python = root.join(".venv/bin/python");
    let exists = python.exists();
    assert!(
        exists,
        "there is no .venv; run `sh etc/setup.sh test` first"
    );
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("tests/peers").join(script));
    command.env("CYCLONEDDS_URI", CYCLONE);
    command
}

/// The command that runs a script of `peers/` with Node.js.
///
/// # Panics
/// There is no Node.js.
#[must_use]
pub fn node(script: &str) -> Command {
    let environment = crate::workspace().join(".venv");
    let node = environment.join("bin/node");
    let exists = node.exists();
    assert!(
        exists,
        "there is no Node.js in .venv; run `sh etc/setup.sh test` first"
    );
    let mut command = Command::new(node);
    command.arg(crate::workspace().join("tests/peers").join(script));
    command.env("NODE_PATH", environment.join("lib/node_modules"));
    command
}
