//! Presence events: who connects and who is gone, below `$SYS`, in the form that NanoMQ has.

use std::net::IpAddr;

use mqtt::{ProtocolVersion, ReasonCode};
use persistence::Clock;
use serde_json::{Value, json};

use crate::exchange::Exchange;

/// What is said of a client that comes and goes.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) user_name: Option<String>,
    pub(crate) address: IpAddr,
    pub(crate) version: ProtocolVersion,
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
}

impl Exchange {
    /// Says that a client has connected.
    pub(crate) fn announce_online(&self, client_id: &str, presence: &Presence) {
        self.announce_presence("connected", client_id, || {
            json!({
                "status": "online",
                "client_id": client_id,
                "username": presence.user_name.as_deref().unwrap_or_default(),
                "ts": Clock::wall_millis(),
                "proto_name": presence.version.protocol_name(),
                "proto_ver": presence.version as u8,
                "keepalive": presence.keep_alive,
                "return_code": "0",
                "clean_start": u8::from(presence.clean_start),
                "IPv4": presence.address.to_string(),
            })
        });
    }

    /// Says that a client is gone, and with which reason.
    pub(crate) fn announce_offline(
        &self,
        client_id: &str,
        presence: &Presence,
        reason: ReasonCode,
    ) {
        self.announce_presence("disconnected", client_id, || {
            json!({
                "status": "offline",
                "client_id": client_id,
                "username": presence.user_name.as_deref().unwrap_or_default(),
                "ts": Clock::wall_millis(),
                "reason_code": format!("{:02x}", reason as u8),
                "IPv4": presence.address.to_string(),
            })
        });
    }

    fn announce_presence(&self, event: &str, client_id: &str, describe: impl Fn() -> Value) {
        // Clients that come and go are not worth more when nobody looks.
        if !self.extensions.client_events || !self.router.has_reserved() {
            return;
        }
        let topics = [
            format!("$SYS/brokers/client_status/{client_id}"),
            format!("$SYS/brokers/{event}"),
        ];
        for topic in topics {
            self.route_if_wanted(&topic, || describe().to_string());
        }
    }
}
