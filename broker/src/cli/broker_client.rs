//! What `pub` and `sub` have in common: which broker, and a client for it.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use crate::terminal::Terminal;
use clap::Args;
use rumqttc::{AsyncClient, Broker, EventLoop, MqttOptions};

/// Requests that wait inside the client library.
const REQUESTS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker to talk to. The letters are those of Mosquitto's clients.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The broker's host.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port.
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// The Client Identifier; one is made up if absent.
    #[arg(short = 'i', long, value_name = "CLIENT_ID")]
    id: Option<String>,
    /// The user name.
    #[arg(short, long)]
    username: Option<String>,
    /// The password.
    #[arg(short = 'P', long)]
    password: Option<String>,
    /// Seconds of the Keep Alive.
    #[arg(short, long, default_value_t = 60)]
    keepalive: u16,
}

impl Target {
    pub(super) fn client(
        &self,
        set: impl FnOnce(&mut MqttOptions),
    ) -> Result<(AsyncClient, EventLoop), String> {
        let id = self
            .id
            .clone()
            .unwrap_or_else(|| format!("tidegate-{}", std::process::id()));
        let mut options = MqttOptions::new(id, Broker::tcp(&self.host, self.port));
        options
            .set_keep_alive(self.keepalive)
            .set_connect_timeout(CONNECT_TIMEOUT);
        if let Some(username) = &self.username {
            let password = self.password.clone().unwrap_or_default();
            options.set_credentials(username.clone(), password);
        }
        // The broker's own limit decides, not the library's.
        options.set_unlimited_incoming_packet_size();
        set(&mut options);
        AsyncClient::builder(options)
            .capacity(REQUESTS)
            .try_build()
            .map_err(|error| error.to_string())
    }

    /// Why the broker cannot be talked to.
    pub(super) fn failed(&self, error: impl std::fmt::Display) -> String {
        format!("{}:{}: {error}", self.host, self.port)
    }
}

/// Runs a client's conversation; an error is printed as one line.
pub(super) fn block_on(work: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.to_string()),
    };
    Terminal.exit_code(outcome)
}

/// A QoS as the command line gives it.
pub(super) fn parse_qos(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("QoS is 0, 1 or 2".to_owned()),
    }
}

pub(super) const fn library_qos(qos: u8) -> rumqttc::QoS {
    match qos {
        0 => rumqttc::QoS::AtMostOnce,
        1 => rumqttc::QoS::AtLeastOnce,
        _ => rumqttc::QoS::ExactlyOnce,
    }
}
