//! Client libraries of other languages; their scripts are in `peers/`.

use std::io::{BufRead, BufReader, Write};
use std::process::{self, ChildStdin};
use std::sync::mpsc::SyncSender;
use std::thread;

use tempfile::TempDir;

use super::{Command, Driver, Event};
use crate::process::Process;

/// A script that runs.
struct Script {
    input: ChildStdin,
    // Before the folder, so that it has ended when its log goes.
    _process: Process,
    _folder: TempDir,
}

/// Starts a script.
pub(super) fn start(
    mut command: process::Command,
    name: &str,
    events: SyncSender<Event>,
) -> Box<dyn Driver> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::start_piped(&mut command, folder.path(), name);
    let input = process.take_input();
    let output = BufReader::new(process.take_output());
    // It ends with the process, whose output then ends.
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or_else(|error| Event::Failed {
                reason: format!("{error}: {line}"),
            });
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Box::new(Script {
        input,
        _process: process,
        _folder: folder,
    })
}

impl Driver for Script {
    fn tell(&mut self, command: &Command) {
        let line = serde_json::to_string(command).expect("plain data");
        writeln!(self.input, "{line}").expect("a running script");
    }
}
