//! The configuration as the daemon's parts take it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bridges::{BrokerId, Guarding, LoopGuard};
use mqtt::QoS;
use mqtt::connection::Limits;
use mqtt::session::QueueLimits;
use persistence::{CrashPoint, Volume};

use crate::config::{
    self, Change, Config, ConfigError, ConfiguredExtensions, Loaded, LogColor, LogLevel,
    NamedGateway, Notice, Sources,
};
use crate::connection::Access;
use crate::daemon::state_directory;
use crate::exchange::{self, ExchangeLimits};
use crate::memory;
use crate::retained::RetainedLimits;

/// Up to this many processors one is left to the machine's other programs: a second worker costs
/// a gateway more wake-ups than it brings.
const SMALL_MACHINE: usize = 4;
/// Bytes of QoS 0 messages that wait for one client.
const LIVE_BYTES_MAX: usize = 1 << 20;
/// How long a connection has nothing to do before its actor, some 6 KiB, is given up. It costs a
/// few microseconds to make it again, so devices that send every few seconds keep theirs.
const PASSIVE_AFTER: Duration = Duration::from_secs(5);
/// How long a large packet may take to come in while others wait for its room; then its
/// connection ends (0x97). That is 17 KiB/s for one of 1 MiB.
const PACKET_TIME_MAX: Duration = Duration::from_secs(60);

/// A checked configuration with everything that it describes.
pub(crate) struct Settings {
    config: Config,
    gateways: Vec<NamedGateway>,
    extensions: ConfiguredExtensions,
    notices: Vec<Notice>,
    sources: Sources,
    crash_point: Option<CrashPoint>,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) name: String,
    pub(crate) bind: String,
    /// Whether it listens on every address of the machine.
    pub(crate) is_any: bool,
    /// Connections that the system lets wait.
    pub(crate) backlog: u16,
    pub(crate) access: Access,
}

impl Settings {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first thing that cannot be understood or cannot work, with its place.
    pub(crate) fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let Loaded {
            config,
            gateways,
            extensions,
            notices,
            sources,
        } = config::load(path, environment)?;
        Ok(Self {
            config,
            gateways,
            extensions,
            notices,
            sources,
            crash_point: None,
        })
    }

    /// Reads the files that these gateways and bridges read while they run, as they do then. They
    /// run without them, and say what is missing. Blocks.
    ///
    /// # Errors
    /// The first file that cannot be used, with the place of its key.
    pub(crate) fn check_files(&self, is_wanted: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let mut wanted = self.gateways.iter().filter(|(name, _)| is_wanted(name));
        wanted.try_for_each(|it| self.sources.check_files(it))
    }

    /// Where the process ends, for crash tests only.
    pub(crate) const fn set_crash_point(&mut self, point: Option<CrashPoint>) {
        self.crash_point = point;
    }

    /// What the configuration leaves out.
    pub(crate) fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// What `tidegate check` says of a configuration that is fine.
    pub(crate) fn summary(&self) -> String {
        let listeners = self
            .listeners()
            .into_iter()
            .map(|it| match it.is_any {
                true => format!("{} (every address)", it.bind),
                false => it.bind,
            })
            .collect::<Vec<_>>();
        let gateways = self
            .gateways
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>();
        let or_none = |names: String| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names
            }
        };
        format!(
            "configuration is fine; listeners: {}; gateways and bridges: {}",
            or_none(listeners.join(", ")),
            or_none(gateways.join(", "))
        )
    }

    /// Worker threads.
    pub(crate) fn workers(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let configured = self.config.runtime.workers;
        configured.map_or_else(|| default_workers(processors), usize::from)
    }

    /// The log level, and whether lines are coloured for an output that has colour or has not.
    pub(crate) fn log(&self, has_colour: bool) -> (tracing::Level, bool) {
        let level = match self.config.log.level {
            LogLevel::Trace => tracing::Level::TRACE,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Error => tracing::Level::ERROR,
        };
        let color = match self.config.log.color {
            LogColor::Auto => has_colour,
            LogColor::Always => true,
            LogColor::Never => false,
        };
        (level, color)
    }

    /// The listeners that are enabled.
    pub(crate) fn listeners(&self) -> Vec<ListenerSettings> {
        let enabled = self
            .config
            .listeners
            .tcp
            .iter()
            .filter(|(_, listener)| listener.enable);
        let listeners = enabled.map(|(name, listener)| ListenerSettings {
            name: name.clone(),
            bind: listener.bind.to_string(),
            is_any: listener.bind.is_any(),
            backlog: listener.backlog,
            access: self.access(listener),
        });
        listeners.collect()
    }

    /// What a listener grants: the common limits, with what it says itself.
    fn access(&self, listener: &config::TcpListener) -> Access {
        let mqtt = &self.config.mqtt;
        let mut limits = self.limits();
        if let Some(size) = listener.max_packet_size {
            limits.packet_bytes_max = u32::try_from(size.bytes()).unwrap_or(u32::MAX);
        }
        let allow_anonymous = listener
            .allow_anonymous
            .unwrap_or_else(|| mqtt.allows_anonymous_on(&listener.bind));
        let connect_timeout = listener.connect_timeout.unwrap_or(mqtt.connect_timeout);
        Access::new(
            limits,
            allow_anonymous,
            connect_timeout.0,
            to_usize(listener.max_connections),
            to_usize(listener.max_half_open),
        )
    }

    /// What one connection may do.
    pub(crate) fn limits(&self) -> Limits {
        let mqtt = &self.config.mqtt;
        let durability = self.config.store.durability_rules().otherwise();
        Limits {
            packet_bytes_max: u32::try_from(mqtt.max_packet_size.bytes()).unwrap_or(u32::MAX),
            receive_maximum: mqtt.receive_maximum,
            inflight_messages_max: mqtt.max_inflight_window,
            // From 1 to 10: no precision that matters is lost.
            #[expect(clippy::cast_possible_truncation, reason = "see above")]
            keep_alive_factor: mqtt.keepalive_multiplier as f32,
            session_expiry_max: mqtt.max_session_expiry_interval.0,
            session_expiry_v3: mqtt.session_expiry_interval_v3.0,
            server_keep_alive: mqtt.server_keepalive,
            client_id_bytes_max: mqtt.max_clientid_len.into(),
            topic_bytes_max: mqtt.max_topic_len.into(),
            topic_levels_max: mqtt.max_topic_levels.into(),
            user_properties_max: mqtt.max_user_properties.into(),
            subscriptions_max: to_usize(mqtt.max_subscriptions),
            topic_alias_max: mqtt.max_topic_alias,
            client_topic_alias_max: mqtt.max_client_topic_alias,
            qos_max: QoS::from_u8(mqtt.max_qos_allowed).unwrap_or(QoS::ExactlyOnce),
            retain_available: mqtt.retain_available,
            wildcard_subscription_available: mqtt.wildcard_subscription,
            subscription_identifier_available: mqtt.subscription_identifier,
            shared_subscription_available: mqtt.shared_subscription,
            exclusive_subscription_available: mqtt.exclusive_subscription,
            durability: self
                .config
                .store
                .enable
                .then(|| durability.to_string().into()),
            response_information: mqtt.response_information.as_deref().map(Into::into),
            server_reference: mqtt.server_reference.as_deref().map(Into::into),
        }
    }

    /// Bounds of sessions and of retained messages.
    pub(crate) fn bounds(&self) -> ExchangeLimits {
        let Config {
            mqtt,
            retain,
            store,
            runtime,
            ..
        } = &self.config;
        let queue_rules = store.queue_rules();
        ExchangeLimits {
            queue: QueueLimits {
                messages_max: to_usize(mqtt.max_mqueue_len),
                bytes_max: to_usize(mqtt.max_queue_bytes.bytes()),
                live_bytes_max: LIVE_BYTES_MAX,
                stored_messages_max: store.max_messages,
                stored_bytes_max: store.max_bytes.bytes(),
                when_full: store.when_full.into(),
                holds_encoded: queue_rules.is_plain(),
            }
            .into(),
            queue_rules,
            sessions_max: to_usize(mqtt.max_sessions),
            durability: store.durability_rules(),
            passive_after: PASSIVE_AFTER,
            memory_limit: runtime
                .memory_limit
                .map_or_else(memory::default_limit, |it| it.bytes()),
            packet_time_max: PACKET_TIME_MAX,
            share_strategy: mqtt.shared_subscription_strategy.into(),
            retained: RetainedLimits {
                messages_max: to_usize(retain.max_messages),
                payload_bytes_max: to_usize(retain.max_payload_size.bytes()),
                bytes_max: to_usize(retain.max_size.bytes()),
            },
        }
    }

    /// How the store works; none if there is to be none.
    pub(crate) fn store_options(&self) -> Option<persistence::Options> {
        let store = &self.config.store;
        store.enable.then(|| persistence::Options {
            commit_interval: store.commit_interval.0,
            commit_operations: to_usize(store.commit_messages),
            pending_bytes_max: to_usize(store.max_pending_bytes.bytes()),
            durability: store.durability_rules().highest(),
            crash_point: self.crash_point,
            quota: store.quota(),
        })
    }

    /// The file system that the store is on; none without a store, or if it cannot be looked at.
    pub(crate) fn volume(&self) -> Option<Volume> {
        let options = self.store_options()?;
        let directory = self.store_directory().or_else(state_directory)?;
        Volume::of(&directory, &options.quota).ok()
    }

    /// Where the store is, if the configuration says so.
    pub(crate) fn store_directory(&self) -> Option<PathBuf> {
        self.config.store.path.clone()
    }

    /// What goes beyond MQTT.
    pub(crate) fn take_extensions(&mut self) -> ConfiguredExtensions {
        std::mem::take(&mut self.extensions)
    }

    /// Time between two announcements below `$SYS`; none if there are to be none.
    pub(crate) fn announcement_interval(&self) -> Option<Duration> {
        let interval = self.config.sys_topics.interval.0;
        (!interval.is_zero()).then_some(interval)
    }

    /// The guard against loops, of a broker that its store knows under this identifier.
    pub(crate) fn loop_guard(&self, stored: Option<&str>) -> LoopGuard {
        let configured = self.config.broker_id().ok().flatten();
        let id = configured.or_else(|| BrokerId::new(stored?).ok());
        exchange::loop_guard(id, self.guarding())
    }

    /// When messages are guarded against loops.
    pub(crate) fn guarding(&self) -> Guarding {
        self.config.bridges.guarding()
    }

    /// The gateways and bridges.
    pub(crate) fn gateways(&self) -> &[NamedGateway] {
        &self.gateways
    }

    /// The bridges, whether they run or not, with their names among these.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = (String, &bridges::Config)> {
        let bridges = self.config.bridges.mqtt.iter();
        bridges.map(|(name, config)| (format!("bridge/{name}"), config))
    }

    /// The names of those that are configured and do not run.
    pub(crate) fn paused(&self) -> Vec<String> {
        self.config.paused().collect()
    }

    /// What becomes of each gateway and bridge when this is the configuration.
    pub(crate) fn gateway_changes(&self, new: &Self) -> BTreeMap<String, Change> {
        self.config.gateway_changes(&new.config)
    }

    /// The sections of the new configuration that differ and wait for the next start.
    pub(crate) fn fixed_changes(&self, new: &Self) -> Vec<&'static str> {
        self.config.fixed_changes(&new.config)
    }

    /// Takes over what can be taken over while the daemon runs: gateways and bridges.
    pub(crate) fn take_gateways(&mut self, new: Self) {
        self.config.gateways = new.config.gateways;
        self.config.bridges = new.config.bridges;
        self.gateways = new.gateways;
    }
}

/// Worker threads for a machine with so many processors.
fn default_workers(processors: usize) -> usize {
    if processors > SMALL_MACHINE {
        processors
    } else {
        processors.saturating_sub(1).max(1)
    }
}

/// A limit as a size in memory; more than fits is no limit.
fn to_usize(limit: impl TryInto<usize>) -> usize {
    limit.try_into().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/tidegate.conf");

    #[test]
    fn the_shipped_configuration_states_the_defaults() {
        let settings = Settings::load(Some(Path::new(SHIPPED)), []).unwrap();
        assert_eq!(settings.config, Config::default());
    }

    #[test]
    fn one_processor_of_a_small_machine_is_left_to_others() {
        let workers = [1, 2, 3, 4, 5, 16].map(default_workers);
        assert_eq!(workers, [1, 1, 2, 3, 5, 16]);
    }

    #[test]
    fn the_examples_in_the_shipped_configuration_work() {
        let text = std::fs::read_to_string(SHIPPED).unwrap();
        // From the first example on, a line's leading `# ` goes; a second one is a comment.
        let start = text.find("# Topics of PUBLISH").unwrap();
        let (_, examples) = text.split_at(start);
        let lines = examples
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line));
        let is_sentence = |line: &str| {
            let code = line.split(" # ").next().unwrap_or_default();
            code.ends_with('.') || code.contains(": ")
        };
        let examples: Vec<&str> = lines.filter(|line| !is_sentence(line)).collect();
        let file = tempfile::Builder::new().suffix(".conf").tempfile().unwrap();
        std::fs::write(file.path(), examples.join("\n")).unwrap();
        let settings = Settings::load(Some(file.path()), []).unwrap();
        let names: Vec<&str> = settings
            .gateways
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let rules = settings.bounds().queue_rules;
        assert_eq!((rules.lanes.len(), rules.latest_only.len()), (2, 1));
        let extensions = &settings.extensions;
        assert_eq!(extensions.extensions.rewrites.publish.len(), 2);
        assert_eq!(extensions.extensions.rewrites.subscribe.len(), 1);
        assert_eq!(extensions.extensions.auto_subscriptions.len(), 1);
        assert_eq!(extensions.preset_sessions.len(), 1);
        assert_eq!(names, ["zmq/plant", "nng/line", "dds/robot", "bridge/hub"]);
        let mut bridge = settings.config.bridges.mqtt["hub"].clone();
        let default = bridges::Config::default();
        bridge.server.clone_from(&default.server);
        bridge.forwards.clone_from(&default.forwards);
        bridge.subscription.clone_from(&default.subscription);
        assert_eq!(bridge, default, "a bridge's values are the defaults");
    }
}
