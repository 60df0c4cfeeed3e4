//! Client libraries of other languages; their scripts are in `peers/`.

use std::io::{BufRead, BufReader, Write};
use std::process::{self, Child, ChildStdin, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use super::{Command, Driver, Event};

/// A script that runs. It also ends when this process does, because its input does.
struct Script {
    child: Child,
    input: ChildStdin,
}

/// Starts a script.
pub(super) fn start(
    mut command: process::Command,
    events: SyncSender<Event>,
) -> Box<dyn Driver + Send> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a running script");
    let input = child.stdin.take().expect("a piped input");
    let output = BufReader::new(child.stdout.take().expect("a piped output"));
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
    Box::new(Script { child, input })
}

impl Driver for Script {
    fn tell(&mut self, command: &Command) {
        let line = serde_json::to_string(command).expect("plain data");
        writeln!(self.input, "{line}").expect("a running script");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended; what matters is that it has.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
