//! What a test says to the daemon and expects of it, step by step; each step panics if it fails.

use crate::daemon::Daemon;
use crate::message::Message;
use crate::property::{self, Property};
use crate::wire::{Kept, Version, WireClient, connect, packet};

/// The first byte of a PUBACK.
pub const PUBACK: u8 = 0x40;
/// The first byte of a PUBREC.
pub const PUBREC: u8 = 0x50;
/// The first byte of a PUBREL.
pub const PUBREL: u8 = 0x62;
/// The first byte of a PUBCOMP.
pub const PUBCOMP: u8 = 0x70;

/// A PUBACK, PUBREC, PUBREL or PUBCOMP: its first byte, Packet Identifier and Reason Code, which
/// is 0 where it is left out.
pub type Answer = (u8, u16, u8);

/// A client without a session.
///
/// # Panics
/// It is not let in.
#[must_use]
#[track_caller]
pub fn join(daemon: &Daemon, version: Version, client_id: &str) -> WireClient {
    let joined = WireClient::connect(daemon.port(), version, client_id, Kept::Nothing);
    joined.expect("a connection").0
}

/// A client with a session that is kept; true if there was one.
///
/// # Panics
/// It is not let in.
#[must_use]
#[track_caller]
pub fn resume(daemon: &Daemon, version: Version, client_id: &str) -> (WireClient, bool) {
    let resumed = WireClient::connect(daemon.port(), version, client_id, Kept::Session);
    resumed.expect("a connection")
}

/// The same for MQTT 5 with these properties in its CONNECT, besides the Session Expiry Interval.
///
/// # Panics
/// It is not let in.
#[must_use]
#[track_caller]
pub fn resume_with(
    daemon: &Daemon,
    client_id: &str,
    properties: &[Property],
) -> (WireClient, bool) {
    let mut all = vec![Property::four_bytes(0x11, 3600)];
    all.extend_from_slice(properties);
    // CONNECT without its fixed header and its properties, which take six bytes here.
    let plain = connect(Version::V5, client_id, Kept::Session);
    let (front, id) = plain[2..].split_at(10);
    let body = [front, &property::encode(&all), &id[6..]].concat();
    let mut client = WireClient::open(daemon.port(), Version::V5).expect("a connection");
    client.send(&packet(0x10, &body)).expect("a connection");
    let answer = client.expect(0x20).expect("a CONNACK");
    assert_eq!(answer.body[1], 0, "refused: {answer:?}");
    (client, answer.body[0] == 1)
}

/// Subscribes a session that is kept, and leaves it waiting.
///
/// # Panics
/// It does not get the subscription.
#[track_caller]
pub fn leave_session(daemon: &Daemon, version: Version, client_id: &str, filter: &str, qos: u8) {
    let (mut client, _) = resume(daemon, version, client_id);
    client.subscribe(filter, qos).expect("a subscription");
    client.disconnect().expect("an end in order");
}

impl WireClient {
    /// Sends a PUBLISH.
    ///
    /// # Panics
    /// The connection has ended.
    #[track_caller]
    pub fn say(&mut self, message: &Message) {
        let bytes = message.encode(self.version());
        self.send(&bytes).expect("a connection");
    }

    /// Sends a PUBLISH and goes all the way that its QoS demands.
    ///
    /// # Panics
    /// An answer does not come or has another Packet Identifier.
    #[track_caller]
    pub fn deliver(&mut self, message: &Message) {
        self.say(message);
        let identifier = message.identifier;
        let expect = |client: &mut Self, head| {
            let answer = client.answer();
            assert_eq!((answer.0, answer.1), (head, identifier), "{message:?}");
        };
        match message.qos {
            0 => {}
            1 => expect(self, PUBACK),
            _ => {
                expect(self, PUBREC);
                self.reply(PUBREL, identifier);
                expect(self, PUBCOMP);
            }
        }
    }

    /// The PUBLISH that comes next.
    ///
    /// # Panics
    /// Something else comes.
    #[track_caller]
    pub fn hear(&mut self) -> Message {
        let packet = self.receive().expect("a packet").expect("a connection");
        let message = Message::decode(&packet, self.version());
        message.unwrap_or_else(|| panic!("no PUBLISH: {packet:?}"))
    }

    /// The PUBLISH that comes next, answered all the way that its QoS demands.
    ///
    /// # Panics
    /// Something else comes.
    #[track_caller]
    pub fn take(&mut self) -> Message {
        let message = self.hear();
        let identifier = message.identifier;
        match message.qos {
            0 => {}
            1 => self.reply(PUBACK, identifier),
            _ => {
                self.reply(PUBREC, identifier);
                assert_eq!(self.answer(), (PUBREL, identifier, 0));
                self.reply(PUBCOMP, identifier);
            }
        }
        message
    }

    /// So many messages, each answered all the way that its QoS demands, and those that come
    /// before the last of them is completed.
    ///
    /// # Panics
    /// Something else comes.
    #[track_caller]
    pub fn take_many(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut unreleased = 0;
        while messages.len() < count || unreleased > 0 {
            let packet = self.receive().expect("a packet").expect("a connection");
            if let Some(message) = Message::decode(&packet, self.version()) {
                match message.qos {
                    0 => {}
                    1 => self.reply(PUBACK, message.identifier),
                    _ => {
                        self.reply(PUBREC, message.identifier);
                        unreleased += 1;
                    }
                }
                messages.push(message);
            } else {
                assert_eq!(packet.head, PUBREL, "{packet:?}");
                self.reply(
                    PUBCOMP,
                    u16::from_be_bytes([packet.body[0], packet.body[1]]),
                );
                unreleased -= 1;
            }
        }
        messages
    }

    /// Sends a PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Panics
    /// The connection has ended.
    #[track_caller]
    pub fn reply(&mut self, head: u8, identifier: u16) {
        let bytes = packet(head, &identifier.to_be_bytes());
        self.send(&bytes).expect("a connection");
    }

    /// The same with a Reason Code.
    ///
    /// # Panics
    /// The connection has ended.
    #[track_caller]
    pub fn reply_reason(&mut self, head: u8, identifier: u16, reason: u8) {
        let [high, low] = identifier.to_be_bytes();
        let bytes = packet(head, &[high, low, reason]);
        self.send(&bytes).expect("a connection");
    }

    /// The PUBACK, PUBREC, PUBREL or PUBCOMP that comes next.
    ///
    /// # Panics
    /// Something else comes.
    #[must_use]
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let packet = self.receive().expect("a packet").expect("a connection");
        let is_answer = matches!(packet.head, PUBACK | PUBREC | PUBREL | PUBCOMP);
        assert!(is_answer, "no answer: {packet:?}");
        let identifier = u16::from_be_bytes([packet.body[0], packet.body[1]]);
        (
            packet.head,
            identifier,
            packet.body.get(2).copied().unwrap_or_default(),
        )
    }

    /// Nothing waits to be sent to this client, and what it has sent before is handled: the
    /// answers to two PINGREQs come next. The first may overtake a message that is on its way.
    ///
    /// # Panics
    /// Something else comes.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        for _ in 0..2 {
            self.send(&[0xc0, 0]).expect("a connection");
            let packet = self.receive().expect("a packet").expect("a connection");
            assert_eq!(packet.head, 0xd0, "{packet:?}");
        }
    }

    /// Waits until what this client has sent before is handled, and ignores what comes meanwhile.
    ///
    /// # Panics
    /// The connection ends.
    #[track_caller]
    pub fn skip(&mut self) {
        self.send(&[0xc0, 0]).expect("a connection");
        while self
            .receive()
            .expect("a packet")
            .expect("a connection")
            .head
            != 0xd0
        {}
    }

    /// The connection is closed by the daemon, to MQTT 5 with a DISCONNECT of this reason, and
    /// nothing else comes before.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn expect_closed(&mut self, reason: u8) {
        if self.version() == Version::V5 {
            self.expect_disconnect(reason);
        } else {
            self.expect_end();
        }
    }
}
