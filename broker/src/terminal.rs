//! Writing for a person: standard output and standard error, one line at a time.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// The terminal. Nobody reading is not an error: the output of `tidegate sub | head` ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal;

impl Terminal {
    /// Prints a line; false if nobody reads any more.
    pub(crate) fn line(self, text: impl Display) -> bool {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    }

    /// Prints bytes and a line break; false if nobody reads any more.
    pub(crate) fn bytes(self, bytes: &[u8]) -> bool {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .is_ok()
    }

    /// Prints an error as one line.
    pub(crate) fn error(self, text: impl Display) {
        let mut err = io::stderr().lock();
        // There is no other place to say it.
        writeln!(err, "tidegate: {text}").ok();
    }

    /// Shows how far something is, in place of what was shown before; only to a person.
    pub(crate) fn progress(self, text: impl Display) {
        let mut err = io::stderr().lock();
        if err.is_terminal() {
            write!(err, "\r\x1b[K{text}")
                .and_then(|()| err.flush())
                .ok();
        }
    }

    /// The exit code of a command; a failure is printed as one line.
    pub(crate) fn exit_code(self, outcome: Result<(), String>) -> ExitCode {
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                self.error(error);
                ExitCode::FAILURE
            }
        }
    }
}
