//! `tidegate check`

use std::path::Path;
use std::process::ExitCode;

use super::{EXIT_CONFIG, load_with_files};
use crate::terminal::Terminal;

pub(super) fn run(conf: Option<&Path>) -> ExitCode {
    match load_with_files(conf) {
        Ok(settings) => {
            for notice in settings.notices() {
                Terminal.error(notice);
            }
            let volume = settings.volume();
            if let Some(warning) = volume.and_then(|it| it.warning()) {
                Terminal.error(warning);
            }
            Terminal.line(settings.summary());
            ExitCode::SUCCESS
        }
        Err(error) => {
            Terminal.error(error);
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
