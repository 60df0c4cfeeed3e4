//! SUBSCRIBE and UNSUBSCRIBE of one client.

use mqtt::packet::{Subscribe, SubscriptionOptions, Unsubscribe};
use mqtt::{ProtocolViolation, QoS, ReasonCode, TopicFilter};
use persistence::Position;

use super::client::Client;
use super::outbox::Reply;

impl Client {
    pub(super) fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<(), ProtocolViolation> {
        let rewrite = |text: &str| self.exchange.extensions.rewrites.filter(text, self.who());
        let checked = self
            .protocol
            .check_subscribe(packet, &self.limits, rewrite)?;
        let (mut codes, mut position) = (Vec::new(), Position(0));
        for it in checked {
            let made = it.and_then(|(filter, options)| {
                self.subscribe_one(filter, options, packet.identifier())
            });
            let code = match made {
                Ok((code, made)) => {
                    position = position.max(made);
                    code
                }
                Err(code) => code,
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
        filter: TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> Result<(ReasonCode, Position), ReasonCode> {
        let full = ReasonCode::QuotaExceeded;
        let state = self.link.lock();
        let is_new = !state.subscriptions.contains(&filter);
        if is_new && state.subscriptions.counts().0 >= self.limits.subscriptions_max {
            return Err(full);
        }
        drop(state);
        // One that is known goes on, and its answer waits for the store.
        if is_new && self.link.durable().is_some() && self.exchange.store.is_failing() {
            return Err(full);
        }
        let made = self
            .exchange
            .subscribe(&self.link, filter, options, identifier);
        // Another client has it exclusively.
        made.map(|position| (granted(options), position))
            .ok_or(full)
    }

    pub(super) fn unsubscribe(
        &mut self,
        packet: &Unsubscribe<'_>,
    ) -> Result<(), ProtocolViolation> {
        let rewrite = |text: &str| self.exchange.extensions.rewrites.filter(text, self.who());
        let checked = self.protocol.check_unsubscribe(packet, rewrite)?;
        let (mut codes, mut position) = (Vec::new(), Position(0));
        for filter in checked {
            let ended = filter.map(|filter| self.exchange.unsubscribe(&self.link, &filter));
            let code = match ended {
                Ok(Some(ended)) => {
                    position = position.max(ended);
                    ReasonCode::Success
                }
                Ok(None) => ReasonCode::NoSubscriptionExisted,
                Err(code) => code,
            };
            codes.push(code as u8);
        }
        let mut encoded = Vec::new();
        self.protocol
            .encode_unsuback(packet.packet_id, &codes, &mut encoded);
        self.outbox.reply(position, Reply::Encoded(encoded));
        Ok(())
    }
}

const fn granted(options: SubscriptionOptions) -> ReasonCode {
    match options.qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
