//! A Tidegate as a child process: the edge, and the hub.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// A running broker; killed when dropped, and at its end when this process is killed.
pub(super) struct BrokerProcess {
    address: SocketAddr,
    configuration: PathBuf,
    child: Child,
}

impl BrokerProcess {
    /// Starts a broker on a free port, with a data directory of its own below `directory`.
    pub(super) async fn start(
        name: &str,
        directory: &Path,
        more_configuration: &str,
    ) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let configuration = directory.join(format!("{name}.conf"));
        let data = directory.join(name);
        let text = format!(
            "listeners.tcp.default {{ bind = \"{address}\" }}\n\
             store {{ path = \"{}\" }}\n\
             log {{ level = \"error\" }}\n\
             {more_configuration}",
            data.display()
        );
        fs::write(&configuration, text).map_err(|error| error.to_string())?;
        let child = spawn(&configuration)?;
        let mut broker = Self {
            address,
            configuration,
            child,
        };
        broker.wait_ready().await?;
        Ok(broker)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the process without warning.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|error| error.to_string())
    }

    /// Starts a killed process again.
    pub(super) async fn start_again(&mut self) -> Result<(), String> {
        self.child = spawn(&self.configuration)?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("a broker of the demonstration ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err("a broker of the demonstration does not start".to_owned());
            }
            sleep(PROBE_PAUSE).await;
        }
        Ok(())
    }
}

fn spawn(configuration: &Path) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Command::new(program)
        .args(["start", "--while-stdin", "--conf"])
        .arg(configuration)
        .stdin(Stdio::piped())
        // Only the demonstration talks to the terminal; errors still show.
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())
}

/// A loopback address that is free at this moment.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
