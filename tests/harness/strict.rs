//! A client that fails its test as soon as the broker does not do what is expected of it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Shutdown;

use crate::subscription::{string, subscribe, unsubscribe};
use crate::wire::{Kept, Packet, Version, WireClient, packet};

/// A connection of one client.
#[derive(Debug)]
pub struct StrictClient {
    wire: WireClient,
    version: Version,
    next_identifier: u16,
    /// What came while something else was waited for.
    early: VecDeque<Packet>,
}

/// A PUBLISH that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The Topic Name.
    pub topic: String,
    /// The payload.
    pub payload: String,
    /// The QoS.
    pub qos: u8,
    /// The RETAIN flag.
    pub is_retained: bool,
    /// The DUP flag.
    pub is_duplicate: bool,
    /// The Packet Identifier, 0 for QoS 0.
    pub identifier: u16,
    /// The Subscription Identifiers, in their order.
    pub subscription_identifiers: Vec<u32>,
}

impl StrictClient {
    /// Connects with a new session, which ends with the connection.
    #[must_use]
    #[track_caller]
    pub fn start(port: u16, version: Version, client_id: &str) -> Self {
        let mut client = Self::open(port, version);
        client.send(&crate::wire::connect(version, client_id, Kept::Nothing));
        assert!(!client.accepted(), "{client_id}: a session was there");
        client
    }

    /// Connects with a session that outlives the connection; true if it was there already, as far
    /// as the version can tell.
    #[must_use]
    #[track_caller]
    pub fn resume(port: u16, version: Version, client_id: &str) -> (Self, bool) {
        let mut client = Self::open(port, version);
        client.send(&crate::wire::connect(version, client_id, Kept::Session));
        let is_resumed = client.accepted();
        (client, is_resumed)
    }

    /// Connects with MQTT 5 and these properties, encoded and at most 127 bytes, with Clean Start.
    #[must_use]
    #[track_caller]
    pub fn start_with(port: u16, client_id: &str, properties: &[u8]) -> Self {
        let mut client = Self::open(port, Version::V5);
        let mut body = Version::V5.name_and_level().to_vec();
        let length = u8::try_from(properties.len()).expect("few properties");
        body.extend([2, 0, 60, length]);
        body.extend(properties);
        body.extend(string(client_id));
        client.send(&packet(0x10, &body));
        assert!(!client.accepted(), "{client_id}: a session was there");
        client
    }

    /// Connects TCP only.
    #[must_use]
    #[track_caller]
    pub fn open(port: u16, version: Version) -> Self {
        Self {
            wire: WireClient::open(port, version).expect("a connection"),
            version,
            next_identifier: 1,
            early: VecDeque::new(),
        }
    }

    /// Takes the CONNACK; true if a session is present.
    #[track_caller]
    fn accepted(&mut self) -> bool {
        let packet = self.answer(0x20);
        match packet.body.as_slice() {
            [present @ (0 | 1), 0, ..] => *present == 1,
            _ => panic!("refused with {packet:?}"),
        }
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes).expect("an open connection");
    }

    /// The next packet.
    #[track_caller]
    pub fn receive(&mut self) -> Packet {
        self.early.pop_front().unwrap_or_else(|| self.read())
    }

    #[track_caller]
    fn read(&mut self) -> Packet {
        let packet = self.wire.receive().expect("a packet");
        packet.expect("a packet and not the end of the connection")
    }

    /// The next packet with this first byte; others are kept for later.
    #[track_caller]
    pub fn answer(&mut self, head: u8) -> Packet {
        if let Some(index) = self.early.iter().position(|it| it.head == head) {
            return self.early.remove(index).expect("a packet at its place");
        }
        loop {
            let packet = self.read();
            if packet.head == head {
                return packet;
            }
            assert_ne!(packet.head, 0xe0, "the broker disconnects: {packet:?}");
            self.early.push_back(packet);
        }
    }

    /// The next packet has to have these bytes.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let found = self.receive();
        assert_eq!(packet(found.head, &found.body), bytes);
    }

    /// The broker has to close the connection and nothing else may come before: in MQTT 5 a
    /// DISCONNECT with this reason, in MQTT 3 nothing.
    #[track_caller]
    pub fn expect_closed(mut self, reason: u8) {
        if self.version == Version::V5 {
            let packet = self.receive();
            assert_eq!(packet.head, 0xe0, "{packet:?}");
            assert_eq!(packet.body.first(), Some(&reason), "{packet:02x?}");
        }
        assert_eq!(self.early, [], "came before the end");
        match self.wire.receive() {
            Ok(None) => {}
            // With bytes of ours unread a close becomes a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the connection is not closed: {other:?}"),
        }
    }

    /// Subscribes to one filter with these options, which have to be granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let codes = self.subscribe_all(&[(filter, options)]);
        assert_eq!(codes, [options & 0b11], "{filter}");
    }

    /// Subscribes to one filter with these options and a Subscription Identifier.
    #[track_caller]
    pub fn subscribe_identified(&mut self, filter: &str, options: u8, identifier: u32) {
        let properties = crate::subscription::subscription_identifier(identifier);
        let codes = self.subscribe_with(&properties, &[(filter, options)]);
        assert_eq!(codes, [options & 0b11], "{filter}");
    }

    /// Subscribes in one packet; the codes of the SUBACK.
    #[track_caller]
    pub fn subscribe_all(&mut self, filters: &[(impl AsRef<[u8]>, u8)]) -> Vec<u8> {
        self.subscribe_with(&[], filters)
    }

    /// Subscribes in one packet with properties; the codes of the SUBACK.
    #[track_caller]
    pub fn subscribe_with(
        &mut self,
        properties: &[u8],
        filters: &[(impl AsRef<[u8]>, u8)],
    ) -> Vec<u8> {
        let identifier = self.identifier();
        self.send(&subscribe(self.version, identifier, properties, filters));
        self.codes(0x90, identifier)
    }

    /// Ends subscriptions in one packet; the codes of the UNSUBACK, which MQTT 3 does not have.
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let identifier = self.identifier();
        self.send(&unsubscribe(self.version, identifier, &[], filters));
        self.codes(0xb0, identifier)
    }

    /// The codes of the SUBACK or UNSUBACK for this Packet Identifier.
    #[track_caller]
    fn codes(&mut self, head: u8, identifier: u16) -> Vec<u8> {
        let body = self.answer(head).body;
        let (found, mut rest) = body.split_at(2);
        assert_eq!(found, identifier.to_be_bytes(), "the Packet Identifier");
        if self.version == Version::V5 {
            let length = read_integer(&mut rest);
            rest = &rest[length as usize..];
        }
        rest.to_vec()
    }

    /// Publishes and waits until that is acknowledged to the end; for QoS 0 until it was handled.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_flagged(topic, payload, qos << 1);
    }

    /// Publishes a message to be retained, as [`StrictClient::publish`] does.
    #[track_caller]
    pub fn retain(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_flagged(topic, payload, qos << 1 | 1);
    }

    #[track_caller]
    fn publish_flagged(&mut self, topic: &str, payload: &str, flags: u8) {
        let qos = flags >> 1;
        let identifier = self.send_publish(topic, payload, flags).to_be_bytes();
        match qos {
            0 => self.ping(),
            1 => assert_eq!(self.answer(0x40).body[..2], identifier),
            _ => {
                assert_eq!(self.answer(0x50).body[..2], identifier);
                self.send(&packet(0x62, &identifier));
                assert_eq!(self.answer(0x70).body[..2], identifier);
            }
        }
    }

    /// Sends a PUBLISH with these flags and waits for nothing; returns the Packet Identifier.
    #[track_caller]
    pub fn send_publish(&mut self, topic: &str, payload: &str, flags: u8) -> u16 {
        let mut body = string(topic);
        let mut identifier = 0;
        if flags & 0b110 != 0 {
            identifier = self.identifier();
            body.extend(identifier.to_be_bytes());
        }
        body.extend(self.version.no_properties());
        body.extend(payload.as_bytes());
        self.send(&packet(0x30 | flags, &body));
        identifier
    }

    /// The next message, which is acknowledged to the end.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        let message = self.unacknowledged();
        self.acknowledge(&message);
        message
    }

    /// So many messages, which are acknowledged to the end.
    #[track_caller]
    pub fn messages(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.message()).collect()
    }

    /// The payloads of so many messages, which are acknowledged to the end.
    #[track_caller]
    pub fn payloads(&mut self, count: usize) -> Vec<String> {
        let messages = self.messages(count).into_iter();
        messages.map(|message| message.payload).collect()
    }

    /// The next message, which is not acknowledged.
    #[track_caller]
    pub fn unacknowledged(&mut self) -> Message {
        let packet = self.receive();
        let message = Message::decode(&packet, self.version);
        message.unwrap_or_else(|| panic!("no PUBLISH: {packet:?}"))
    }

    /// Acknowledges a message to the end.
    #[track_caller]
    pub fn acknowledge(&mut self, message: &Message) {
        let identifier = message.identifier.to_be_bytes();
        match message.qos {
            0 => {}
            1 => self.send(&packet(0x40, &identifier)),
            _ => {
                self.send(&packet(0x50, &identifier));
                assert_eq!(self.answer(0x62).body[..2], identifier);
                self.send(&packet(0x70, &identifier));
            }
        }
    }

    /// Every message that is there already, acknowledged to the end.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        // What the broker had before it read a PINGREQ it may send behind the PINGRESP, so one
        // round without a message is not enough.
        let mut silent_rounds = 0;
        while silent_rounds < 2 {
            self.ping();
            silent_rounds += 1;
            while !self.early.is_empty() {
                silent_rounds = 0;
                messages.push(self.message());
            }
        }
        messages
    }

    /// Nothing may have come and nothing may be on its way.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        assert_eq!(self.drain(), [], "nothing should come");
    }

    /// Sends a PINGREQ and waits for the PINGRESP.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        self.answer(0xd0);
    }

    /// Ends the connection in order and waits until the broker has closed it.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send(&[0xe0, 0]);
        self.read_to_end();
    }

    /// Ends the connection without a word and waits until the broker has closed it.
    #[track_caller]
    pub fn vanish(mut self) {
        self.wire.finish().expect("an open connection");
        self.read_to_end();
    }

    /// Ends the connection without a word, as the death of the client's process would.
    #[track_caller]
    pub fn die(self) {
        let handle = self.wire.handle().expect("a handle");
        handle.shutdown(Shutdown::Both).expect("an open connection");
    }

    fn read_to_end(&mut self) {
        while matches!(self.wire.receive(), Ok(Some(_))) {}
    }

    fn identifier(&mut self) -> u16 {
        let identifier = self.next_identifier;
        self.next_identifier = identifier.checked_add(1).unwrap_or(1);
        identifier
    }
}

impl Message {
    /// What a packet is as a PUBLISH.
    fn decode(packet: &Packet, version: Version) -> Option<Self> {
        if packet.head >> 4 != 3 {
            return None;
        }
        let (length, rest) = packet.body.split_first_chunk()?;
        let (topic, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let qos = packet.head >> 1 & 0b11;
        let mut identifier = 0;
        if qos > 0 {
            let (bytes, after) = rest.split_first_chunk()?;
            identifier = u16::from_be_bytes(*bytes);
            rest = after;
        }
        let mut subscription_identifiers = Vec::new();
        if version == Version::V5 {
            let length = read_integer(&mut rest);
            let (mut properties, after) = rest.split_at_checked(length as usize)?;
            rest = after;
            // Nothing else is published here.
            while let Some((0x0b, after)) = properties.split_first() {
                properties = after;
                subscription_identifiers.push(read_integer(&mut properties));
            }
            assert!(properties.is_empty(), "others come: {properties:02x?}");
        }
        Some(Self {
            topic: String::from_utf8(topic.to_vec()).ok()?,
            payload: String::from_utf8(rest.to_vec()).ok()?,
            qos,
            is_retained: packet.head & 1 != 0,
            is_duplicate: packet.head & 0b1000 != 0,
            identifier,
            subscription_identifiers,
        })
    }
}

/// Takes a Variable Byte Integer off the front.
fn read_integer(bytes: &mut &[u8]) -> u32 {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let Some((byte, rest)) = bytes.split_first() else {
            break;
        };
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    value
}
