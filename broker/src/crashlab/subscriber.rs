//! A subscriber with a session: it acknowledges what it has taken, and knows at QoS 2 which
//! Packet Identifiers are not released, over any number of connections.

use std::collections::HashMap;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use mqtt::packet::{Ack, AckKind, Packet, Publish};
use mqtt::{Message, ProtocolVersion, QoS, TopicName};

use super::connection::{
    Accepted, Connection, broken, decode, put_ack, put_publish, put_subscribe,
};
use super::history::Delivery;
use super::lab::{Lab, Stage};
use super::workload::Id;

/// The broker is asked what it knows after so many deliveries.
const BARRIER_DELIVERIES: usize = 50;
const BARRIER_ID: u16 = 1;
const SUBSCRIBE_ID: u16 = 2;
/// Messages that come together while a subscriber is away, in a long run.
const AWAY_MESSAGES: u64 = 40_000;
const WAIT: Duration = Duration::from_millis(20);
/// Retained messages that have not come after this time of silence do not come.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// When a subscriber is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    /// At the end, and in a long run once in a while.
    Late,
    /// Until so many retained messages have come.
    Retained(usize),
}

/// One subscriber.
pub(super) struct Subscriber<'l> {
    lab: &'l Lab,
    client_id: &'static str,
    version: ProtocolVersion,
    qos: QoS,
    filter: &'static str,
    presence: Presence,
    /// What is received at QoS 2 and not released, by its Packet Identifier.
    unreleased: HashMap<u16, Option<Id>>,
    log: Vec<Delivery>,
    /// From here on it is not sure that the broker knows the acknowledgements. What came on
    /// earlier connections never gets sure.
    unsettled_from: usize,
    /// Up to here it will be when the message to oneself is acknowledged.
    barrier: Option<usize>,
    connections: u32,
    is_known: bool,
    is_done: bool,
}

impl<'l> Subscriber<'l> {
    pub(super) fn new(
        lab: &'l Lab,
        client_id: &'static str,
        version: ProtocolVersion,
        qos: QoS,
        filter: &'static str,
        presence: Presence,
    ) -> Self {
        Self {
            lab,
            client_id,
            version,
            qos,
            filter,
            presence,
            unreleased: HashMap::new(),
            log: Vec::new(),
            unsettled_from: 0,
            barrier: None,
            connections: 0,
            is_known: false,
            is_done: false,
        }
    }

    /// The topic of the last message that a subscriber waits for.
    pub(super) fn end_topic(client_id: &str) -> String {
        format!("end/{client_id}")
    }

    /// Takes messages until the last one has come.
    pub(super) fn run(mut self) -> Vec<Delivery> {
        while !self.is_done {
            self.stay_away();
            let Some((mut connection, accepted)) = self.lab.connect(self.version, self.client_id)
            else {
                break;
            };
            match self.serve(&mut connection, accepted) {
                Ok(()) => connection.disconnect(),
                Err(error) => self.lab.note_end(self.client_id, &error),
            }
        }
        self.log
    }

    /// Waits until it is time to connect again.
    fn stay_away(&self) {
        if self.presence != Presence::Late || !self.is_known {
            return;
        }
        let back = self.lab.acknowledged() + AWAY_MESSAGES;
        while !self.lab.is_at_least(Stage::Drain) && self.lab.acknowledged() < back {
            sleep(WAIT);
        }
    }

    fn serve(&mut self, connection: &mut Connection, accepted: Accepted) -> io::Result<()> {
        let mut out = Vec::new();
        self.begin(accepted, &mut out);
        let goal = self.log.len() as u64 + AWAY_MESSAGES;
        let mut silence = Duration::ZERO;
        loop {
            connection.send(&out)?;
            out.clear();
            if self.is_enough(goal, silence) || self.lab.is_at_least(Stage::Stop) {
                return Ok(());
            }
            let Some(bytes) = connection.receive(WAIT)? else {
                silence += WAIT;
                continue;
            };
            silence = Duration::ZERO;
            self.handle(decode(&bytes, self.version)?, connection.life, &mut out)?;
            if self.barrier.is_none() && self.log.len() >= self.unsettled_from + BARRIER_DELIVERIES
            {
                self.put_barrier(self.log.len(), false, &mut out);
            }
        }
    }

    /// Whether this connection is to end.
    fn is_enough(&mut self, goal: u64, silence: Duration) -> bool {
        match self.presence {
            Presence::Always => {}
            Presence::Late if self.lab.is_at_least(Stage::Drain) => {}
            Presence::Late => {
                let is_first = self.connections == 1 && self.is_known;
                return self.is_done || is_first || self.log.len() as u64 >= goal;
            }
            Presence::Retained(count) => {
                self.is_done |= self.log.len() >= count || silence >= SILENCE_MAX;
            }
        }
        self.is_done
    }

    /// A connection begins.
    fn begin(&mut self, accepted: Accepted, out: &mut Vec<u8>) {
        self.connections += 1;
        self.unsettled_from = self.log.len();
        if !accepted.session_present {
            if self.is_known && self.lab.is_durable {
                let fault = format!("{}: the session is gone", self.client_id);
                self.lab.note_fault(fault);
            }
            self.unreleased.clear();
            let end = Self::end_topic(self.client_id);
            let filters = [self.filter, &end];
            put_subscribe(out, self.version, SUBSCRIBE_ID, &filters, self.qos);
        }
        if self.barrier.is_some() {
            // The acknowledgements before it may not have arrived, so it settles nothing.
            self.put_barrier(self.unsettled_from, true, out);
        }
    }

    /// Publishes a message that is stored, and so acknowledged when everything before it is.
    fn put_barrier(&mut self, settles: usize, dup: bool, out: &mut Vec<u8>) {
        let Ok(topic) = TopicName::new(&format!("barrier/{}", self.client_id)) else {
            return;
        };
        let message = Message {
            qos: QoS::AtLeastOnce,
            retain: true,
            ..Message::new(topic, settles.to_string())
        };
        put_publish(out, self.version, &message, BARRIER_ID, dup);
        self.barrier = Some(settles);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a subscriber gets these packets and no other"
    )]
    fn handle(&mut self, packet: Packet<'_>, life: usize, out: &mut Vec<u8>) -> io::Result<()> {
        match packet {
            Packet::Publish(publish) => self.take(&publish, life, out)?,
            Packet::Ack(Ack {
                kind: AckKind::Pubrel,
                packet_id,
                ..
            }) => {
                self.unreleased.remove(&packet_id);
                put_ack(out, self.version, AckKind::Pubcomp, packet_id);
            }
            Packet::Ack(Ack {
                kind: AckKind::Puback,
                packet_id: BARRIER_ID,
                ..
            }) if self.barrier.is_some() => {
                let barrier = self.barrier.take().unwrap_or_default();
                let now = self.lab.elapsed();
                for delivery in &mut self.log[self.unsettled_from..barrier] {
                    delivery.settled_at = Some(now);
                }
                self.unsettled_from = barrier;
            }
            Packet::Suback(suback) if suback.codes.iter().all(|&it| it == self.qos as u8) => {
                if !self.is_known {
                    self.is_known = true;
                    self.lab.note_ready();
                }
            }
            other => return Err(broken(format!("a subscriber gets {other:?}"))),
        }
        Ok(())
    }

    fn take(&mut self, publish: &Publish<'_>, life: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let header = publish.header;
        let packet_id = header.packet_id;
        let message = Id::of(header.topic, publish.payload);
        let held = match header.qos {
            QoS::AtMostOnce => return Err(broken("a delivery has QoS 0")),
            QoS::AtLeastOnce => {
                put_ack(out, self.version, AckKind::Puback, packet_id);
                None
            }
            QoS::ExactlyOnce => {
                put_ack(out, self.version, AckKind::Pubrec, packet_id);
                let held = self.unreleased.get(&packet_id).copied();
                self.unreleased.entry(packet_id).or_insert(message);
                held
            }
        };
        if header.topic == Self::end_topic(self.client_id) {
            self.is_done = true;
        } else if held.is_none_or(|held| held != message) {
            self.log.push(Delivery {
                message,
                is_mistaken: held.is_some(),
                qos: header.qos,
                dup: header.dup,
                is_retained: header.retain,
                packet_id,
                connection: self.connections,
                at: self.lab.moment(life),
                settled_at: None,
            });
        }
        Ok(())
    }
}
