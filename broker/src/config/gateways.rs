//! `gateways` and `bridges`: what is connected to the broker besides MQTT clients.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use gateway::Gateway;
use serde::Deserialize;

use super::node::Step;
use super::problem::Problem;

/// Gateways by protocol and name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateways {
    /// `ZeroMQ`.
    pub(crate) zmq: BTreeMap<String, gateway_zmq::Config>,
    /// NNG.
    pub(crate) nng: BTreeMap<String, gateway_nng::Config>,
    /// DDS.
    pub(crate) dds: BTreeMap<String, gateway_dds::Config>,
}

/// Bridges by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bridges {
    /// To upstream MQTT brokers.
    pub(crate) mqtt: BTreeMap<String, bridges::Config>,
}

/// A gateway or bridge that can run, with its name, such as `zmq/plant` or `bridge/hub`.
pub(crate) type NamedGateway = (String, Arc<dyn Gateway>);

/// Makes everything that is configured and enabled; touches no socket.
pub(super) fn build(gateways: &Gateways, bridges: &Bridges) -> Result<Vec<NamedGateway>, Problem> {
    let mut built: Vec<NamedGateway> = Vec::new();
    for (name, config) in &gateways.zmq {
        let made = gateway_zmq::ZmqGateway::new(name, config.clone());
        let made =
            made.map_err(|error| problem(["gateways", "zmq", name], &error.key, error.problem))?;
        built.push((format!("zmq/{name}"), Arc::new(made)));
    }
    for (name, config) in &gateways.nng {
        let made = gateway_nng::NngGateway::new(name, config.clone());
        let made =
            made.map_err(|error| problem(["gateways", "nng", name], &error.key, error.problem))?;
        built.push((format!("nng/{name}"), Arc::new(made)));
    }
    for (name, config) in &gateways.dds {
        let made = gateway_dds::DdsGateway::new(name, config.clone());
        let made = made.map_err(|error| problem(["gateways", "dds", name], "", error))?;
        built.push((format!("dds/{name}"), Arc::new(made)));
    }
    for (name, config) in bridges.mqtt.iter().filter(|(_, config)| config.enable) {
        let made = bridges::Bridge::new(name, config.clone());
        let made =
            made.map_err(|error| problem(["bridges", "mqtt", name], &error.key, error.problem))?;
        built.push((format!("bridge/{name}"), Arc::new(made)));
    }
    Ok(built)
}

/// A problem at a key below a section, such as `to_mqtt[0].topic`.
fn problem(section: [&str; 3], key: &str, message: impl Display) -> Problem {
    let mut path: Vec<Step> = section
        .iter()
        .map(|key| Step::Key((*key).to_owned()))
        .collect();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        path.push(Step::Key(name.to_owned()));
        let indices = indices
            .split('[')
            .filter_map(|it| it.trim_end_matches(']').parse().ok());
        path.extend(indices.map(Step::Index));
    }
    let name = section.join(".");
    let dot = if key.is_empty() { "" } else { "." };
    Problem {
        path,
        message: format!("`{name}{dot}{key}`: {message}"),
    }
}
