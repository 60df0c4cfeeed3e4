//! What a single value of the configuration cannot show.

use std::time::Duration;

use gateway::{ByteSize, ConfigError, ConfiguredDuration};

use super::properties::check_user_property;
use super::{Config, Endpoint, InvalidEndpoint};

/// Bytes of the largest packet from or to the hub.
const PACKET_SIZES: [ByteSize; 2] = [ByteSize::kibibytes(1), ByteSize::mebibytes(256)];
/// Subscription Identifiers (MQTT 5.0 §3.8.2.1.2).
const IDENTIFIER_MAX: u32 = 268_435_455;

impl Config {
    /// Checks everything but the rules' topics.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_hubs()?;
        if !(3..=5).contains(&self.proto_ver) {
            let problem = "is 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5)";
            return Err(ConfigError::new("proto_ver", problem));
        }
        self.check_times()?;
        self.check_sizes()?;
        self.check_properties()?;
        self.check_batch()?;
        if let Some(will) = &self.will {
            will.check()?;
        }
        if !(1..=1_000_000).contains(&self.transparent_max_filters) {
            let problem = "must be from 1 to 1000000";
            return Err(ConfigError::new("transparent_max_filters", problem));
        }
        let is_empty = self.forwards.is_empty() && self.subscription.is_empty();
        if is_empty && !self.transparent {
            let problem = "is empty and so is `subscription`: the bridge would do nothing";
            return Err(ConfigError::new("forwards", problem));
        }
        let mut forwards = self.forwards.iter().enumerate();
        forwards.try_for_each(|(at, rule)| rule.check(&format!("forwards[{at}]")))?;
        let mut subscription = self.subscription.iter().enumerate();
        subscription.try_for_each(|(at, rule)| rule.check(&format!("subscription[{at}]")))
    }

    fn check_hubs(&self) -> Result<(), ConfigError> {
        if self.hubs().next().is_none() {
            let problem = "is missing; write the hub's URL, such as mqtt-tcp://host:port";
            return Err(ConfigError::new("server", problem));
        }
        for (key, text) in self.hubs() {
            let hub: Result<Endpoint, InvalidEndpoint> = text.parse();
            hub.map_err(|error| ConfigError::new(key, error))?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3_600);
        let day = 24 * hour;
        let keepalive = (5 * second, u32::from(u16::MAX) * second);
        check_time("keepalive", self.keepalive, keepalive)?;
        let millisecond = Duration::from_millis(1);
        check_time("backoff_max", self.backoff_max, (millisecond, day))?;
        let interval = (second, day);
        check_time("fail_back_interval", self.fail_back_interval, interval)?;
        check_time("connect_timeout", self.connect_timeout, (millisecond, hour))?;
        if let Some(keepalive) = self.quic_keepalive {
            check_time("quic_keepalive", keepalive, (second, hour))?;
        }
        check_time("quic_idle_timeout", self.quic_idle_timeout, (second, hour))?;
        let rtt = (millisecond, 10 * second);
        check_time("quic_initial_rtt_ms", self.quic_initial_rtt_ms, rtt)?;
        let never = (Duration::ZERO, u32::MAX * second);
        let properties = &self.conn_properties;
        let expiry = "session_expiry_interval";
        let below = "conn_properties.session_expiry_interval";
        match (
            self.session_expiry_interval,
            properties.session_expiry_interval,
        ) {
            (Some(_), Some(_)) => {
                let problem = "is also `session_expiry_interval` of the bridge; leave one out";
                Err(ConfigError::new(below, problem))
            }
            (Some(time), None) => check_time(expiry, time, never),
            (None, Some(time)) => check_time(below, time, never),
            (None, None) => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        if !(1..=4_096).contains(&self.max_inflight) {
            return Err(ConfigError::new("max_inflight", "must be from 1 to 4096"));
        }
        if self.live_share > 100 {
            return Err(ConfigError::new("live_share", "must be from 0 to 100"));
        }
        let [min, max] = PACKET_SIZES;
        if self.max_packet_size < min || self.max_packet_size > max {
            let problem = "must be from 1 KiB to 256 MiB";
            return Err(ConfigError::new("max_packet_size", problem));
        }
        let properties = &self.conn_properties;
        let is_sound = |it: ByteSize| (1..=u64::from(u32::MAX)).contains(&it.bytes());
        if !properties.maximum_packet_size.is_none_or(is_sound) {
            let problem = "must be from 1 to 4294967295 bytes";
            let key = "conn_properties.maximum_packet_size";
            return Err(ConfigError::new(key, problem));
        }
        if properties.receive_maximum == Some(0) {
            let key = "conn_properties.receive_maximum";
            return Err(ConfigError::new(key, "must be from 1 to 65535"));
        }
        Ok(())
    }

    fn check_batch(&self) -> Result<(), ConfigError> {
        let Some(batch) = &self.batch else {
            return Ok(());
        };
        batch.check()?;
        // It says which messages the hub refuses.
        if self.conn_properties.request_problem_information.0 {
            return Ok(());
        }
        let key = "conn_properties.request_problem_information";
        Err(ConfigError::new(
            key,
            "cannot be false together with `batch`",
        ))
    }

    fn check_properties(&self) -> Result<(), ConfigError> {
        let pairs = &self.conn_properties.user_property;
        check_user_property("conn_properties.user_property", pairs)?;
        check_identifier("sub_properties.identifier", self.sub_properties.identifier)?;
        let pairs = &self.sub_properties.user_property;
        check_user_property("sub_properties.user_property", pairs)
    }
}

/// Checks that a Subscription Identifier can be sent.
pub(super) fn check_identifier(key: &str, identifier: Option<u32>) -> Result<(), ConfigError> {
    if identifier.is_none_or(|it| (1..=IDENTIFIER_MAX).contains(&it)) {
        return Ok(());
    }
    Err(ConfigError::new(key, "must be from 1 to 268435455"))
}

fn check_time(
    key: &str,
    time: ConfiguredDuration,
    (min, max): (Duration, Duration),
) -> Result<(), ConfigError> {
    if (min..=max).contains(&time.0) {
        return Ok(());
    }
    let problem = format!("must be from {} to {}", written(min), written(max));
    Err(ConfigError::new(key, problem))
}

/// A time as an operator writes it.
fn written(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Flag;
    use super::*;

    fn check(text: &str) -> Result<(), ConfigError> {
        let config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        config.check()
    }

    /// Checks each text together with a bridge that works.
    #[track_caller]
    fn check_table(table: &[(&str, &str)]) {
        for (text, expected) in table {
            let rule = "forwards = [{ local_topic = \"a\" }]";
            let error = check(&format!("server = \"hub\"\n{rule}\n{text}"));
            assert_eq!(error.unwrap_err().to_string(), *expected);
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_its_key() {
        check_table(&[
            (
                "proto_ver = 2",
                "proto_ver: is 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5)",
            ),
            ("keepalive = 4", "keepalive: must be from 5s to 65535s"),
            ("backoff_max = 0", "backoff_max: must be from 1ms to 86400s"),
            (
                "fail_back_interval = 0",
                "fail_back_interval: must be from 1s to 86400s",
            ),
            (
                "connect_timeout = 0",
                "connect_timeout: must be from 1ms to 3600s",
            ),
            (
                "quic_keepalive = 0",
                "quic_keepalive: must be from 1s to 3600s",
            ),
            (
                "quic_idle_timeout = \"2h\"",
                "quic_idle_timeout: must be from 1s to 3600s",
            ),
            (
                "quic_initial_rtt_ms = \"11s\"",
                "quic_initial_rtt_ms: must be from 1ms to 10s",
            ),
            (
                "max_inflight = 4097",
                "max_inflight: must be from 1 to 4096",
            ),
            ("live_share = 101", "live_share: must be from 0 to 100"),
            (
                "batch.compression_level = 20",
                "batch.compression_level: must be from 1 to 19",
            ),
            (
                "batch.max_bytes = \"257KB\"",
                "batch.max_bytes: must be from 1 KiB to 256 KiB",
            ),
            (
                "batch.max_messages = 1",
                "batch.max_messages: must be from 2 to 4096",
            ),
            (
                "batch.linger = \"2m\"",
                "batch.linger: must be from 0s to 60s",
            ),
            (
                "batch = {}\nconn_properties.request_problem_information = false",
                "conn_properties.request_problem_information: cannot be false together with `batch`",
            ),
            (
                "max_packet_size = \"1023\"",
                "max_packet_size: must be from 1 KiB to 256 MiB",
            ),
        ]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_key() {
        check_table(&[
            (
                "session_expiry_interval = \"9999999999s\"",
                "session_expiry_interval: must be from 0s to 4294967295s",
            ),
            (
                "session_expiry_interval = 1\nconn_properties.session_expiry_interval = 1",
                "conn_properties.session_expiry_interval: is also `session_expiry_interval` of the \
                 bridge; leave one out",
            ),
            (
                "conn_properties.receive_maximum = 0",
                "conn_properties.receive_maximum: must be from 1 to 65535",
            ),
            (
                "conn_properties.maximum_packet_size = 0",
                "conn_properties.maximum_packet_size: must be from 1 to 4294967295 bytes",
            ),
            (
                "conn_properties.user_property.a = \"\\u0000\"",
                "conn_properties.user_property.a: must not contain a null character",
            ),
            (
                "sub_properties.identifier = 0",
                "sub_properties.identifier: must be from 1 to 268435455",
            ),
            (
                "will = { topic = \"a\", payload = \"\", properties.response_topic = \"+\" }",
                "will.properties.response_topic: a topic name must not contain the wildcards `+` and `#`",
            ),
            (
                "servers = [\"mqtt://a\", \"b:0\"]",
                "servers[1]: `b:0`: the port is no number from 1 to 65535; write mqtt-tcp://host:port",
            ),
            (
                "transparent_max_filters = 0",
                "transparent_max_filters: must be from 1 to 1000000",
            ),
        ]);
    }

    #[test]
    fn a_bridge_has_a_hub_and_something_to_do() {
        let rule = "forwards = [{ local_topic = \"a\" }]";
        let error = check(rule).unwrap_err().to_string();
        let expected = "server: is missing; write the hub's URL, such as mqtt-tcp://host:port";
        assert_eq!(error, expected);
        for hub in ["server = \"hub\"", "servers = [\"hub\"]"] {
            assert_eq!(check(hub).unwrap_err().key, "forwards");
            for without in ["", "transparent = false\n"] {
                assert_eq!(check(&format!("{hub}\n{without}{rule}")), Ok(()));
            }
            assert_eq!(check(&format!("{hub}\ntransparent = true")), Ok(()));
        }
    }

    #[test]
    fn hubs_are_tried_in_their_order() {
        let text = "server = \"a\"\nservers = [\"b\", \"c\"]\nhybrid_servers = [\"d\"]";
        let keys = |text: &str| {
            let config: Config = toml::from_str(text).unwrap();
            let hubs = config.hubs().map(|(key, hub)| format!("{key} {hub}"));
            hubs.collect::<Vec<_>>()
        };
        let expected = [
            "server a",
            "servers[0] b",
            "servers[1] c",
            "hybrid_servers[0] d",
        ];
        assert_eq!(keys(text), expected[..3]);
        assert_eq!(keys(&format!("{text}\nhybrid_bridging = true")), expected);
    }

    #[test]
    fn what_is_said_to_the_hub_has_defaults_of_the_bridge() {
        let config = |text: &str| -> Config { toml::from_str(text).unwrap() };
        let said = |it: &Config| {
            (
                it.session_expiry_seconds(),
                it.receive_maximum(),
                it.maximum_packet_size(),
            )
        };
        assert_eq!(said(&config("")), (86_400, 256, 1 << 20));
        let text = "session_expiry_interval = 5\nmax_inflight = 7\nmax_packet_size = \"2KB\"";
        assert_eq!(said(&config(text)), (5, 7, 2_048));
        let text = "conn_properties = { session_expiry_interval = 4294967295, \
                    receive_maximum = 65535, maximum_packet_size = 1024, \
                    request_problem_infomation = 0, request_response_infomation = 1 }";
        let config = config(text);
        assert_eq!(said(&config), (u32::MAX, 65_535, 1_024));
        let properties = config.conn_properties;
        let asked = (
            properties.request_problem_information,
            properties.request_response_information,
        );
        assert_eq!(asked, (Flag(false), Flag(true)));
    }

    #[test]
    fn rules_are_checked_with_their_keys() {
        let table = [
            (
                "forwards = [{ local_topic = \"a\", retain = 3 }]",
                "forwards[0].retain",
            ),
            (
                "forwards = [{ local_topic = \"a\", properties.will_delay_interval = 1 }]",
                "forwards[0].properties.will_delay_interval",
            ),
            (
                "subscription = [{ remote_topic = \"a\" }, { remote_topic = \"b\", retain_handling = 3 }]",
                "subscription[1].retain_handling",
            ),
            (
                "subscription = [{ remote_topic = \"a\", identifier = 268435456 }]",
                "subscription[0].identifier",
            ),
            (
                "subscription = [{ remote_topic = \"a\", user_property.b = \"\\u0000\" }]",
                "subscription[0].user_property.b",
            ),
        ];
        for (text, key) in table {
            let error = check(&format!("server = \"hub\"\n{text}")).unwrap_err();
            assert_eq!(error.key, key, "{error}");
        }
    }
}
