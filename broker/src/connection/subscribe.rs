//! SUBSCRIBE and UNSUBSCRIBE of one client.

use mqtt::connection::SubscribeError;
use mqtt::packet::{Subscribe, SubscriptionOptions, Unsubscribe};
use mqtt::{ProtocolViolation, QoS, ReasonCode, TopicFilter};
use persistence::Position;

use super::client::Client;
use super::outbox::Reply;

impl Client {
    pub(super) fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<(), ProtocolViolation> {
        let (mut codes, mut position) = (Vec::new(), Position(0));
        for (text, options) in packet.filters() {
            let code = match self.subscribe_one(packet, text, options) {
                Ok((code, made)) => {
                    position = position.max(made);
                    code
                }
                Err(SubscribeError::Refused(code)) => code,
                Err(SubscribeError::Violation(violation)) => return Err(violation),
            };
            codes.push(code as u8);
        }
        let mut encoded = Vec::new();
        self.protocol
            .encode_suback(packet.packet_id, &codes, &mut encoded);
        self.outbox.reply(position, Reply::Encoded(encoded));
        Ok(())
    }

    fn subscribe_one(
        &self,
        packet: &Subscribe<'_>,
        text: &str,
        options: SubscriptionOptions,
    ) -> Result<(ReasonCode, Position), SubscribeError> {
        let rewritten = self.exchange.extensions.rewrites.filter(text, self.who());
        let text = rewritten.as_deref().unwrap_or(text);
        let (filter, options) =
            self.protocol
                .check_subscription(packet, text, options, &self.limits)?;
        let full = SubscribeError::Refused(ReasonCode::QuotaExceeded);
        let state = self.link.lock();
        let is_new = !state.subscriptions.contains_key(&filter);
        if is_new && state.subscriptions.len() >= self.limits.subscriptions_max {
            return Err(full);
        }
        drop(state);
        let identifier = packet.identifier();
        let made = self
            .exchange
            .subscribe(&self.link, filter, options, identifier);
        // Another client has it exclusively.
        made.map(|position| (granted(options), position))
            .ok_or(full)
    }

    pub(super) fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) {
        let mut codes = Vec::new();
        for text in packet.filters() {
            let rewritten = self.exchange.extensions.rewrites.filter(text, self.who());
            let text = rewritten.as_deref().unwrap_or(text);
            let code = match TopicFilter::new(text) {
                Ok(filter) if self.exchange.unsubscribe(&self.link, &filter) => ReasonCode::Success,
                Ok(_) => ReasonCode::NoSubscriptionExisted,
                Err(_) => ReasonCode::TopicFilterInvalid,
            };
            codes.push(code as u8);
        }
        let mut encoded = Vec::new();
        self.protocol
            .encode_unsuback(packet.packet_id, &codes, &mut encoded);
        self.outbox.reply(Position(0), Reply::Encoded(encoded));
    }
}

const fn granted(options: SubscriptionOptions) -> ReasonCode {
    match options.qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
