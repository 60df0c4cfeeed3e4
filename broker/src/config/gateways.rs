//! `gateways` and `bridges`: what is connected to the broker besides MQTT clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use bridges::Bridge;
use gateway::{ConfigError, Gateway};
use gateway_dds::DdsGateway;
use gateway_nng::NngGateway;
use gateway_zmq::ZmqGateway;
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
    let enabled = bridges.mqtt.iter().filter(|(_, config)| config.enable);
    check_client_ids(enabled.clone())?;
    let kinds = [
        build_kind(["gateways", "zmq"], "zmq", &gateways.zmq, ZmqGateway::new)?,
        build_kind(["gateways", "nng"], "nng", &gateways.nng, NngGateway::new)?,
        build_kind(["gateways", "dds"], "dds", &gateways.dds, DdsGateway::new)?,
        build_kind(["bridges", "mqtt"], "bridge", enabled, Bridge::new)?,
    ];
    Ok(kinds.into_iter().flatten().collect())
}

/// Refuses a Client Identifier that another bridge to the same hub has: each connection would end
/// the other.
fn check_client_ids<'c>(
    bridges: impl Iterator<Item = (&'c String, &'c bridges::Config)>,
) -> Result<(), Problem> {
    let mut known = BTreeMap::new();
    for (name, config) in bridges {
        // With its name in it, that of each bridge is another.
        let client_id = config.clientid.as_ref();
        let Some(client_id) = client_id.filter(|it| !it.contains("${gateway}")) else {
            continue;
        };
        if let Some(first) = known.insert((&config.server, client_id), name) {
            let message = format!("`bridges.mqtt.{first}` has this identifier at the same hub");
            return Err(Problem::at(
                &["bridges", "mqtt", name, "clientid"],
                &message,
            ));
        }
    }
    Ok(())
}

fn build_kind<'c, C: Clone + 'c, G: Gateway>(
    section: [&str; 2],
    kind: &str,
    configs: impl IntoIterator<Item = (&'c String, &'c C)>,
    make: fn(&str, C) -> Result<G, ConfigError>,
) -> Result<Vec<NamedGateway>, Problem> {
    let configs = configs.into_iter();
    let made = configs.map(|(name, config)| match make(name, config.clone()) {
        Ok(gateway) => Ok((
            format!("{kind}/{name}"),
            Arc::new(gateway) as Arc<dyn Gateway>,
        )),
        Err(error) => Err(problem(&[section[0], section[1], name], &error)),
    });
    made.collect()
}

/// A problem at a key below a section, such as `to_mqtt[0].topic`.
fn problem(section: &[&str], error: &ConfigError) -> Problem {
    let steps = section.iter().map(|key| Step::Key((*key).to_owned()));
    let mut path: Vec<Step> = steps.collect();
    for part in error.key.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        path.push(Step::Key(name.to_owned()));
        let indices = indices
            .split('[')
            .filter_map(|it| it.trim_end_matches(']').parse().ok());
        path.extend(indices.map(Step::Index));
    }
    let ConfigError {
        key,
        problem,
        position,
    } = error;
    Problem {
        path,
        message: format!("`{}.{key}`: {problem}", section.join(".")),
        position: *position,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load_text;

    #[test]
    fn what_cannot_run_is_found_in_the_file() {
        let table = [
            (
                "gateways.dds.robot {\n  idl = \"struct S { long x; };\"\n  \
                 to_mqtt = [{ dds_topic = A, type = T }]\n}",
                "t.conf:3:38: `gateways.dds.robot.to_mqtt[0].type`: \
                 the IDL has no struct `T`; it has: S",
            ),
            (
                "gateways.dds.robot {\n  idl = \"\"\"\n    struct S {\n      lung x;\n    };\n  \
                 \"\"\"\n}",
                "t.conf:4:7: `gateways.dds.robot.idl`: unknown type `lung`",
            ),
            (
                "gateways.dds.robot { idl = \"\"\"struct S { lung x; };\"\"\" }",
                "t.conf:1:42: `gateways.dds.robot.idl`: unknown type `lung`",
            ),
            (
                "gateways.dds.robot { idl = \"struct S {\\n lung x; };\" }",
                "t.conf:1:28: `gateways.dds.robot.idl`: \
                 unknown type `lung`, at line 2, column 2 of the text",
            ),
            (
                "gateways.zmq.plant.to_mqtt = [{}]",
                "t.conf:1:14: `gateways.zmq.plant.sub`: \
                 has neither `connect` nor `bind`, so the rules of `to_mqtt` have no effect",
            ),
            (
                "gateways.zmq.plant {\n  sub { connect = [\"tcp://127.0.0.1:1\"] }\n  \
                 to_mqtt = [{ prefix = a, topic = \"a/+\" }]\n}",
                "t.conf:3:36: `gateways.zmq.plant.to_mqtt[0].topic`: \
                 a topic name must not contain the wildcards `+` and `#`",
            ),
            (
                "bridges.mqtt { a { server = hub, clientid = x, forwards = [{ local_topic = a }] }\n\
                 b { server = hub, clientid = x, forwards = [{ local_topic = b }] } }",
                "t.conf:2:30: `bridges.mqtt.b.clientid`: \
                 `bridges.mqtt.a` has this identifier at the same hub",
            ),
            (
                "bridges.mqtt.up { server = hub, proto_ver = 4 }",
                "t.conf:1:45: `bridges.mqtt.up.proto_ver`: \
                 bridges speak MQTT 5 only, so this must be 5",
            ),
        ];
        for (text, expected) in table {
            let error = load_text(Path::new("t.conf"), text, []).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn bridges_to_one_hub_are_told_apart_by_their_names() {
        let bridge = |name| {
            format!(
                "bridges.mqtt.{name} {{ server = hub, clientid = \"c-${{gateway}}\", \
                 forwards = [{{ local_topic = a }}] }}\n"
            )
        };
        let text = bridge("one") + &bridge("two");
        assert!(load_text(Path::new("t.conf"), &text, []).is_ok());
    }

    #[test]
    fn a_mistake_in_a_text_of_several_lines_has_its_own_line_in_toml_too() {
        let table = [
            ("'''\nstruct S {\n  lung x;\n};\n'''", "4:3: "),
            ("\"\"\"struct S {\n  lung x;\n};\"\"\"", "3:3: "),
            ("'''struct S { lung x; };'''", "2:21: "),
            (
                "\"\"\"\\tstruct S {\n lung x; };\"\"\"",
                "2:7: `gateways.dds.robot.idl`: unknown type `lung`, at line 2, ",
            ),
        ];
        for (idl, expected) in table {
            let text = format!("[gateways.dds.robot]\nidl = {idl}\n");
            let error = load_text(Path::new("t.toml"), &text, []).err().unwrap();
            let error = error.to_string();
            assert!(error.starts_with(&format!("t.toml:{expected}")), "{error}");
        }
    }
}
