//! The properties of rumqttc's packets, which are a structure for each type of packet.

use bytes::Bytes;
use rumqttc::mqttbytes::v5::{
    AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties, LastWillProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties,
};

use crate::value::{Field, Item, Properties};

/// What PUBACK to PUBCOMP, SUBACK and UNSUBACK have in common, out of their different structures.
macro_rules! answer {
    ($properties:expr) => {
        $properties
            .as_ref()
            .map(|it| (it.reason_string.as_ref(), it.user_properties.as_slice()))
    };
}
pub(super) use answer;

type Pairs = [(String, String)];

fn byte(value: Option<u8>) -> Option<Item> {
    value.map(Item::Byte)
}

fn two(value: Option<u16>) -> Option<Item> {
    value.map(Item::Two)
}

fn four(value: Option<u32>) -> Option<Item> {
    value.map(Item::Four)
}

fn number(value: usize) -> Item {
    Item::Number(u32::try_from(value).unwrap())
}

fn text(value: Option<&String>) -> Option<Item> {
    value.map(|text| Item::Text(text.clone()))
}

fn binary(value: Option<&Bytes>) -> Option<Item> {
    value.map(|bytes| Item::Binary(bytes.to_vec()))
}

fn field(items: impl IntoIterator<Item = (u8, Option<Item>)>, users: &Pairs) -> Field {
    let items = items.into_iter();
    let items = items.filter_map(|(identifier, item)| Some((identifier, item?)));
    let users = users.iter().cloned();
    let users = users.map(|(name, value)| (0x26, Item::Pair(name, value)));
    Field::Properties(Properties(items.chain(users).collect()))
}

fn none() -> Field {
    Field::Properties(Properties::default())
}

pub(super) fn of_ack(answer: Option<(Option<&String>, &Pairs)>) -> Field {
    let Some((reason, users)) = answer else {
        return none();
    };
    field([(0x1F, text(reason))], users)
}

pub(super) fn of_connect(properties: Option<&ConnectProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x11, four(it.session_expiry_interval)),
        (0x21, two(it.receive_maximum)),
        (0x27, four(it.max_packet_size)),
        (0x22, two(it.topic_alias_max)),
        (0x19, byte(it.request_response_info)),
        (0x17, byte(it.request_problem_info)),
        (0x15, text(it.authentication_method.as_ref())),
        (0x16, binary(it.authentication_data.as_ref())),
    ];
    field(items, &it.user_properties)
}

pub(super) fn of_will(properties: Option<&LastWillProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x18, four(it.delay_interval)),
        (0x01, byte(it.payload_format_indicator)),
        (0x02, four(it.message_expiry_interval)),
        (0x03, text(it.content_type.as_ref())),
        (0x08, text(it.response_topic.as_ref())),
        (0x09, binary(it.correlation_data.as_ref())),
    ];
    field(items, &it.user_properties)
}

pub(super) fn of_connack(properties: Option<&ConnAckProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x11, four(it.session_expiry_interval)),
        (0x21, two(it.receive_max)),
        (0x24, byte(it.max_qos)),
        (0x25, byte(it.retain_available)),
        (0x27, four(it.max_packet_size)),
        (0x12, text(it.assigned_client_identifier.as_ref())),
        (0x22, two(it.topic_alias_max)),
        (0x1F, text(it.reason_string.as_ref())),
        (0x28, byte(it.wildcard_subscription_available)),
        (0x29, byte(it.subscription_identifiers_available)),
        (0x2A, byte(it.shared_subscription_available)),
        (0x13, two(it.server_keep_alive)),
        (0x1A, text(it.response_information.as_ref())),
        (0x1C, text(it.server_reference.as_ref())),
        (0x15, text(it.authentication_method.as_ref())),
        (0x16, binary(it.authentication_data.as_ref())),
    ];
    field(items, &it.user_properties)
}

pub(super) fn of_publish(properties: Option<&PublishProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x01, byte(it.payload_format_indicator)),
        (0x02, four(it.message_expiry_interval)),
        (0x23, two(it.topic_alias)),
        (0x08, text(it.response_topic.as_ref())),
        (0x09, binary(it.correlation_data.as_ref())),
        (0x03, text(it.content_type.as_ref())),
    ];
    let identifiers = it.subscription_identifiers.iter();
    let identifiers = identifiers.map(|it| (0x0B, Some(number(*it))));
    field(items.into_iter().chain(identifiers), &it.user_properties)
}

pub(super) fn of_subscribe(properties: Option<&SubscribeProperties>) -> Field {
    let Some(it) = properties else { return none() };
    field([(0x0B, it.id.map(number))], &it.user_properties)
}

pub(super) fn of_unsubscribe(properties: Option<&UnsubscribeProperties>) -> Field {
    let Some(it) = properties else { return none() };
    field([], &it.user_properties)
}

pub(super) fn of_disconnect(properties: Option<&DisconnectProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x11, four(it.session_expiry_interval)),
        (0x1F, text(it.reason_string.as_ref())),
        (0x1C, text(it.server_reference.as_ref())),
    ];
    field(items, &it.user_properties)
}

pub(super) fn of_auth(properties: Option<&AuthProperties>) -> Field {
    let Some(it) = properties else { return none() };
    let items = [
        (0x15, text(it.method.as_ref())),
        (0x16, binary(it.data.as_ref())),
        (0x1F, text(it.reason.as_ref())),
    ];
    field(items, &it.user_properties)
}
