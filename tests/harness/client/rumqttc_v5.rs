//! rumqttc for MQTT 5.

use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;

use broker::NothingUnacknowledged;
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event as Polled, EventLoop, LastWill, LastWillProperties,
    MqttOptions, Outgoing, Packet, PersistedAckMode, PublishOptions, PublishProperties,
    RetainForwardRule, StateError, SubscribeFilter, SubscribeProperties, SubscribeReasonCode,
};
use tokio::sync::oneshot;

use super::rumqttc::{REQUESTS, Step, poll, qos, text};
use super::{Command, Connect, Driver, Event, Message, Payload, Properties, Subscription};

/// Seconds.
const SESSION_EXPIRY: u32 = 3_600;

struct Connection {
    client: AsyncClient,
    events: SyncSender<Event>,
    // Dropping it ends the connection.
    _stop: oneshot::Sender<()>,
}

pub(super) fn connect(connect: &Connect, events: SyncSender<Event>) -> Box<dyn Driver + Send> {
    let builder = AsyncClient::builder(options(connect)).capacity(REQUESTS);
    let (client, mut polled) = builder.build();
    let stop = poll(events.clone(), async move || step(&mut polled).await);
    Box::new(Connection {
        client,
        events,
        _stop: stop,
    })
}

impl Driver for Connection {
    fn tell(&mut self, command: &Command) {
        let client = &self.client;
        let outcome = match command {
            // It is being done.
            Command::Connect(_) => Ok(()),
            Command::Subscribe(subscribe) => client.try_subscribe_many_with_properties(
                subscribe.subscriptions.iter().map(filter),
                SubscribeProperties {
                    id: subscribe.identifier.map(|it| it as usize),
                    user_properties: Vec::new(),
                },
            ),
            Command::Unsubscribe { filter } => client.try_unsubscribe(filter),
            Command::Publish(message) => client.try_publish(
                &message.topic,
                &*message.payload.0,
                PublishOptions::new(qos(message.qos))
                    .retain(message.retain)
                    .properties(to_library(&message.properties)),
            ),
            Command::Disconnect => client.try_disconnect(),
        };
        if let Err(error) = outcome {
            let reason = error.to_string();
            self.events.send(Event::Failed { reason }).ok();
        }
    }
}

fn options(connect: &Connect) -> MqttOptions {
    let broker = Broker::tcp("127.0.0.1", connect.port);
    let mut options = MqttOptions::new(&connect.client_id, broker);
    options
        .set_clean_start(connect.clean)
        .set_session_expiry_interval((!connect.clean).then_some(SESSION_EXPIRY))
        .set_session_store(NothingUnacknowledged {
            session_expiry: SESSION_EXPIRY,
            ack_mode: PersistedAckMode::Automatic,
            inflight_max: None,
        })
        .set_topic_alias_max(Some(10))
        .set_unlimited_incoming_packet_size();
    if let Some(will) = &connect.will {
        let properties = to_library(&will.properties);
        let properties = LastWillProperties {
            delay_interval: None,
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
        };
        let payload = will.payload.0.clone();
        let (qos, properties) = (qos(will.qos), Some(properties));
        options.set_last_will(LastWill::new(
            &will.topic,
            payload,
            qos,
            will.retain,
            properties,
        ));
    }
    options
}

fn filter(subscription: &Subscription) -> SubscribeFilter {
    SubscribeFilter {
        path: subscription.filter.clone(),
        qos: qos(subscription.qos),
        nolocal: subscription.no_local,
        preserve_retain: subscription.retain_as_published,
        retain_forward_rule: match subscription.retain_handling {
            0 => RetainForwardRule::OnEverySubscribe,
            1 => RetainForwardRule::OnNewSubscribe,
            _ => RetainForwardRule::Never,
        },
    }
}

async fn step(events: &mut EventLoop) -> Step {
    let packet = match events.poll().await {
        Ok(Polled::Incoming(packet)) => packet,
        Ok(Polled::Outgoing(Outgoing::Publish(0))) => {
            return ControlFlow::Continue(Some(Event::Published { code: None }));
        }
        Ok(_) => return ControlFlow::Continue(None),
        Err(ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. })) => {
            return ControlFlow::Break(Some(reason_code as u8));
        }
        Err(_) => return ControlFlow::Break(None),
    };
    let published = |code| Event::Published { code: Some(code) };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is the library's affair"
    )]
    let event = match packet {
        Packet::ConnAck(connack) => Event::Connected {
            session_present: connack.session_present,
            topic_alias_maximum: connack
                .properties
                .and_then(|it| it.topic_alias_max)
                .unwrap_or(0),
        },
        Packet::SubAck(suback) => Event::Subscribed {
            codes: suback.return_codes.into_iter().map(code).collect(),
        },
        Packet::UnsubAck(unsuback) => Event::Unsubscribed {
            codes: unsuback.reasons.into_iter().map(|it| it as u8).collect(),
        },
        Packet::PubAck(puback) => published(puback.reason as u8),
        Packet::PubRec(pubrec) if pubrec.reason as u8 >= 0x80 => published(pubrec.reason as u8),
        Packet::PubComp(pubcomp) => published(pubcomp.reason as u8),
        Packet::Publish(publish) => Event::Message(Message {
            topic: text(&publish.topic),
            payload: Payload(publish.payload.into()),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: publish.properties.map(from_library).unwrap_or_default(),
        }),
        _ => return ControlFlow::Continue(None),
    };
    ControlFlow::Continue(Some(event))
}

fn code(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8f,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9e,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xa1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xa2,
    }
}

fn to_library(properties: &Properties) -> PublishProperties {
    let properties = properties.clone();
    PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_interval,
        topic_alias: properties.topic_alias,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data.map(|it| it.0.into()),
        user_properties: properties.user_properties,
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type,
    }
}

fn from_library(properties: PublishProperties) -> Properties {
    let identifiers = properties.subscription_identifiers.into_iter();
    Properties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_interval,
        // Applied by the library.
        topic_alias: None,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data.map(|it| Payload(it.into())),
        content_type: properties.content_type,
        user_properties: properties.user_properties,
        subscription_identifiers: identifiers.filter_map(|it| it.try_into().ok()).collect(),
    }
}
