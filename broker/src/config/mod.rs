//! The daemon's configuration: a HOCON or TOML file, overridden by the environment.
//!
//! Both formats are read into one tree whose keys and values know their places, so that every
//! mistake is reported with file, line and column. The `config` crate merges the trees.

mod bind_address;
mod change;
mod deserializer;
mod endpoints;
mod environment;
mod error;
mod extensions;
mod gateways;
mod hints;
mod hocon;
mod layer;
mod listeners;
mod log;
mod mismatch;
mod mqtt;
mod node;
mod notice;
mod place;
mod problem;
mod retain;
mod runtime;
mod source_file;
mod sources;
mod store;
mod toml_file;

use std::path::Path;

use bridges::{BrokerId, BrokerIdError};
use serde::Deserialize;

pub(crate) use self::change::Change;
pub(crate) use self::environment::PREFIX as ENVIRONMENT_PREFIX;
pub(crate) use self::error::ConfigError;
use self::extensions::{AutoSubscribe, Delayed, Preset, Rewrite, SysTopics};
pub(crate) use self::gateways::NamedGateway;
pub(crate) use self::listeners::{Listeners, TcpListener};
pub(crate) use self::log::{Log, LogColor, LogLevel};
pub(crate) use self::mqtt::Mqtt;
pub(crate) use self::notice::Notice;
pub(crate) use self::retain::Retain;
pub(crate) use self::runtime::Runtime;
pub(crate) use self::sources::Sources;
pub(crate) use self::store::Store;

use self::gateways::{Bridges, Gateways};
use self::problem::Problem;
use crate::extensions::{Extensions, PresetSession};

/// The whole configuration. Every key has a default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What tells this broker from others that its messages can reach: 1 to 64 letters, digits and
    /// `-_.`. Random and kept in the store if absent.
    pub(crate) node_id: Option<String>,
    /// Where clients connect.
    pub(crate) listeners: Listeners,
    /// The protocol's limits and time spans.
    pub(crate) mqtt: Mqtt,
    /// Retained messages.
    pub(crate) retain: Retain,
    /// Messages that are published later.
    pub(crate) delayed: Delayed,
    /// Topics that are replaced.
    pub(crate) rewrite: Vec<Rewrite>,
    /// Subscriptions that every client gets.
    pub(crate) auto_subscribe: AutoSubscribe,
    /// Sessions that are there before their client.
    pub(crate) preset: Preset,
    /// What the daemon says of itself.
    pub(crate) sys_topics: SysTopics,
    /// What survives a restart.
    pub(crate) store: Store,
    /// What is logged.
    pub(crate) log: Log,
    /// The machine's resources.
    pub(crate) runtime: Runtime,
    /// Brokerless protocols.
    pub(crate) gateways: Gateways,
    /// Upstream brokers.
    pub(crate) bridges: Bridges,
}

/// A configuration with what is built from it.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) gateways: Vec<NamedGateway>,
    pub(crate) extensions: ConfiguredExtensions,
    pub(crate) notices: Vec<Notice>,
    pub(crate) sources: Sources,
}

/// What goes beyond MQTT.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredExtensions {
    pub(crate) extensions: Extensions,
    pub(crate) preset_sessions: Vec<PresetSession>,
}

/// Reads the file at `path`, if there is one to read, and the settings among the variables in
/// `environment`, which override it. The extension `.toml` means TOML, any other HOCON.
///
/// # Errors
///
/// If anything in the configuration is not understood or not allowed; nothing is ignored.
pub(crate) fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut sources = Sources::new(environment);
    if let Some(path) = path {
        sources.add_file(path)?;
    }
    finish(sources)
}

/// Like [`load`], with the text that the file at `path` is said to have.
///
/// # Errors
///
/// As [`load`].
#[cfg(test)]
pub(crate) fn load_text(
    path: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut sources = Sources::new(environment);
    sources.add_text(path, text)?;
    finish(sources)
}

fn finish(mut sources: Sources) -> Result<Loaded, ConfigError> {
    sources.add_environment()?;
    let mut config: Config = sources.deserialize()?;
    let cache = config.bridges.take_cache();
    let located = |problem: Problem| sources.locate(&problem);
    config.validate().map_err(located)?;
    let gateways = gateways::build(&config.gateways, &config.bridges).map_err(located)?;
    let extensions = config.extensions().map_err(located)?;
    let mut notices = gateways::notices(&config.bridges).collect::<Vec<_>>();
    notices.splice(0..0, sources.take_notices().into_iter().chain(cache));
    Ok(Loaded {
        config,
        gateways,
        extensions,
        notices,
        sources,
    })
}

impl Config {
    /// Checks what a single value cannot tell: ranges, and values that contradict each other.
    fn validate(&self) -> Result<(), Problem> {
        self.broker_id()
            .map_err(|error| Problem::at(&["node_id"], &error.to_string()))?;
        self.listeners.validate()?;
        endpoints::check(self)?;
        self.mqtt.validate()?;
        self.delayed.validate()?;
        self.sys_topics.validate()?;
        self.store.validate()?;
        self.runtime.validate()
    }

    /// The broker's identifier, if it is configured.
    pub(crate) fn broker_id(&self) -> Result<Option<BrokerId>, BrokerIdError> {
        self.node_id.as_deref().map(BrokerId::new).transpose()
    }

    /// What goes beyond MQTT, built from its description.
    fn extensions(&self) -> Result<ConfiguredExtensions, Problem> {
        let delayed = &self.delayed;
        let messages_max = usize::try_from(delayed.max_delayed_messages).unwrap_or(usize::MAX);
        let expiry = self.mqtt.max_session_expiry_interval;
        Ok(ConfiguredExtensions {
            extensions: Extensions {
                delayed_messages_max: delayed.enable.then_some(messages_max),
                rewrites: extensions::rewrites(&self.rewrite)?,
                auto_subscriptions: self.auto_subscribe.build()?,
                client_events: self.sys_topics.client_events,
            },
            preset_sessions: self.preset.build(expiry)?,
        })
    }
}

#[cfg(test)]
mod tests;
