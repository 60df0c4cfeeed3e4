//! What the operator writes under `bridges.mqtt.<name>`; the key names are NanoMQ's.

mod batch;
mod check;
mod connect;
mod endpoint;
mod flag;
mod no_effect;
mod properties;
mod proxy;
mod rule;
mod tcp;
mod tls;
mod will;

use gateway::{ByteSize, ConfigError, ConfiguredDuration, Notification, Secret};
use mqtt::{QoS, TopicName};
use serde::Deserialize;

pub use self::batch::Batch;
pub use self::connect::{ConnProperties, SubProperties};
pub use self::flag::Flag;
pub use self::no_effect::NoEffect;
pub use self::properties::Properties;
pub use self::rule::{Forward, Subscription};
pub use self::will::Will;
use crate::site::Site;
pub(crate) use endpoint::write_authority;
pub use endpoint::{Endpoint, InvalidEndpoint, Transport};
pub use proxy::{InvalidProxyUrl, Proxy, ProxyProtocol, ProxyUrl};
pub use tcp::Tcp;
pub use tls::Tls;

/// One bridge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// False leaves the bridge out; its outbox stays. Default true.
    pub enable: bool,
    /// The hub, such as `mqtt-tcp://host:port`. It may be left out if there are `servers`.
    pub server: String,
    /// Further hubs. They are tried in their order, behind `server`, when a hub cannot be reached or
    /// is lost, and from the beginning behind the last. With several hubs QoS 2 is sent with QoS 1,
    /// because each has a session of its own. Default none.
    pub servers: Vec<String>,
    /// Whether `hybrid_servers` are tried too. Default false.
    pub hybrid_bridging: bool,
    /// Hubs behind `server` and `servers`. Default none.
    pub hybrid_servers: Vec<String>,
    /// The protocol: 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5. Default 5. A hub that refuses it, or
    /// closes the connection three times in a row without an answer, is spoken to with 4, unless it
    /// turns out to answer; connections that are made an hour later or more begin with this again.
    pub proto_ver: u8,
    /// The Client Identifier at the hub, from `${gateway}` (the bridge's name), `${HOSTNAME}` and
    /// `${VIN}`; `${HOSTNAME}-${gateway}` if absent. If there is a VIN it stands at the end, unless
    /// it stands elsewhere. It names the session that the hub keeps, so it must stay the same.
    pub clientid: Option<String>,
    /// The user name at the hub, from the same placeholders.
    pub username: Option<String>,
    /// The password at the hub.
    pub password: Option<Secret>,
    /// The Keep Alive towards the hub, 5 to 65,535 seconds. Default 30s. The hub is asked whether it
    /// is there (PINGREQ) every half of it. If nothing has come when it is to be asked again, it
    /// counts as lost: at most one Keep Alive after it fell silent.
    pub keepalive: ConfiguredDuration,
    /// True makes the hub forget the bridge's session at every connect. Default false.
    pub clean_start: bool,
    /// How long the hub is asked to keep the bridge's session, whole seconds up to 4,294,967,295,
    /// which is for ever. Default 24h; MQTT 3 has no such time.
    pub session_expiry_interval: Option<ConfiguredDuration>,
    /// The longest pause between two attempts to connect, more than 0. Default 60s.
    pub backoff_max: ConfiguredDuration,
    /// With several hubs: how often one that has lost those before it in the list tries them again,
    /// How often a bridge that is served by one of several hubs tries those before it in the list
    /// again, 1s to 86,400s. It leaves its hub when one of them has accepted it. Default 30s.
    pub fail_back_interval: ConfiguredDuration,
    /// How long an attempt to connect may take, more than 0. Default 10s.
    pub connect_timeout: ConfiguredDuration,
    /// Messages that may be unacknowledged in each direction, 1 to 4,096. Default 256; at most 20
    /// towards a hub of MQTT 3.
    pub max_inflight: u16,
    /// Bytes of the largest packet from or to the hub, 1 KiB to 256 MiB. Default 1 MiB. A larger message
    /// is not sent but kept aside; one of a hub of MQTT 3 is dropped and counted.
    pub max_packet_size: ByteSize,
    /// Messages that go to the hub in a second, on average. Default 0, for no limit. What is more
    /// waits in the outbox; QoS 0, which has no place there, waits in memory as far as there is room.
    /// As many as a second may have go at once after a pause.
    pub max_messages_per_second: u32,
    /// Bytes of packets that go to the hub in a second, on average, in the same way. Default 0, for no
    /// limit. Acknowledgements and PINGREQ are counted, but do not wait; what TCP, TLS and the like
    /// add is not. A message that is larger than the limit goes, and is made up for by a pause.
    pub max_bytes_per_second: ByteSize,
    /// Bytes of packets that go to the hub in a day, counted in the same way. Default 0, for no limit.
    /// What is more waits in the outbox until midnight (UTC, wall clock), which the log says once; the
    /// last message may be larger than what was left. The count is stored, in up to 64 writes a day: it
    /// goes on over a restart of the daemon and a change of the bridge, and a crash adds up to a 64th
    /// of the limit. It begins anew when the wall clock is set to another day, unless that day has
    /// been before.
    pub daily_bytes: ByteSize,
    /// Many messages in one compressed packet, if the hub is a Tidegate (MQTT 5). Default none. Others
    /// get messages one by one.
    pub batch: Option<Batch>,
    /// While a backlog of an outage is sent, so many of 100 messages are live ones, evenly spread: what
    /// was published since the hub is back, 0 to 100. Each of both keeps its order, but a live message
    /// overtakes older ones of its topic in the backlog. Default 0, with which the oldest goes first.
    /// Lanes stay above it: the share is within one lane.
    pub live_share: u8,
    /// Whether the bridge's state is published here, retained, when it changes: as JSON on
    /// `notification_topic`, as 1 or 0 on `$SYS/broker/connection/${gateway}/state`, and with that
    /// of clients below `$SYS/brokers/client_status`. Default true.
    pub notification: bool,
    /// The topic of the JSON, from the same placeholders as `clientid`;
    /// `$SYS/brokers/bridges/${gateway}/status` if absent.
    pub notification_topic: Option<String>,
    /// Whether whatever clients subscribe to here is subscribed to at the hub, besides what
    /// `subscription` says, and what comes for it is published here under the same topic. Default
    /// false.
    pub transparent: bool,
    /// Filters of clients that are subscribed to at the hub, 1 to 1,000,000. Default 10,000. Further
    /// ones are left out, which the log says, until some of the others have gone.
    pub transparent_max_filters: usize,
    /// Whether CONNECT says to a hub of MQTT 3 that this is a bridge (the highest bit of the protocol
    /// version), with `proto_ver` 3 and 4. A hub that knows the bit, as Mosquitto does, sends nothing
    /// back that the bridge sent. If the hub refuses the version, in either way, it is spoken to without
    /// the bit, and may send it back. Default true. No effect with `proto_ver` 5, also if the hub makes it
    /// fall back to 4; MQTT 5 has `nolocal` of a rule.
    pub no_local_v4: bool,
    /// Whether messages of QoS 0 wait in the outbox while the hub is away. Default false.
    pub retry_qos_0: bool,
    /// Whether a message of QoS 1 or 2 for which the outbox has no room is refused to its publisher,
    /// and goes to nobody: with 0x97 in MQTT 5, and without an answer in MQTT 3, whose connection ends
    /// after 10 s if it has to wait so long. Default false: it is acknowledged if it goes to others too, or
    /// with MQTT 3, and dropped here and counted. What gateways and other bridges bring is not refused.
    pub refuse_when_full: bool,
    /// The topic below which messages are published here that the hub refuses, with the reason, from
    /// the same placeholders as `clientid`; `$dead_letter/${gateway}` if absent, and empty to throw
    /// them away.
    pub dead_letter_topic: Option<String>,
    /// TLS: certificates, keys and names. For hubs with an encrypted transport; its defaults if
    /// absent.
    pub ssl: Option<Tls>,
    /// The sockets.
    pub tcp: Tcp,
    /// The proxy to the hub. Default none.
    pub proxy: Option<Proxy>,
    /// What CONNECT says to the hub.
    pub conn_properties: ConnProperties,
    /// What each SUBSCRIBE says to the hub.
    pub sub_properties: SubProperties,
    /// What the hub publishes when the bridge is lost. Default nothing.
    pub will: Option<Will>,
    /// How long nothing is sent over QUIC until it asks whether the hub is there, 1s to 3600s;
    /// never if absent, since MQTT asks.
    pub quic_keepalive: Option<ConfiguredDuration>,
    /// How long nothing comes over QUIC until the connection counts as lost, 1s to 3600s. Default
    /// 120s.
    pub quic_idle_timeout: ConfiguredDuration,
    /// The time to the hub and back that QUIC begins with, 1ms to 10s. Default 800ms.
    pub quic_initial_rtt_ms: ConfiguredDuration,
    /// What goes to the hub. All rules that match a message apply.
    pub forwards: Vec<Forward>,
    /// What comes from the hub. The first rule that matches a message applies.
    pub subscription: Vec<Subscription>,
    /// No effect.
    pub max_parallel_processes: NoEffect,
    /// No effect.
    pub max_send_queue_len: NoEffect,
    /// No effect.
    pub max_recv_queue_len: NoEffect,
    /// No effect.
    pub disk_cache_size: NoEffect,
    /// No effect.
    pub mounted_file_path: NoEffect,
    /// No effect.
    pub flush_mem_threshold: NoEffect,
    /// No effect.
    pub resend_interval: NoEffect,
    /// No effect.
    pub resend_wait: NoEffect,
    /// No effect.
    pub cancel_timeout: NoEffect,
    /// No effect.
    pub quic_handshake_timeout: NoEffect,
    /// No effect.
    pub quic_discon_timeout: NoEffect,
    /// No effect.
    pub quic_send_idle_timeout: NoEffect,
    /// No effect.
    pub quic_max_ack_delay_ms: NoEffect,
    /// No effect.
    pub quic_congestion_control: NoEffect,
    /// No effect.
    pub quic_multi_stream: NoEffect,
    /// No effect.
    pub quic_qos_priority: NoEffect,
    /// No effect.
    pub quic_0rtt: NoEffect,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enable: true,
            server: String::new(),
            servers: Vec::new(),
            hybrid_bridging: false,
            hybrid_servers: Vec::new(),
            proto_ver: 5,
            clientid: None,
            username: None,
            password: None,
            keepalive: ConfiguredDuration::from_secs(30),
            clean_start: false,
            session_expiry_interval: None,
            backoff_max: ConfiguredDuration::from_secs(60),
            fail_back_interval: ConfiguredDuration::from_secs(30),
            connect_timeout: ConfiguredDuration::from_secs(10),
            max_inflight: 256,
            max_packet_size: ByteSize::mebibytes(1),
            max_messages_per_second: 0,
            max_bytes_per_second: ByteSize(0),
            daily_bytes: ByteSize(0),
            batch: None,
            live_share: 0,
            notification: true,
            notification_topic: None,
            transparent: false,
            transparent_max_filters: 10_000,
            no_local_v4: true,
            retry_qos_0: false,
            refuse_when_full: false,
            dead_letter_topic: None,
            ssl: None,
            tcp: Tcp::default(),
            proxy: None,
            conn_properties: ConnProperties::default(),
            sub_properties: SubProperties::default(),
            will: None,
            quic_keepalive: None,
            quic_idle_timeout: ConfiguredDuration::from_secs(120),
            quic_initial_rtt_ms: ConfiguredDuration::from_millis(800),
            forwards: Vec::new(),
            subscription: Vec::new(),
            max_parallel_processes: NoEffect::default(),
            max_send_queue_len: NoEffect::default(),
            max_recv_queue_len: NoEffect::default(),
            disk_cache_size: NoEffect::default(),
            mounted_file_path: NoEffect::default(),
            flush_mem_threshold: NoEffect::default(),
            resend_interval: NoEffect::default(),
            resend_wait: NoEffect::default(),
            cancel_timeout: NoEffect::default(),
            quic_handshake_timeout: NoEffect::default(),
            quic_discon_timeout: NoEffect::default(),
            quic_send_idle_timeout: NoEffect::default(),
            quic_max_ack_delay_ms: NoEffect::default(),
            quic_congestion_control: NoEffect::default(),
            quic_multi_stream: NoEffect::default(),
            quic_qos_priority: NoEffect::default(),
            quic_0rtt: NoEffect::default(),
        }
    }
}

/// The topic of the bridge's state.
const NOTIFICATION_TOPIC: &str = "$SYS/brokers/bridges/${gateway}/status";
/// The topic below which what the hub refuses is published.
const DEAD_LETTER_TOPIC: &str = "$dead_letter/${gateway}";
/// The Session Expiry Interval.
const SESSION_EXPIRY: ConfiguredDuration = ConfiguredDuration::from_secs(24 * 3_600);

impl Config {
    /// Puts the values of the site into what the bridge says of itself. Afterwards there is a
    /// Client Identifier and a topic of the bridge's state.
    pub(crate) fn placed(mut self, site: &Site) -> Result<Self, ConfigError> {
        self.clientid = Some(site.client_id(self.clientid.as_deref())?);
        if let Some(username) = &mut self.username {
            *username = site.text("username", username)?;
        }
        let topic = self.notification_topic.as_deref();
        let topic = topic.unwrap_or(NOTIFICATION_TOPIC);
        self.notification_topic = Some(site.topic("notification_topic", topic)?);
        let topic = self.dead_letter_topic.as_deref();
        let topic = topic.unwrap_or(DEAD_LETTER_TOPIC);
        if !topic.is_empty() {
            const KEY: &str = "dead_letter_topic";
            let topic = site.topic(KEY, topic)?;
            if topic.split('/').next() == Some("$SYS") {
                let problem = "is below `$SYS`, where only the broker itself publishes";
                return Err(ConfigError::new(KEY, problem));
            }
            self.dead_letter_topic = Some(topic);
        }
        if let Some(will) = &mut self.will {
            will.topic = site.topic("will.topic", &will.topic)?;
        }
        Ok(self)
    }

    /// Where the bridge's state is published, from a configuration that has the values of its site.
    pub(crate) fn notification(&self) -> Result<Option<Notification>, ConfigError> {
        let topic = self.notification_topic.as_deref();
        let Some(topic) = topic.filter(|_| self.notification) else {
            return Ok(None);
        };
        let topic =
            TopicName::new(topic).map_err(|error| ConfigError::new("notification_topic", error))?;
        Ok(Some(Notification {
            topic,
            client_id: self.clientid.clone().unwrap_or_default(),
            user_name: self.username.clone(),
            keep_alive: u16::try_from(self.keepalive.0.as_secs()).unwrap_or(u16::MAX),
            clean_start: self.clean_start,
        }))
    }

    /// The hubs as they are written, each with its key, in the order in which they are tried.
    pub fn hubs(&self) -> impl Iterator<Item = (String, &str)> {
        let lists = [
            ("servers", &self.servers, true),
            ("hybrid_servers", &self.hybrid_servers, self.hybrid_bridging),
        ];
        let lists = lists.into_iter().filter(|(_, _, is_used)| *is_used);
        let further = lists.flat_map(|(key, list, _)| {
            let list = list.iter().enumerate();
            list.map(move |(at, text)| (format!("{key}[{at}]"), text.as_str()))
        });
        let first = Some(("server".to_owned(), self.server.as_str()));
        let first = first.filter(|(_, text)| !text.is_empty());
        first.into_iter().chain(further)
    }

    /// The places in `subscription` of rules whose filter one before them has, with the place of
    /// that one.
    #[must_use]
    pub fn repeated_filters(&self) -> Vec<(usize, usize)> {
        let rules = self.subscription.iter().enumerate();
        let pairs = rules.filter_map(|(at, rule)| {
            let mut before = self.subscription[..at].iter();
            let first = before.position(|it| it.remote_topic == rule.remote_topic);
            first.map(|first| (first, at))
        });
        pairs.collect()
    }

    /// Seconds for which the hub is asked to keep the bridge's session.
    #[must_use]
    pub fn session_expiry_seconds(&self) -> u32 {
        let written = self.conn_properties.session_expiry_interval;
        let interval = written.or(self.session_expiry_interval);
        let seconds = interval.unwrap_or(SESSION_EXPIRY).0.as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// The least QoS with which messages are kept for the hub. One that is sent with more than it was
    /// published with has to be kept as such, or it would have no Packet Identifier that survives a
    /// restart.
    #[must_use]
    pub fn least_qos(&self) -> QoS {
        let rules = self.forwards.iter().filter_map(|rule| rule.qos);
        let least = rules.map(|it| it.0).max();
        let retried = self.retry_qos_0.then_some(QoS::AtLeastOnce);
        least.max(retried).unwrap_or(QoS::AtMostOnce)
    }

    /// Messages from the hub that may be unacknowledged.
    #[must_use]
    pub fn receive_maximum(&self) -> u16 {
        let written = self.conn_properties.receive_maximum;
        written.unwrap_or(self.max_inflight)
    }

    /// Bytes of the largest packet from the hub.
    #[must_use]
    pub fn maximum_packet_size(&self) -> u32 {
        let written = self.conn_properties.maximum_packet_size;
        let size = written.unwrap_or(self.max_packet_size).bytes();
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}
