//! `tidegate start`

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use persistence::CrashPoint;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::{Configured, EXIT_CONFIG, environment};
use crate::allocator;
use crate::daemon::Daemon;
use crate::log_limit::LogLimit;
use crate::settings::Settings;
use crate::terminal::{Terminal, has_colour};

/// How long threads have to end when everything has stopped: one may read a certificate of a bridge
/// from a disk that does not answer.
const THREADS_TIME_MAX: Duration = Duration::from_secs(1);

/// Run the broker.
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    configured: Configured,
    /// Stop when standard input, which has to be a pipe, ends: whoever holds its other end is gone.
    #[arg(long, hide = true)]
    while_stdin: bool,
    /// End with SIGKILL where the store is at this place for the n-th time, such as
    /// before_commit:17; for crash tests.
    #[arg(long, hide = true, value_name = "PLACE:N")]
    crash_at: Option<CrashPoint>,
}

pub(super) fn run(start: &Start) -> ExitCode {
    let settings = match Settings::load(start.configured.conf.as_deref(), environment()) {
        Ok(mut settings) => {
            settings.set_crash_point(start.crash_at);
            settings
        }
        Err(error) => {
            Terminal.error(error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    start_log(&settings);
    if let Err(error) = allocator::configure() {
        tracing::warn!(%error, "memory that is free is given back to the system late");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers())
        .thread_name("worker")
        .on_thread_park(allocator::flush_if_much_is_freed)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(serve(settings, start));
            runtime.shutdown_timeout(THREADS_TIME_MAX);
            outcome
        }
        Err(error) => Err(format!("the runtime cannot be started: {error}")),
    };
    Terminal.exit_code(outcome)
}

fn start_log(settings: &Settings) {
    let (level, color) = settings.log(has_colour(&io::stderr()));
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(color)
        .with_target(false)
        .with_writer(io::stderr)
        .map_event_format(LogLimit::new);
    log.init();
    for notice in settings.notices() {
        notice.log();
    }
}

async fn serve(settings: Settings, start: &Start) -> Result<(), String> {
    // Before anything is open, so that no signal is missed.
    let failed = |error| format!("signals cannot be handled: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut parent = None;
    if start.while_stdin {
        let pipe = input_pipe().map_err(|error| format!("standard input: {error}"))?;
        parent = Some(pipe);
    }
    let mut daemon = Daemon::start(settings)
        .await
        .map_err(|error| error.to_string())?;
    let mut parent = pin!(ended(parent));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                reload(&mut daemon, start.configured.conf.as_deref()).await;
                continue;
            }
            _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
            _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
            () = &mut parent => tracing::info!("stopping because standard input ended"),
        }
        break;
    }
    let stopped = daemon.stop().await;
    tracing::info!("stopped");
    stopped.map_err(|error| error.to_string())
}

/// Reads the configuration anew. One that is wrong changes nothing; nor does an empty one, which
/// would take every bridge away: an editor may have emptied it to write it.
async fn reload(daemon: &mut Daemon, conf: Option<&Path>) {
    let text = conf.and_then(|it| fs::read_to_string(it).ok());
    if text.is_some_and(|it| it.trim().is_empty()) {
        tracing::error!("the configuration file is empty, nothing is changed");
        return;
    }
    let outcome = match Settings::load(conf, environment()) {
        Ok(settings) => {
            for notice in settings.notices() {
                notice.log();
            }
            daemon.reload(settings).await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "the new configuration is wrong, nothing is changed");
    }
}

fn input_pipe() -> io::Result<pipe::Receiver> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    pipe::Receiver::from_owned_fd(input)
}

/// Reads until the pipe has no writer; never returns without a pipe.
async fn ended(pipe: Option<pipe::Receiver>) {
    let Some(mut pipe) = pipe else {
        return std::future::pending().await;
    };
    let mut ignored = [0; 64];
    while pipe.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}
