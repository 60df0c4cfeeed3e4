//! rumqttc for MQTT 3.1.1.

use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;

use rumqttc_v4::{
    AsyncClient, Broker, Event as Polled, EventLoop, LastWill, MqttOptions, Outgoing, Packet,
    PublishOptions, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::oneshot;

use super::rumqttc::{REQUESTS, Step, poll, qos, text};
use super::{Command, Connect, Driver, Event, Message, Payload, Properties};

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
            Command::Subscribe(subscribe) => {
                let filters = subscribe.subscriptions.iter();
                client.try_subscribe_many(
                    filters.map(|it| SubscribeFilter::new(it.filter.clone(), qos(it.qos))),
                )
            }
            Command::Unsubscribe { filter } => client.try_unsubscribe(filter),
            Command::Publish(message) => client.try_publish(
                &message.topic,
                &*message.payload.0,
                PublishOptions::new(qos(message.qos)).retain(message.retain),
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
    options.set_clean_session(connect.clean);
    options.set_max_packet_size(usize::MAX, usize::MAX);
    if let Some(will) = &connect.will {
        let payload = will.payload.0.clone();
        options.set_last_will(LastWill::new(
            &will.topic,
            payload,
            qos(will.qos),
            will.retain,
        ));
    }
    options
}

async fn step(events: &mut EventLoop) -> Step {
    let event = match events.poll().await {
        Ok(Polled::Incoming(Packet::ConnAck(connack))) => Event::Connected {
            session_present: connack.session_present,
            topic_alias_maximum: 0,
        },
        Ok(Polled::Incoming(Packet::SubAck(suback))) => Event::Subscribed {
            codes: suback.return_codes.into_iter().map(code).collect(),
        },
        Ok(Polled::Incoming(Packet::UnsubAck(_))) => Event::Unsubscribed { codes: Vec::new() },
        Ok(
            Polled::Outgoing(Outgoing::Publish(0))
            | Polled::Incoming(Packet::PubAck(_) | Packet::PubComp(_)),
        ) => Event::Published { code: None },
        Ok(Polled::Incoming(Packet::Publish(publish))) => Event::Message(Message {
            topic: text(&publish.topic),
            payload: Payload(publish.payload.into()),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: Properties::default(),
        }),
        Ok(_) => return ControlFlow::Continue(None),
        Err(_) => return ControlFlow::Break(None),
    };
    ControlFlow::Continue(Some(event))
}

fn code(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Failure => 0x80,
    }
}
