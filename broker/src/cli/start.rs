//! `tidegate start`

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{EXIT_CONFIG, environment};
use crate::daemon::Daemon;
use crate::settings::Settings;
use crate::terminal::Terminal;

pub(super) fn run(conf: Option<&Path>) -> ExitCode {
    let settings = match Settings::load(conf, environment()) {
        Ok(settings) => settings,
        Err(error) => {
            Terminal.error(error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    start_log(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers())
        .thread_name("worker")
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(settings)),
        Err(error) => Err(format!("the runtime cannot be started: {error}")),
    };
    Terminal.exit_code(outcome)
}

fn start_log(settings: &Settings) {
    let (level, color) = settings.log(std::io::stderr().is_terminal());
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(color)
        .with_target(false)
        .with_writer(std::io::stderr);
    log.init();
}

async fn serve(settings: Settings) -> Result<(), String> {
    // Before anything is open, so that no signal is missed.
    let failed = |error| format!("signals cannot be handled: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let daemon = Daemon::start(settings)
        .await
        .map_err(|error| error.to_string())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
    }
    daemon.stop().await;
    tracing::info!("stopped");
    Ok(())
}
