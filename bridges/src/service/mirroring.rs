//! What clients subscribe to here is subscribed to at the hub, and what nothing here is for any more
//! is ended there.

use std::task::{Context, Poll};

use mqtt::connection::RequestError;
use mqtt::packet::{RetainHandling, Suback, SubscriptionOptions, Unsuback};
use mqtt::{QoS, ReasonCode, TopicFilter};

use super::Service;
use crate::hub::describe;
use crate::mirror::{Properties, Remark, Request};

/// What is said of a request that could not be sent.
const UNSENT: [u8; 8] = [ReasonCode::UnspecifiedError as u8; 8];

impl Service<'_> {
    /// Asks the hub for what clients want and to end what they do not want any more, as far as it
    /// may be asked now.
    pub(super) fn mirror(&mut self, context: &mut Context<'_>) {
        if self.mirror.is_on()
            && let Poll::Ready(wanted) = self.client.poll_wanted(context)
        {
            self.mirror.want(wanted);
            // There may be more, and if not, the next change is to wake this task.
            context.waker().wake_by_ref();
        }
        // Until then the identifiers of rules are in use.
        while self.unanswered == 0 && self.hub.has_room() && self.ask_next() {}
        for remark in self.mirror.take_remarks() {
            self.tell(&remark);
        }
    }

    /// Sends one request; false if there is none.
    fn ask_next(&mut self) -> bool {
        let Some(packet_id) = self.flight.free_identifier() else {
            return false;
        };
        let connection = &mut self.hub.connection;
        let bytes_max = connection.terms().packet_bytes_max as usize;
        let check = |filter: &TopicFilter| connection.check_filter(filter).err().map(reason);
        let Some(request) = self.mirror.next(packet_id, bytes_max, check) else {
            return false;
        };
        self.flight.reserve(packet_id);
        let out = &mut self.hub.output;
        let sent = match &request {
            Request::Make(filters) => {
                let filters: Vec<_> = filters.iter().cloned().map(subscription).collect();
                let Properties { identifier, user } = &self.mirror.properties;
                connection.encode_subscribe(packet_id, &filters, *identifier, user, out)
            }
            Request::End(filters) => connection.encode_unsubscribe(packet_id, filters, &[], out),
        };
        if let Err(error) = sent {
            let bridge = self.label;
            tracing::warn!(bridge, %error, "filters cannot be sent to the hub");
            self.flight.free(packet_id);
            self.mirror.answered(packet_id, &UNSENT);
        }
        true
    }

    fn tell(&self, remark: &Remark) {
        let bridge = self.label;
        match remark {
            Remark::Begun(filter) => self.client.note_mirrored(filter, true),
            Remark::Gone(filter) => self.client.note_mirrored(filter, false),
            Remark::Refused(filter, reason) => {
                let reason = describe(*reason, None);
                tracing::warn!(
                    bridge,
                    %filter,
                    reason,
                    "the hub refused a filter that clients subscribe to"
                );
                self.note_refused(filter.as_str(), &reason);
            }
            Remark::Full(filter) => tracing::warn!(
                bridge,
                %filter,
                "clients subscribe to more filters than `transparent_max_filters`: this one and \
                 further ones are left out until others have gone"
            ),
        }
    }

    /// A subscription that the hub refuses leaves the rest of the bridge at work.
    pub(super) fn on_suback(&mut self, suback: &Suback<'_>) {
        self.keep_alive.note_progress();
        if self.mirror.answered(suback.packet_id, suback.codes) {
            self.flight.free(suback.packet_id);
            return;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        let (bridge, filter) = (self.label, self.filter_of(suback.packet_id));
        for &code in suback.codes {
            let reason = ReasonCode::from_u8(code).filter(|it| it.is_error());
            if let Some(reason) = reason {
                let reason = describe(reason, suback.properties.reason_string());
                tracing::warn!(bridge, filter, reason, "the hub refused a subscription");
                self.note_refused(filter, &reason);
            }
        }
    }

    /// The filter of the rule that was subscribed to under this Packet Identifier. They count down
    /// from the greatest, one for each rule.
    fn filter_of(&self, packet_id: u16) -> &str {
        let mut rules = self.translation.remote_subscriptions();
        let rule = rules.nth((u16::MAX - packet_id).into());
        rule.map_or("", |it| it.filter.as_str())
    }

    /// The bridge goes on without a filter, and says so.
    fn note_refused(&self, filter: &str, reason: &str) {
        let problem = format!("the hub refused the filter `{filter}`: {reason}");
        self.status.note_problem(problem);
    }

    pub(super) fn on_unsuback(&mut self, unsuback: &Unsuback<'_>) {
        if self.mirror.answered(unsuback.packet_id, unsuback.codes) {
            self.flight.free(unsuback.packet_id);
        }
    }
}

/// As the hub is asked for a filter: what came from here does not come back, and what is retained
/// there is retained here too.
fn subscription((filter, qos): (TopicFilter, QoS)) -> (TopicFilter, SubscriptionOptions) {
    let options = SubscriptionOptions {
        qos,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    (filter, options)
}

fn reason(error: RequestError) -> ReasonCode {
    match error {
        RequestError::Unavailable(reason) => reason,
        RequestError::TooLarge => ReasonCode::PacketTooLarge,
        RequestError::Malformed | RequestError::InvalidProperty | RequestError::TooMany => {
            ReasonCode::UnspecifiedError
        }
    }
}
