//! The gateway as the daemon sees it: checks the configuration once, then runs the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::{
    Client, ConfigError, DropReason, Fault, Gateway, LinkState, RunFuture, Status,
    SubscriptionRequest,
};
use mqtt::QoS;

use crate::config::{Config, Durability, FromMqttRule, Reliability, ToMqttRule, check_endpoint};
use crate::idl::Idl;
use crate::inbound::Inbound;
use crate::io::{DdsError, DomainSettings, EndpointSettings, Participant, Reader, Writer};
use crate::outbound::{Outbound, OutboundRule};
use crate::translation::{Publication, ToMqtt};
use crate::type_tree::Structure;

/// Messages that are handed over at once, in either direction.
const BATCH: usize = 64;

/// A gateway between MQTT and the participants of one DDS domain.
#[derive(Debug)]
pub struct DdsGateway {
    plan: Arc<Plan>,
}

/// The checked configuration.
#[derive(Debug)]
struct Plan {
    /// The gateway's name in the log.
    label: Arc<str>,
    domain: DomainSettings,
    to_mqtt: Vec<PlannedReader>,
    from_mqtt: Vec<PlannedWriter>,
}

#[derive(Debug)]
struct PlannedReader {
    rule: Arc<ToMqtt>,
    endpoint: EndpointSettings,
}

#[derive(Debug)]
struct PlannedWriter {
    dds_topic: String,
    structure: Arc<Structure>,
    subscription: SubscriptionRequest,
    endpoint: EndpointSettings,
}

impl DdsGateway {
    /// A gateway with this name. Nothing is opened before it runs.
    ///
    /// # Errors
    /// The configuration cannot work: the IDL, a type, a template or a setting is wrong.
    pub fn new(name: &str, config: Config) -> Result<Self, ConfigError> {
        let domain = config.domain_settings();
        domain.check()?;
        let idl = config.types()?;
        let planner = Planner {
            gateway: name,
            domain: config.domain,
            idl: &idl,
            topics: BTreeMap::new(),
        };
        let (to_mqtt, from_mqtt) = planner.plan(config.to_mqtt, config.from_mqtt)?;
        if to_mqtt.is_empty() && from_mqtt.is_empty() {
            let problem = "is empty and so is `from_mqtt`: the gateway would do nothing";
            return Err(ConfigError::new("to_mqtt", problem));
        }
        let plan = Plan {
            label: format!("dds/{name}").into(),
            domain,
            to_mqtt,
            from_mqtt,
        };
        Ok(Self {
            plan: Arc::new(plan),
        })
    }
}

struct Planner<'p> {
    gateway: &'p str,
    domain: u32,
    idl: &'p Idl,
    /// The type of each DDS topic, which has only one.
    topics: BTreeMap<String, String>,
}

impl Planner<'_> {
    fn plan(
        mut self,
        to_mqtt: Vec<ToMqttRule>,
        from_mqtt: Vec<FromMqttRule>,
    ) -> Result<(Vec<PlannedReader>, Vec<PlannedWriter>), ConfigError> {
        let mut readers = Vec::with_capacity(to_mqtt.len());
        for (index, rule) in to_mqtt.into_iter().enumerate() {
            readers.push(self.reader(&format!("to_mqtt[{index}]"), rule)?);
        }
        let mut writers = Vec::with_capacity(from_mqtt.len());
        for (index, rule) in from_mqtt.into_iter().enumerate() {
            writers.push(self.writer(&format!("from_mqtt[{index}]"), rule)?);
        }
        Ok((readers, writers))
    }

    fn reader(&mut self, place: &str, rule: ToMqttRule) -> Result<PlannedReader, ConfigError> {
        let endpoint = rule.endpoint();
        let structure = self.topic_type(place, &rule.dds_topic, &rule.type_name, &endpoint)?;
        let qos = match (rule.qos, rule.reliability) {
            (Some(configured), _) => configured.0,
            (None, Reliability::Reliable) => QoS::AtLeastOnce,
            (None, Reliability::BestEffort) => QoS::AtMostOnce,
        };
        let publication = Publication {
            gateway: self.gateway,
            domain: self.domain,
            dds_topic: &rule.dds_topic,
            topic: rule.topic.as_ref(),
            qos,
            retain: rule.retain,
        };
        let rule = ToMqtt::new(publication, structure)
            .map_err(|error| ConfigError::new(format!("{place}.topic"), error))?;
        Ok(PlannedReader {
            rule: Arc::new(rule),
            endpoint,
        })
    }

    fn writer(&mut self, place: &str, rule: FromMqttRule) -> Result<PlannedWriter, ConfigError> {
        let endpoint = rule.endpoint();
        let structure = self.topic_type(place, &rule.dds_topic, &rule.type_name, &endpoint)?;
        let subscription = SubscriptionRequest {
            filter: rule.filter.0,
            qos: rule.qos.0,
            // What is retained on one side is what late joiners get on the other.
            retained: rule.durability == Durability::TransientLocal,
        };
        Ok(PlannedWriter {
            dds_topic: rule.dds_topic,
            structure,
            subscription,
            endpoint,
        })
    }

    fn topic_type(
        &mut self,
        place: &str,
        dds_topic: &str,
        type_name: &str,
        endpoint: &EndpointSettings,
    ) -> Result<Arc<Structure>, ConfigError> {
        check_endpoint(place, dds_topic, endpoint)?;
        let error = |problem| ConfigError::new(format!("{place}.type"), problem);
        let Some(structure) = self.idl.find(type_name) else {
            let known: Vec<&str> = self.idl.names().collect();
            let known = known.join(", ");
            return Err(error(format!(
                "the IDL has no struct `{type_name}`; it has: {known}"
            )));
        };
        let known = self
            .topics
            .entry(dds_topic.to_owned())
            .or_insert_with(|| structure.name.clone());
        if *known != structure.name {
            return Err(error(format!(
                "the DDS topic has the type `{known}` in another rule"
            )));
        }
        Ok(Arc::clone(structure))
    }
}

impl Gateway for DdsGateway {
    fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        let writers = self.plan.from_mqtt.iter();
        writers.map(|writer| writer.subscription.clone()).collect()
    }

    fn is_durable(&self) -> bool {
        let mut subscriptions = self
            .plan
            .from_mqtt
            .iter()
            .map(|writer| &writer.subscription);
        subscriptions.any(|subscription| subscription.qos.is_acknowledged())
    }

    fn run(&self, client: Client, status: Arc<Status>) -> RunFuture {
        let plan = Arc::clone(&self.plan);
        Box::pin(async move {
            let fault = match Service::open(&plan, &client, &status) {
                Ok(service) => {
                    status.report_link(&plan.label, LinkState::Up);
                    service.serve(&plan.label, &client, &status).await
                }
                Err(fault) => fault,
            };
            status.set_link(LinkState::Down(fault.0.clone()));
            fault
        })
    }
}

/// Everything that runs; dropping it ends the threads, then the entities, then the domain.
struct Service {
    inbound: Inbound,
    outbound: Outbound,
}

impl Service {
    fn open(plan: &Plan, client: &Client, status: &Arc<Status>) -> Result<Self, Fault> {
        let (participant, readers, rules) = open_entities(plan).map_err(into_fault)?;
        let to_mqtt = plan.to_mqtt.iter();
        let to_mqtt = to_mqtt.map(|planned| Arc::clone(&planned.rule)).collect();
        let label = || Arc::clone(&plan.label);
        let inbound = Inbound::start(label(), &participant, readers, to_mqtt, Arc::clone(status))?;
        let outbound = Outbound::start(label(), rules, client.clone(), Arc::clone(status))?;
        Ok(Self { inbound, outbound })
    }

    async fn serve(self, label: &str, client: &Client, status: &Status) -> Fault {
        let Self { inbound, outbound } = self;
        tokio::select! {
            fault = publish(label, inbound, client, status) => fault,
            fault = receive(outbound, client) => fault,
        }
    }
}

type Entities = (Arc<Participant>, Vec<Reader>, Vec<OutboundRule>);

fn open_entities(plan: &Plan) -> Result<Entities, DdsError> {
    let participant = Participant::open(&plan.domain)?;
    let mut readers = Vec::with_capacity(plan.to_mqtt.len());
    for planned in &plan.to_mqtt {
        let rule = &planned.rule;
        let endpoint = &planned.endpoint;
        let reader = Reader::open(&participant, rule.dds_topic(), rule.structure(), endpoint)?;
        readers.push(reader);
    }
    let mut rules = Vec::with_capacity(plan.from_mqtt.len());
    for planned in &plan.from_mqtt {
        let structure = Arc::clone(&planned.structure);
        let endpoint = &planned.endpoint;
        let writer = Writer::open(&participant, &planned.dds_topic, &structure, endpoint)?;
        rules.push(OutboundRule {
            filter: planned.subscription.filter.clone(),
            structure,
            writer,
            sample_bytes_max: plan.domain.sample_bytes_max as usize,
        });
    }
    Ok((participant, readers, rules))
}

fn into_fault(error: DdsError) -> Fault {
    Fault(error.to_string())
}

/// Publishes what comes from DDS, as fast as the broker takes it.
async fn publish(label: &str, mut inbound: Inbound, client: &Client, status: &Status) -> Fault {
    let mut messages = Vec::with_capacity(BATCH);
    while inbound.receive(BATCH, &mut messages).await {
        for message in messages.drain(..) {
            match client.publish(message).await {
                Ok(_receipt) => status.counters.count_received(1),
                Err(error) => status.report_drop(label, DropReason::Refused, &error),
            }
        }
    }
    Fault("the DDS reading thread has ended".to_owned())
}

/// Hands what comes from MQTT to the thread that writes it.
async fn receive(outbound: Outbound, client: &Client) -> Fault {
    let mut deliveries = Vec::with_capacity(BATCH);
    loop {
        client.receive(BATCH, &mut deliveries).await;
        for delivery in deliveries.drain(..) {
            if outbound.send(delivery).await.is_err() {
                return Fault("the DDS writing thread has ended".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests;
