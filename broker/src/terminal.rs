//! Writing for a person: standard output and standard error, one line at a time.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// How text stands out, as an SGR parameter of ECMA-48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ink {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// The terminal. Nobody reading is not an error: the output of `tidegate sub | head` ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal;

impl Terminal {
    /// Prints a line; false if nobody reads any more.
    pub(crate) fn line(self, text: impl Display) -> bool {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    }

    /// Whether standard output is a terminal on which lines can be drawn again.
    pub(crate) fn is_live(self) -> bool {
        is_live(&io::stdout())
    }

    /// Prints lines in place of the last `drawn` ones; false if nobody reads any more. Those that
    /// are too long for the terminal are cut, so that each takes one line of it.
    pub(crate) fn redraw(self, drawn: usize, lines: &[String]) -> bool {
        let mut text = "\x1b[?7l".to_owned();
        if drawn > 0 {
            text += &format!("\x1b[{drawn}A");
        }
        for line in lines {
            text += &format!("\r\x1b[K{line}\n");
        }
        text += "\x1b[?7h";
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_ok()
    }

    /// Text that stands out on standard output, where that [has colour](has_colour).
    pub(crate) fn inked(self, ink: Ink, text: &str) -> String {
        if has_colour(&io::stdout()) {
            format!("\x1b[{}m{text}\x1b[0m", ink as u8)
        } else {
            text.to_owned()
        }
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

fn is_live(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// Whether a stream is a terminal with colours, and nobody asks for none with `NO_COLOR`.
pub(crate) fn has_colour(stream: &impl IsTerminal) -> bool {
    is_live(stream) && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// A number whose thousands are apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let numbers = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }
}
