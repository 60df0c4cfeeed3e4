//! `listeners`: where clients connect.

use std::collections::BTreeMap;

use gateway::{ByteSize, ConfiguredDuration};
use serde::Deserialize;

use super::bind_address::BindAddress;
use super::mqtt::check_packet_size;
use super::node::{Entry, Node, NodeValue, Table};
use super::problem::{Problem, check_positive};

/// Listeners by kind and name. Without this section there is one, on the loopback interface;
/// with it, there are those that it names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listeners {
    /// MQTT over TCP without encryption. A listener may go without a name, as in
    /// `listeners.tcp { bind = "127.0.0.1:1883" }`, and is called `default` then.
    #[serde(default)]
    pub(crate) tcp: BTreeMap<String, TcpListener>,
}

/// One MQTT listener on TCP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TcpListener {
    /// `host:port`, or only a port for all IPv4 addresses; default `127.0.0.1:1883`. With port 0
    /// the system chooses one.
    pub(crate) bind: BindAddress,
    /// Whether it is opened; default true.
    pub(crate) enable: bool,
    /// Connections at a time; default 10000. The clients of further ones are refused.
    pub(crate) max_connections: u32,
    /// Connections that have not sent their CONNECT; default 1000. The oldest makes way for one
    /// more, and half of them when there are no more file descriptors.
    pub(crate) max_half_open: u32,
    /// Connections that the system lets wait until they are accepted, 1 to 65535; default 1024. It
    /// may allow fewer.
    pub(crate) backlog: u16,
    /// In place of `mqtt.max_packet_size`.
    pub(crate) max_packet_size: Option<ByteSize>,
    /// In place of `mqtt.connect_timeout`.
    pub(crate) connect_timeout: Option<ConfiguredDuration>,
    /// In place of `mqtt.allow_anonymous`.
    pub(crate) allow_anonymous: Option<bool>,
}

/// The name of a listener that has none.
const DEFAULT_NAME: &str = "default";

impl Default for Listeners {
    fn default() -> Self {
        Self {
            tcp: BTreeMap::from([(DEFAULT_NAME.to_owned(), TcpListener::default())]),
        }
    }
}

impl Default for TcpListener {
    fn default() -> Self {
        Self {
            bind: BindAddress::loopback(),
            enable: true,
            max_connections: 10_000,
            max_half_open: 1_000,
            backlog: 1_024,
            max_packet_size: None,
            connect_timeout: None,
            allow_anonymous: None,
        }
    }
}

impl Listeners {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        let mut enabled = self.tcp.iter().filter(|(_, listener)| listener.enable);
        enabled.try_for_each(|(name, listener)| listener.validate(name))
    }
}

impl TcpListener {
    fn validate(&self, name: &str) -> Result<(), Problem> {
        let path = |key| ["listeners", "tcp", name, key];
        check_positive(&path("max_connections"), self.max_connections)?;
        check_positive(&path("max_half_open"), self.max_half_open)?;
        check_positive(&path("backlog"), self.backlog)?;
        if let Some(size) = self.max_packet_size {
            check_packet_size(&path("max_packet_size"), size)?;
        }
        if let Some(timeout) = self.connect_timeout {
            check_positive(&path("connect_timeout"), timeout)?;
        }
        Ok(())
    }
}

/// Moves the keys of listeners without a name below the name `default`.
pub(super) fn name_listeners(root: &mut Table) {
    let Some(Entry { node, .. }) = root.get_mut("listeners") else {
        return;
    };
    let NodeValue::Table(kinds) = &mut node.value else {
        return;
    };
    for kind in kinds.entries_mut() {
        let (key, place) = (kind.key, kind.node.place);
        let NodeValue::Table(listeners) = &mut kind.node.value else {
            continue;
        };
        let keys = listeners.extract(|node| node.as_table().is_none());
        if keys.is_empty() {
            continue;
        }
        let mut named = Table::default();
        let node = Node::new(NodeValue::Table(keys), place);
        named.insert(DEFAULT_NAME.to_owned(), Entry { key, node });
        listeners.merge(named);
    }
}
