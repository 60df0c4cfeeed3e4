//! The keys of `tcp{}`: the socket towards the hub, or towards the proxy.

use std::ops::RangeInclusive;
use std::time::Duration;

use gateway::{ConfigError, ConfiguredDuration};
use serde::Deserialize;

/// How the socket of a bridge is set up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tcp {
    /// Whether small packets are sent at once (`TCP_NODELAY`).
    pub nodelay: bool,
    /// Whether a silent peer is probed (`SO_KEEPALIVE`).
    pub keepalive: bool,
    /// The silence before the first probe, 1 to 32,767 seconds.
    pub keepidle: ConfiguredDuration,
    /// The time between two probes, 1 to 32,767 seconds.
    pub keepintvl: ConfiguredDuration,
    /// Probes without an answer that end the connection, 1 to 127.
    pub keepcnt: u32,
    /// How long sent bytes may stay unacknowledged before the connection ends
    /// (`TCP_USER_TIMEOUT`), up to 24 hours; 0 leaves it to the system, whose limit is about
    /// 15 minutes.
    pub user_timeout: ConfiguredDuration,
    /// The network interface that is used, such as `wwan0`; the routing table's if absent.
    pub bind_interface: Option<String>,
    /// Without effect: acknowledgements are the system's business.
    pub quickack: Option<bool>,
    /// Without effect: `user_timeout` limits sending.
    pub sendtimeo: Option<ConfiguredDuration>,
    /// Without effect: the Keep Alive limits silence.
    pub recvtimeo: Option<ConfiguredDuration>,
}

/// What the kernel accepts.
const PROBE_SECONDS: RangeInclusive<u64> = 1..=32_767;
const PROBES: RangeInclusive<u32> = 1..=127;
const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of an interface's name, without the terminating null of the kernel.
const INTERFACE_BYTES_MAX: usize = 15;

impl Default for Tcp {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: true,
            keepidle: ConfiguredDuration::from_secs(30),
            keepintvl: ConfiguredDuration::from_secs(10),
            keepcnt: 3,
            user_timeout: ConfiguredDuration::from_secs(20),
            bind_interface: None,
            quickack: None,
            sendtimeo: None,
            recvtimeo: None,
        }
    }
}

impl Tcp {
    /// Checks what the kernel would refuse.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error = |key: &str, problem: &str| Err(ConfigError::new(format!("tcp.{key}"), problem));
        for (key, duration) in [("keepidle", self.keepidle), ("keepintvl", self.keepintvl)] {
            if !PROBE_SECONDS.contains(&duration.0.as_secs()) {
                return error(key, "must be from 1s to 32767s");
            }
        }
        if !PROBES.contains(&self.keepcnt) {
            return error("keepcnt", "must be from 1 to 127");
        }
        if self.user_timeout.0 > USER_TIMEOUT_MAX {
            return error("user_timeout", "must be from 0 to 24h");
        }
        let is_name = |name: &str| {
            let is_letter = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
            (1..=INTERFACE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_letter)
        };
        if !self.bind_interface.as_deref().is_none_or(is_name) {
            return error("bind_interface", "is no name of a network interface");
        }
        Ok(())
    }

    /// The keys that are set although they change nothing here.
    pub fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("tcp.quickack", self.quickack.is_some()),
            ("tcp.sendtimeo", self.sendtimeo.is_some()),
            ("tcp.recvtimeo", self.recvtimeo.is_some()),
        ];
        keys.into_iter()
            .filter_map(|(key, is_set)| is_set.then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tcp {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_block_of_nanomq_is_read() {
        let tcp = read(
            "nodelay = false\nkeepalive = true\nquickack = false\nkeepidle = \"60s\"\n\
             keepintvl = \"30s\"\nkeepcnt = 3\nsendtimeo = \"5s\"\nrecvtimeo = \"5s\"\n\
             bind_interface = \"eth0\"",
        );
        assert_eq!(tcp.check(), Ok(()));
        assert_eq!(tcp.keepidle, ConfiguredDuration::from_secs(60));
        let idle: Vec<_> = tcp.without_effect().collect();
        assert_eq!(idle, ["tcp.quickack", "tcp.sendtimeo", "tcp.recvtimeo"]);
        assert_eq!(read(""), Tcp::default());
        assert_eq!(Tcp::default().check(), Ok(()));
        assert_eq!(Tcp::default().without_effect().count(), 0);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_its_key() {
        let table = [
            ("keepidle = 60000", "tcp.keepidle"),
            ("keepintvl = \"500ms\"", "tcp.keepintvl"),
            ("keepcnt = 0", "tcp.keepcnt"),
            ("keepcnt = 128", "tcp.keepcnt"),
            ("user_timeout = \"2d\"", "tcp.user_timeout"),
            ("bind_interface = \"\"", "tcp.bind_interface"),
            ("bind_interface = \"a/b\"", "tcp.bind_interface"),
            (
                "bind_interface = \"0123456789abcdef\"",
                "tcp.bind_interface",
            ),
        ];
        for (text, key) in table {
            assert_eq!(read(text).check().unwrap_err().key, key, "{text}");
        }
    }
}
