//! What one client says and hears: CONNECT, perhaps SUBSCRIBE, then its load.

use mqtt::ReasonCode;
use mqtt::packet::{
    AckKind, Connack, Connect, Frame, Packet, Properties, Property, PropertyOwner,
    SubscriptionOptions, encode_subscribe,
};

use super::course::Course;
use super::fault::Fault;
use super::plan::{Member, Plan, Role};
use super::publisher::Publisher;
use super::schedule::Schedule;
use super::subscriber::Subscriber;
use super::tally::Tally;

/// Bytes of a packet that are taken: all that there can be.
const PACKET_BYTES_MAX: usize = 256 << 20 | 5;
const SUBSCRIBE_ID: u16 = 1;

/// What takes the packets of one client.
#[derive(Debug)]
pub(super) struct Dialogue {
    member: Member,
    schedule: Option<Schedule>,
    phase: Phase,
    /// Once it is connected.
    publisher: Option<Publisher>,
    subscriber: Option<Subscriber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Subscribing,
    Ready,
}

impl Dialogue {
    pub(super) const fn new(member: Member, schedule: Option<Schedule>) -> Self {
        Self {
            member,
            schedule,
            phase: Phase::Connecting,
            publisher: None,
            subscriber: None,
        }
    }

    /// Whether the client is connected, and subscribed if it is a subscriber.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// The place of the client among all of them.
    pub(super) const fn index(&self) -> usize {
        self.member.index
    }

    /// The client as a publisher, if it is one and connected.
    pub(super) const fn publisher(&mut self) -> Option<&mut Publisher> {
        self.publisher.as_mut()
    }

    /// Takes the packets that are there whole; returns how many bytes they have.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        course: &Course,
        worker: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let now = course.clock.now();
        let mut tally = course.tally(worker);
        let mut used = 0;
        while let Some((frame, length)) = Frame::split(&bytes[used..], PACKET_BYTES_MAX)? {
            let packet = Packet::decode(frame, course.plan.version)?;
            self.handle(packet, now, course, &mut tally, out)?;
            used += length;
        }
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.end_batch(now, course, &mut tally);
        }
        Ok(used)
    }

    fn handle(
        &mut self,
        packet: Packet<'_>,
        now: u64,
        course: &Course,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match (packet, &mut self.publisher, &mut self.subscriber) {
            (Packet::Publish(publish), _, Some(subscriber)) => {
                subscriber.take(&publish, now, course, tally, out);
                Ok(())
            }
            (Packet::Ack(ack), _, Some(subscriber)) if ack.kind == AckKind::Pubrel => {
                subscriber.release(ack.packet_id, out);
                Ok(())
            }
            (Packet::Ack(ack), Some(publisher), _) if ack.kind != AckKind::Pubrel => {
                publisher.handle(ack, now, tally, out)
            }
            (Packet::Connack(connack), ..) if self.phase == Phase::Connecting => {
                self.begin(connack, course, out)
            }
            (Packet::Suback(suback), ..) if self.phase == Phase::Subscribing => {
                self.phase = Phase::Ready;
                let refused = suback
                    .codes
                    .iter()
                    .filter_map(|&it| ReasonCode::from_u8(it));
                let mut refused = refused.filter(|it| it.is_error());
                refused
                    .next()
                    .map_or(Ok(()), |it| Err(Fault::SubscriptionRefused(it)))
            }
            (Packet::Pingresp, ..) => Ok(()),
            (Packet::Disconnect(disconnect), ..) => Err(Fault::Ended(disconnect.reason)),
            (packet, ..) => Err(Fault::Unexpected(name(&packet))),
        }
    }

    /// The broker has answered the CONNECT.
    fn begin(
        &mut self,
        connack: Connack<'_>,
        course: &Course,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if connack.reason != ReasonCode::Success {
            return Err(Fault::Refused(connack.reason));
        }
        let plan = &course.plan;
        self.phase = match (self.member.role, plan.filter(self.member)) {
            (Role::Subscriber, Some((filter, qos))) => {
                let options = SubscriptionOptions {
                    qos,
                    ..SubscriptionOptions::default()
                };
                encode_subscribe(out, plan.version, SUBSCRIBE_ID, &[(&filter, options)]);
                self.subscriber = Some(Subscriber::new(plan.version));
                Phase::Subscribing
            }
            (Role::Subscriber | Role::Publisher | Role::Idle, _) => Phase::Ready,
        };
        let mut receive_maximum = u16::MAX;
        for property in connack.properties.iter() {
            if let Property::ReceiveMaximum(value) = property {
                receive_maximum = value;
            } else if let Property::ServerKeepAlive(seconds) = property {
                course.limit_keep_alive(seconds);
            }
        }
        let publishing = plan.publishing();
        if let Some(publishing) = publishing.filter(|_| self.member.role == Role::Publisher) {
            let (member, schedule) = (self.member, self.schedule);
            let publisher = Publisher::new(course, member, publishing, schedule, receive_maximum);
            self.publisher = Some(publisher);
        }
        Ok(())
    }
}

/// Appends the CONNECT of a client.
pub(super) fn put_connect(plan: &Plan, member: Member, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut properties = Vec::new();
    if plan.session_expiry > 0 {
        Property::SessionExpiryInterval(plan.session_expiry).encode(&mut properties);
    }
    let connect = Connect {
        version: plan.version,
        is_bridge: false,
        clean_start: plan.clean_start,
        keep_alive: plan.keep_alive,
        // MQTT 3 leaves them out.
        properties: Properties::checked(&properties, PropertyOwner::Connect)?,
        client_id: &plan.client_id(member),
        will: None,
        user_name: plan.user_name.as_deref(),
        password: plan.password.as_deref().map(str::as_bytes),
    };
    Packet::Connect(connect).encode(plan.version, out);
    Ok(())
}

const fn name(packet: &Packet<'_>) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::Connack(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::Ack(_) => "an acknowledgement",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::Suback(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::Unsuback(_) => "UNSUBACK",
        Packet::Pingreq => "PINGREQ",
        Packet::Pingresp => "PINGRESP",
        Packet::Disconnect(_) => "DISCONNECT",
        Packet::Auth(_) => "AUTH",
    }
}
