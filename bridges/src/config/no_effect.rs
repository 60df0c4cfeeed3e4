//! Keys of NanoMQ that mean nothing here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::Config;

/// A key that is accepted with any value, and only whether it is there is kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NoEffect {
    is_set: bool,
}

/// Why a key changes nothing.
const NO_TIMER: &str = "what is unacknowledged is sent again when the connection is made anew";
const ONE_STREAM: &str = "there is one stream, which keeps the order";
const IN_STORE: &str = "the outbox is in the store, and `store.max_messages` bounds it";
const QUIC_DECIDES: &str = "QUIC finds it out by itself";

impl<'de> Deserialize<'de> for NoEffect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self { is_set: true })
    }
}

impl fmt::Debug for NoEffect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_set { "set" } else { "unset" })
    }
}

impl Config {
    /// Why this is no bridge, if it is what NanoMQ has as `bridges.mqtt.cache` among them: where all
    /// bridges keep what waits.
    #[must_use]
    pub fn is_cache(&self) -> Option<&'static str> {
        let rest = Self {
            enable: true,
            disk_cache_size: NoEffect::default(),
            mounted_file_path: NoEffect::default(),
            flush_mem_threshold: NoEffect::default(),
            resend_interval: NoEffect::default(),
            ..self.clone()
        };
        (rest == Self::default()).then_some(IN_STORE)
    }

    const fn of_cache(&self) -> [(&'static str, NoEffect, &'static str); 3] {
        [
            ("disk_cache_size", self.disk_cache_size, IN_STORE),
            ("mounted_file_path", self.mounted_file_path, IN_STORE),
            ("flush_mem_threshold", self.flush_mem_threshold, IN_STORE),
        ]
    }

    /// The keys that are set and change nothing, such as `subscription[0].stream_id`, and why.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(String, &'static str)> {
        let keys = [
            (
                "max_parallel_processes",
                self.max_parallel_processes,
                "one connection keeps the order",
            ),
            (
                "max_send_queue_len",
                self.max_send_queue_len,
                "`store.max_messages` bounds what waits",
            ),
            (
                "max_recv_queue_len",
                self.max_recv_queue_len,
                "`conn_properties.receive_maximum` bounds what comes",
            ),
            ("resend_interval", self.resend_interval, NO_TIMER),
            ("resend_wait", self.resend_wait, NO_TIMER),
            (
                "cancel_timeout",
                self.cancel_timeout,
                "nothing is given up before it is acknowledged",
            ),
            (
                "quic_handshake_timeout",
                self.quic_handshake_timeout,
                "`connect_timeout` is for all of it",
            ),
            (
                "quic_discon_timeout",
                self.quic_discon_timeout,
                QUIC_DECIDES,
            ),
            (
                "quic_send_idle_timeout",
                self.quic_send_idle_timeout,
                QUIC_DECIDES,
            ),
            (
                "quic_max_ack_delay_ms",
                self.quic_max_ack_delay_ms,
                QUIC_DECIDES,
            ),
            (
                "quic_congestion_control",
                self.quic_congestion_control,
                QUIC_DECIDES,
            ),
            ("quic_multi_stream", self.quic_multi_stream, ONE_STREAM),
            (
                "quic_qos_priority",
                self.quic_qos_priority,
                "`store.lanes` says what goes first",
            ),
            (
                "quic_0rtt",
                self.quic_0rtt,
                "every connection has a whole handshake",
            ),
        ];
        let keys = keys.into_iter().chain(self.of_cache());
        let keys = keys.filter(|(_, it, _)| it.is_set);
        let mut found: Vec<_> = keys.map(|(key, _, why)| (key.to_owned(), why)).collect();
        if !self.hybrid_bridging && !self.hybrid_servers.is_empty() {
            found.push(("hybrid_servers".to_owned(), "`hybrid_bridging` is not true"));
        }
        let rules = self.subscription.iter().enumerate();
        let streams = rules.filter(|(_, rule)| rule.stream_id.is_set);
        found.extend(streams.map(|(at, _)| (format!("subscription[{at}].stream_id"), ONE_STREAM)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_change_nothing_are_told() {
        let text = "server = \"hub\"\nmax_parallel_processes = 2\nquic_0rtt = true\n\
                    resend_wait = \"3s\"\nhybrid_servers = [\"mqtt-tcp://other\"]\n\
                    subscription = [{ remote_topic = \"a\" }, { remote_topic = \"b\", stream_id = 3 }]";
        let config: Config = toml::from_str(text).unwrap();
        let found = config.without_effect();
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        let expected = [
            "max_parallel_processes",
            "resend_wait",
            "quic_0rtt",
            "hybrid_servers",
            "subscription[1].stream_id",
        ];
        assert_eq!(keys, expected);
        let nothing: Config = toml::from_str("server = \"hub\"").unwrap();
        assert_eq!(nothing.without_effect(), []);
    }
}
