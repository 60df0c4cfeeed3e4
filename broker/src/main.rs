//! The `tidegate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker::run()
}
