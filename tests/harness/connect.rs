//! CONNECT field by field, and the CONNACK that answers it.

use std::io;

use crate::block::Block;
use crate::bytes::{binary, string};
use crate::property::{self, Property};
use crate::wire::{Packet, Version, WireClient, packet};

/// A CONNECT; what is not set is left out.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The version of the packet.
    pub version: Version,
    /// The highest bit of the level is set.
    pub is_bridge: bool,
    /// Clean Start or Clean Session.
    pub is_clean: bool,
    /// In seconds.
    pub keep_alive: u16,
    /// MQTT 3 leaves them out.
    pub properties: Vec<Property>,
    /// The Client Identifier.
    pub client_id: String,
    /// The Will Message.
    pub will: Option<Will>,
    /// The user name.
    pub user_name: Option<String>,
    /// The password.
    pub password: Option<Vec<u8>>,
}

/// A Will Message in a CONNECT.
#[derive(Clone, Debug)]
pub struct Will {
    /// The Will Topic.
    pub topic: String,
    /// The Will Payload.
    pub payload: Vec<u8>,
    /// Will QoS, 3 too.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// MQTT 3 leaves them out.
    pub properties: Vec<Property>,
}

/// An answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// The Connect Acknowledge Flags, all of them.
    pub flags: u8,
    /// The Reason Code or return code.
    pub code: u8,
    /// None in MQTT 3.
    pub properties: Block,
}

impl Connect {
    /// A CONNECT that begins a session which ends with its connection, with a Keep Alive of a
    /// minute.
    #[must_use]
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            is_bridge: false,
            is_clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            client_id: client_id.to_owned(),
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// Goes on with the session there is, and keeps it: in MQTT 5 for these seconds.
    #[must_use]
    pub fn resuming(mut self, seconds: u32) -> Self {
        self.is_clean = false;
        self.expiring(seconds)
    }

    /// The session outlives the connection by these seconds; means nothing in MQTT 3.
    #[must_use]
    pub fn expiring(self, seconds: u32) -> Self {
        self.property(Property::four_bytes(0x11, seconds))
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Sets the Keep Alive.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// Sets the will.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Sets the bridge bit.
    #[must_use]
    pub fn bridge(mut self) -> Self {
        self.is_bridge = true;
        self
    }

    /// The Connect Flags.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            1 << 2 | will.qos << 3 | u8::from(will.retain) << 5
        });
        u8::from(self.is_clean) << 1
            | will
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user_name.is_some()) << 7
    }

    /// What stands behind the Connect Flags and the Keep Alive.
    fn rest(&self) -> Vec<u8> {
        let block = |properties| match self.version {
            Version::V31 | Version::V311 => Vec::new(),
            Version::V5 => property::encode(properties),
        };
        let mut rest = block(&self.properties);
        rest.extend(string(&self.client_id));
        if let Some(will) = &self.will {
            rest.extend(block(&will.properties));
            rest.extend(string(&will.topic));
            rest.extend(binary(&will.payload));
        }
        rest.extend(self.user_name.as_deref().map(string).unwrap_or_default());
        rest.extend(self.password.as_deref().map(binary).unwrap_or_default());
        rest
    }

    /// The packet's body with other Connect Flags than those that belong to it.
    #[must_use]
    pub fn body_with_flags(&self, flags: u8) -> Vec<u8> {
        let mut body = self.version.name_and_level().to_vec();
        if self.is_bridge
            && let Some(level) = body.last_mut()
        {
            *level |= 0x80;
        }
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(self.rest());
        body
    }

    /// The packet's body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.body_with_flags(self.flags())
    }

    /// The packet.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        packet(0x10, &self.body())
    }

    /// Connects.
    ///
    /// # Panics
    /// It is not let in.
    #[track_caller]
    pub fn open(&self, port: u16) -> (WireClient, Connack) {
        let mut client = WireClient::open(port, self.version).expect("a connection");
        client.send(&self.bytes()).expect("a connection");
        let packet = client.receive().expect("an answer").expect("an answer");
        let connack = Connack::read(&packet, self.version);
        assert_eq!(connack.code, 0, "{self:?} is refused: {connack:?}");
        (client, connack)
    }

    /// Connects and is refused: with a CONNACK, or by closing without one.
    ///
    /// # Panics
    /// It is let in, or the connection stays open.
    #[track_caller]
    pub fn refused(&self, port: u16) -> Option<Connack> {
        refused(port, self.version, &self.bytes())
    }
}

impl Will {
    /// A will with QoS 0 that is not retained.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            qos: 0,
            retain: false,
            properties: Vec::new(),
        }
    }

    /// Sets the Will QoS.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets Will Retain.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Adds a Will Delay Interval.
    #[must_use]
    pub fn delay(self, seconds: u32) -> Self {
        self.property(Property::four_bytes(0x18, seconds))
    }
}

impl Connack {
    /// Reads it.
    ///
    /// # Panics
    /// It is something else, or malformed.
    #[must_use]
    #[track_caller]
    pub fn read(packet: &Packet, version: Version) -> Self {
        assert_eq!(packet.head, 0x20, "CONNACK expected: {packet:?}");
        let [flags, code, rest @ ..] = packet.body.as_slice() else {
            panic!("CONNACK is too short: {packet:?}");
        };
        let properties = match version {
            Version::V31 | Version::V311 => Block::default(),
            Version::V5 => Block::read(rest),
        };
        let is_longer = version != Version::V5 && !rest.is_empty();
        assert!(!is_longer, "CONNACK is too long: {packet:?}");
        Self {
            flags: *flags,
            code: *code,
            properties,
        }
    }

    /// Session Present.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.flags == 1
    }
}

/// Sends bytes to a new connection, which is refused: with a CONNACK in this version, or by
/// closing without one.
///
/// # Panics
/// It is let in, or stays open.
#[track_caller]
pub fn refused(port: u16, version: Version, bytes: &[u8]) -> Option<Connack> {
    let mut client = WireClient::open(port, version).expect("a connection");
    // The broker may close before it has taken all.
    client.send(bytes).ok();
    let answer = match client.receive() {
        Ok(answer) => answer?,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("neither refused nor closed: {error}"),
    };
    let connack = Connack::read(&answer, version);
    // [MQTT-3.2.2-6] [MQTT-3.2.2-7]
    assert_eq!(connack.flags, 0, "{connack:?}");
    assert_ne!(connack.code, 0, "let in");
    client.expect_end();
    Some(connack)
}
