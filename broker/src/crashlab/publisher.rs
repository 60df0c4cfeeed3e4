//! A publisher with a session: what is not acknowledged is sent again on the next connection,
//! under the same Packet Identifiers and in the same order.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt::packet::{Ack, AckKind, Packet};
use mqtt::session::{
    Acknowledged, Delivery, Enqueue, Outgoing, QueueClass, QueueLimits, Session, WhenFull,
};
use mqtt::{ProtocolVersion, QoS, ReasonCode, Timestamp};

use super::connection::{Accepted, Connection, broken, decode, put_ack, put_publish};
use super::history::Publication;
use super::lab::{Lab, Random, Stage};
use super::workload::Id;

/// Messages that are on their way at most.
const WINDOW: u16 = 64;
/// Messages of a publisher that are not acknowledged at most.
const BACKLOG_MAX: u64 = 100;
/// The time between two bursts.
const BURST_INTERVAL: Duration = Duration::from_millis(10);
/// Messages of a burst are fewer than this, and once in a while as many as one can be.
const BURST: u64 = 8;
const LARGE_BURST_EVERY: u64 = 30;
const LIMITS: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 64 << 20,
    live_bytes_max: 0,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};

/// One publisher.
pub(super) struct Publisher<'l> {
    lab: &'l Lab,
    index: usize,
    client_id: String,
    version: ProtocolVersion,
    qos: QoS,
    random: Random,
    /// Its sequences are the numbers of the messages.
    session: Session,
    publications: Vec<Publication>,
    next_burst: Instant,
    is_known: bool,
}

impl<'l> Publisher<'l> {
    pub(super) fn new(
        lab: &'l Lab,
        index: usize,
        version: ProtocolVersion,
        qos: QoS,
        random: Random,
    ) -> Self {
        Self {
            lab,
            index,
            client_id: format!("publisher-{index}"),
            version,
            qos,
            random,
            session: Session::new(LIMITS, false),
            publications: Vec::new(),
            next_burst: Instant::now(),
            is_known: false,
        }
    }

    /// Publishes until the run is over and everything is acknowledged.
    pub(super) fn run(mut self) -> Vec<Publication> {
        while let Some((mut connection, accepted)) = self.lab.connect(self.version, &self.client_id)
        {
            match self.serve(&mut connection, accepted) {
                Ok(()) => {
                    connection.disconnect();
                    break;
                }
                Err(error) => self.lab.note_end(&self.client_id, &error),
            }
        }
        self.publications
    }

    fn serve(&mut self, connection: &mut Connection, accepted: Accepted) -> io::Result<()> {
        self.begin(accepted);
        let mut out = Vec::new();
        loop {
            if self.lab.is_at_least(Stage::Stop) {
                return Ok(());
            }
            if self.lab.is_at_least(Stage::Finish) {
                if self.session.backlog() == 0 {
                    return Ok(());
                }
            } else if self.lab.is_at_least(Stage::Publish) && self.next_burst <= Instant::now() {
                self.next_burst = Instant::now() + BURST_INTERVAL;
                self.add_burst();
            }
            self.put_outgoing(&mut out);
            connection.send(&out)?;
            out.clear();
            let wait = self.next_burst.saturating_duration_since(Instant::now());
            let wait = wait.max(Duration::from_millis(1)).min(BURST_INTERVAL);
            if let Some(bytes) = connection.receive(wait)? {
                let Packet::Ack(ack) = decode(&bytes, self.version)? else {
                    return Err(broken("a publisher gets what is no acknowledgement"));
                };
                self.handle(ack, connection.life, &mut out)?;
            }
        }
    }

    /// A connection begins.
    fn begin(&mut self, accepted: Accepted) {
        if !self.is_known {
            self.is_known = true;
            self.lab.note_ready();
        } else if !accepted.session_present {
            if self.lab.is_durable && self.publications.iter().any(|it| it.acknowledged.is_some()) {
                self.lab
                    .note_fault(format!("{}: the session is gone", self.client_id));
            }
            // The client's part of the session ends with the broker's [MQTT-3.2.2-5].
            self.session.take_undelivered();
        }
        self.session.resume(accepted.receive_maximum.min(WINDOW));
    }

    fn add_burst(&mut self) {
        let mut count = self.random.below(BURST);
        if self.random.below(LARGE_BURST_EVERY) == 0 {
            count = BACKLOG_MAX;
        }
        for _ in 0..count {
            if self.session.backlog() >= BACKLOG_MAX {
                return;
            }
            let id = Id {
                publisher: self.index,
                number: self.publications.len() as u64 + 1,
            };
            let Some(message) = id.message(self.qos) else {
                return;
            };
            let delivery = Delivery {
                sequence: 0,
                retain: message.retain,
                qos: message.qos,
                message: Arc::new(message),
                subscription_ids: Vec::new(),
                class: QueueClass::default(),
                expires_at: None,
            };
            let kept = self.session.enqueue(delivery);
            debug_assert_eq!(
                kept,
                Enqueue::Kept {
                    sequence: id.number
                }
            );
            self.publications.push(Publication::default());
        }
    }

    /// Appends what is to be sent now.
    fn put_outgoing(&mut self, out: &mut Vec<u8>) {
        while let Some(outgoing) = self.session.next(Timestamp::default(), &mut Vec::new()) {
            match outgoing {
                Outgoing::Publish {
                    delivery,
                    packet_id,
                    dup,
                } => {
                    if let Some(publication) = self.publication(delivery.sequence) {
                        publication.sends += 1;
                    }
                    put_publish(out, self.version, &delivery.message, packet_id, dup);
                }
                Outgoing::Release(packet_id) => {
                    put_ack(out, self.version, AckKind::Pubrel, packet_id);
                }
            }
        }
    }

    fn handle(&mut self, ack: Ack<'_>, life: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let is_refused = ack.kind != AckKind::Pubcomp && ack.reason >= ReasonCode::UnspecifiedError;
        if is_refused {
            return Err(broken(format!(
                "a message is refused with {:?}",
                ack.reason
            )));
        }
        let inflight = self.session.inflight_mut();
        let outcome = match ack.kind {
            AckKind::Puback => inflight.puback(ack.packet_id),
            AckKind::Pubrec => inflight.pubrec(ack.packet_id, false),
            AckKind::Pubcomp => inflight.pubcomp(ack.packet_id),
            AckKind::Pubrel => Acknowledged::Unknown,
        };
        match outcome {
            Acknowledged::Done(sequence) => self.note_acknowledged(sequence, life),
            Acknowledged::Release(sequence) => {
                self.note_acknowledged(sequence, life);
                put_ack(out, self.version, AckKind::Pubrel, ack.packet_id);
            }
            Acknowledged::Unknown => {
                let rule = format!("{:?} {} is for nothing", ack.kind, ack.packet_id);
                return Err(broken(rule));
            }
        }
        Ok(())
    }

    fn note_acknowledged(&mut self, number: u64, life: usize) {
        let moment = self.lab.moment(life);
        let Some(publication) = self.publication(number) else {
            return;
        };
        if publication.acknowledged.is_none() {
            publication.acknowledged = Some(moment);
            self.lab.note_acknowledged();
        }
    }

    fn publication(&mut self, number: u64) -> Option<&mut Publication> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.publications.get_mut(index)
    }
}
