//! Whose session what is under way of QoS 2 belongs to.
//!
//! A bridge that is moved to another hub, or gets another Client Identifier, may be moved back one day.
//! Then it finds a session with Packet Identifiers that it never released, and the hub would take
//! new messages under them for repetitions of old ones, and throw them away.

use gateway::Client;
use mqtt::ReasonCode;
use mqtt::connection::PendingAck;
use mqtt::packet::AckKind;
use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::options::Options;
use crate::record;

/// What is written down of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Fields {
    /// The Client Identifier and the hub. Empty for several hubs, which are sent no QoS 2.
    #[serde(default)]
    partner: Option<String>,
}

/// A hub is asked for its session. If it does not answer, or the bridge stops before, what was known
/// of it is still believed, by a restart too: only a process that ends meanwhile may have missed an
/// answer.
pub(crate) struct Asking<'c>(Option<&'c Client>);

impl<'c> Asking<'c> {
    pub(crate) const fn new(client: &'c Client) -> Self {
        Self(Some(client))
    }

    /// The hub has answered, which [`settle`] notes.
    pub(crate) fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.0 {
            client.connected(true);
        }
    }
}

/// Settles with a hub that has accepted the bridge, at this place in the list, what is under way of
/// QoS 2.
pub(crate) fn settle(options: &Options, place: usize, hub: &mut Hub, client: &Client) {
    let is_alone = options.targets.len() == 1;
    let name = format!(
        "{} at {}",
        options.client.client_id, options.targets[place].name
    );
    let partner = if is_alone { name } else { String::new() };
    let known: Fields = record::get(client);
    let is_other = known.partner.as_ref().is_some_and(|it| *it != partner);
    // The hub counts its identifiers anew, or they may be those of another hub: better a message
    // comes twice than that a new one is taken for it, or that one which only the other has is
    // given up.
    let is_kept = hub.session_present && is_alone && !is_other;
    client.connected(is_kept);
    if is_alone && is_other && hub.session_present {
        release_all(hub);
    }
    // Behind what was forgotten, in the store too.
    let fields = Fields {
        partner: Some(partner),
    };
    if fields != known {
        record::put(client, &serde_json::to_string(&fields).unwrap_or_default());
    }
}

/// Whatever the hub has of before is released, and then nothing is repeated there: it answers in
/// order, so what is published behind this is not concerned.
fn release_all(hub: &mut Hub) {
    for packet_id in 1..=u16::MAX {
        let pubrel = PendingAck::new(AckKind::Pubrel, packet_id, ReasonCode::Success);
        hub.connection.encode_ack(pubrel, &mut hub.output);
    }
}
