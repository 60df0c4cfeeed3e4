//! The connection to the hub, over the MQTT client library.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use mqtt::packet::Property;
use mqtt::{QoS, TopicFilter};
use rumqttc::mqttbytes::v5::RetainForwardRule;
use rumqttc::{
    AckMode, AsyncClient, Broker, ClientError, ConnectionError, Event, EventLoop, MqttOptions,
    Packet, PersistedAckMode, Publish, PublishNotice, PublishNoticeError, PublishOptions,
    PublishProperties, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::config::Config;
use crate::resumption::NothingUnacknowledged;
use crate::translation::{Forwarded, Received, properties};

/// Requests that wait inside the client library.
const REQUESTS: usize = 64;

/// A connected hub.
pub(crate) struct Hub {
    client: AsyncClient,
    /// Driven by one task; locked for as long as the connection lasts.
    events: Mutex<EventLoop>,
    incoming: mpsc::Sender<Incoming>,
    packet_bytes_max: usize,
}

/// A PUBLISH from the hub, which has to be acknowledged.
#[derive(Debug)]
pub(crate) struct Incoming(Publish);

/// A message on its way to the hub.
pub(crate) struct Sent {
    /// The hub's answer, until it has come.
    answer: Answer,
    outcome: Option<Outcome>,
}

type Answer = Pin<Box<dyn Future<Output = Result<(), PublishNoticeError>> + Send>>;

/// What the hub said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has it.
    Acknowledged,
    /// It does not want it, for the reason it gave.
    Refused(String),
}

/// Why the hub cannot be served any longer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("{0}")]
    Connection(Arc<ConnectionError>),
    #[error("the hub did not answer in time")]
    Timeout,
    #[error("the hub closed the connection: {0}")]
    Disconnected(String),
    #[error("{0}")]
    Options(String),
    #[error("the connection ended")]
    Closed,
}

impl Hub {
    /// Connects and waits for the hub to accept.
    pub(crate) async fn connect(
        config: &Config,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), HubError> {
        let options = options(config)?;
        let (client, mut events) = AsyncClient::builder(options)
            .capacity(REQUESTS)
            .try_build()
            .map_err(|error| HubError::Options(error.to_string()))?;
        let accepted = async {
            loop {
                if let Event::Incoming(Packet::ConnAck(connack)) = events.poll().await? {
                    return Ok::<_, ConnectionError>(connack);
                }
            }
        };
        let connack = timeout(config.connect_timeout.0, accepted)
            .await
            .map_err(|_| HubError::Timeout)?
            .map_err(HubError::from)?;
        let hub_max = connack
            .properties
            .and_then(|it| it.max_packet_size)
            .unwrap_or(u32::MAX);
        // Never more than may be unacknowledged, so a full channel holds up QoS 0 only.
        let (sender, incoming) = mpsc::channel(usize::from(config.receive_maximum()) + 1);
        let own_max = u32::try_from(config.max_packet_size.bytes()).unwrap_or(u32::MAX);
        let packet_bytes_max = hub_max.min(own_max) as usize;
        let hub = Self {
            client,
            events: Mutex::new(events),
            incoming: sender,
            packet_bytes_max,
        };
        Ok((hub, incoming))
    }

    /// Moves bytes until the connection ends.
    pub(crate) async fn drive(&self) -> HubError {
        let mut events = self.events.lock().await;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    if self.incoming.send(Incoming(publish)).await.is_err() {
                        return HubError::Closed;
                    }
                }
                Ok(Event::Incoming(Packet::SubAck(suback))) => {
                    report_refused(&suback.return_codes);
                }
                Ok(Event::Incoming(Packet::Disconnect(disconnect))) => {
                    return HubError::Disconnected(format!("{:?}", disconnect.reason_code));
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
                Err(error) => return error.into(),
            }
        }
    }

    pub(crate) async fn subscribe(&self, filter: &TopicFilter, qos: QoS) -> Result<(), HubError> {
        let filter = SubscribeFilter {
            path: filter.as_str().to_owned(),
            qos: to_library(qos),
            // What this bridge sent must not come back.
            nolocal: true,
            preserve_retain: true,
            retain_forward_rule: RetainForwardRule::OnNewSubscribe,
        };
        self.client.subscribe_many([filter]).await?;
        Ok(())
    }

    /// True if the hub accepts a packet of this size. The estimate is on the safe side.
    pub(crate) fn fits(&self, message: &Forwarded) -> bool {
        const HEADER: usize = 32;
        let bytes = message.topic.as_str().len() + message.payload.len();
        bytes + message.properties.as_bytes().len() + HEADER <= self.packet_bytes_max
    }

    /// Hands a message to the client library, as soon as it has room.
    pub(crate) async fn publish(&self, message: Forwarded) -> Result<Sent, HubError> {
        let options = PublishOptions::new(to_library(message.qos))
            .retain(message.retain)
            .properties(to_properties(&message));
        let notice = self
            .client
            .publish_tracked(message.topic.as_str(), message.payload, options)
            .await?;
        Ok(Sent::new(notice))
    }

    pub(crate) async fn acknowledge(&self, message: Incoming) -> Result<(), HubError> {
        self.client.ack(&message.0).await.map_err(HubError::from)
    }
}

impl Sent {
    fn new(notice: PublishNotice) -> Self {
        Self {
            answer: Box::pin(notice.wait_completion_async()),
            outcome: None,
        }
    }

    /// Waits for the hub's answer; it can be asked for again afterwards. Cancel safe.
    pub(crate) async fn outcome(&mut self) -> Result<Outcome, HubError> {
        if let Some(outcome) = &self.outcome {
            return Ok(outcome.clone());
        }
        let outcome = match self.answer.as_mut().await {
            Ok(()) => Outcome::Acknowledged,
            Err(
                error @ (PublishNoticeError::V5PubAck(_)
                | PublishNoticeError::V5PubRec(_)
                | PublishNoticeError::V5PubComp(_)
                | PublishNoticeError::RetainNotSupported),
            ) => Outcome::Refused(error.to_string()),
            // The connection ended first: the outbox still has the message.
            Err(_) => return Err(HubError::Closed),
        };
        self.outcome = Some(outcome.clone());
        Ok(outcome)
    }
}

impl Incoming {
    /// The message, apart from the library's form.
    pub(crate) fn received(&self) -> Received {
        let publish = &self.0;
        let found = publish.properties.as_ref();
        Received {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.clone(),
            qos: from_library(publish.qos),
            retain: publish.retain,
            expiry_seconds: found.and_then(|it| it.message_expiry_interval),
            properties: properties(found.into_iter().flat_map(from_properties)),
        }
    }
}

impl From<ConnectionError> for HubError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(Arc::new(error))
    }
}

impl From<ClientError> for HubError {
    fn from(_: ClientError) -> Self {
        Self::Closed
    }
}

/// A subscription that the hub refuses leaves the rest of the bridge at work.
fn report_refused(codes: &[SubscribeReasonCode]) {
    for code in codes
        .iter()
        .filter(|it| !matches!(it, SubscribeReasonCode::Success(_)))
    {
        tracing::warn!(?code, "the hub refused a subscription of a bridge");
    }
}

fn options(config: &Config) -> Result<MqttOptions, HubError> {
    let (host, port) = config
        .address()
        .map_err(|error| HubError::Options(error.to_string()))?;
    let client_id = config.clientid.clone().unwrap_or_default();
    let mut options = MqttOptions::new(client_id, Broker::tcp(host, port));
    let seconds = u16::try_from(config.keepalive.0.as_secs()).unwrap_or(u16::MAX);
    let expiry = config.session_expiry_seconds();
    options
        .set_keep_alive(seconds)
        .set_clean_start(config.clean_start)
        .set_session_expiry_interval(Some(expiry))
        // What is unacknowledged waits in the outbox and is sent anew.
        .set_session_store(NothingUnacknowledged {
            session_expiry: expiry,
            ack_mode: PersistedAckMode::Manual,
            inflight_max: Some(config.max_inflight),
        })
        .set_ack_mode(AckMode::Manual)
        .set_receive_maximum(Some(config.receive_maximum()))
        .set_outgoing_inflight_upper_limit(config.max_inflight)
        .set_max_packet_size(Some(config.maximum_packet_size()))
        .set_connect_timeout(config.connect_timeout.0);
    if let Some(username) = &config.username {
        let password = config.password.clone().unwrap_or_default();
        options.set_credentials(username.clone(), password);
    }
    Ok(options)
}

const fn to_library(qos: QoS) -> rumqttc::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
    }
}

const fn from_library(qos: rumqttc::QoS) -> QoS {
    match qos {
        rumqttc::QoS::AtMostOnce => QoS::AtMostOnce,
        rumqttc::QoS::AtLeastOnce => QoS::AtLeastOnce,
        rumqttc::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn to_properties(message: &Forwarded) -> PublishProperties {
    let mut found = PublishProperties {
        message_expiry_interval: message.expiry_seconds,
        ..PublishProperties::default()
    };
    for property in message.properties.iter() {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only these travel")]
        match property {
            Property::PayloadFormatIndicator(utf8) => {
                found.payload_format_indicator = Some(u8::from(utf8));
            }
            Property::ContentType(text) => found.content_type = Some(text.to_owned()),
            Property::ResponseTopic(text) => found.response_topic = Some(text.to_owned()),
            Property::CorrelationData(bytes) => {
                found.correlation_data = Some(Bytes::copy_from_slice(bytes));
            }
            Property::UserProperty(name, value) => {
                found
                    .user_properties
                    .push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }
    found
}

fn from_properties(found: &PublishProperties) -> impl Iterator<Item = Property<'_>> {
    let format = found
        .payload_format_indicator
        .map(|it| Property::PayloadFormatIndicator(it == 1));
    let content = found.content_type.as_deref().map(Property::ContentType);
    let response = found.response_topic.as_deref().map(Property::ResponseTopic);
    let correlation = found
        .correlation_data
        .as_deref()
        .map(Property::CorrelationData);
    let user = found
        .user_properties
        .iter()
        .map(|(name, value)| Property::UserProperty(name, value));
    format
        .into_iter()
        .chain(content)
        .chain(response)
        .chain(correlation)
        .chain(user)
}
