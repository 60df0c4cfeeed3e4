//! The protocol, chapter by chapter, over real sockets and byte by byte.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, also outside their functions"
)]

mod acknowledgements;
mod authentication;
mod bridge_bit;
mod client_id;
mod connack;
mod connect;
mod data;
mod disconnect;
mod exclusive;
mod farewell;
mod fixed_header;
mod flow_control;
mod keep_alive;
mod message_expiry;
mod order;
mod order_property;
mod packet_size;
mod properties;
mod publish;
mod publish_properties;
mod quality_of_service;
mod redelivery;
mod request_response;
mod retained;
mod session;
mod share_departures;
mod share_strategies;
mod shared;
mod subscribe;
mod subscription_identifier;
mod subscription_limits;
mod subscription_options;
mod subscription_restart;
mod takeover;
mod topic_alias;
mod topics;
mod unsubscribe;
mod will;
mod will_delay;
