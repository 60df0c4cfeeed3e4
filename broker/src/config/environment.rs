//! Settings in environment variables, such as `TIDEGATE_MQTT__RECEIVE_MAXIMUM=100`.

use std::collections::BTreeMap;

use super::error::Fault;
use super::layer::Layer;
use super::node::{DEPTH_MAX, Node, NodeValue, Table};
use super::notice::Notice;
use super::place::Origins;

/// Every setting's variable begins with this.
pub(crate) const PREFIX: &str = "TIDEGATE_";

/// Stands between keys, which may contain single underscores.
const SEPARATOR: &str = "__";

/// Stands for what is no text in a variable.
const NOT_TEXT: char = char::REPLACEMENT_CHARACTER;

/// Reads the settings among `variables` into a tree. Values stay texts, which are taken as numbers
/// and booleans where those are wanted: a password of digits is no number.
///
/// Keys are in lower case, unless `below`, which the settings will override, has a key that only
/// differs in case.
///
/// Variables without a separator are no settings.
pub(super) fn read(
    variables: &BTreeMap<String, String>,
    below: &[Layer],
    origins: &mut Origins,
) -> Result<Table, Fault> {
    let mut settings = Table::default();
    for (name, value) in variables {
        let Some(keys) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if !keys.contains(SEPARATOR) {
            let is_read_elsewhere = bridges::VIN_VARIABLES.contains(&name.as_str());
            if !is_read_elsewhere && !is_service_link(keys, value) {
                let variable = name.clone();
                origins.notices.push(Notice::IgnoredVariable { variable });
            }
            continue;
        }
        let place = origins.add_variable(name.clone());
        if [name, value].iter().any(|it| it.contains(NOT_TEXT)) {
            return Err(Fault::new(place, "the variable is not UTF-8 text"));
        }
        let keys: Vec<&str> = keys.split(SEPARATOR).collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(Fault::new(
                place,
                "there is no key between two separators `__`",
            ));
        }
        if keys.len() > DEPTH_MAX {
            let message = format!("keys are nested more than {DEPTH_MAX} deep");
            return Err(Fault::new(place, message));
        }
        let node = Node::new(NodeValue::Text(value.clone()), place);
        if let Some(setting) = Node::nested(spell(&keys, below), node).into_table() {
            settings.merge(setting);
        }
    }
    Ok(settings)
}

/// Whether a variable, whose prefix is left out, is one of those that Kubernetes makes for a
/// service whose name begins with `tidegate`, such as `TIDEGATE_PORT=tcp://10.0.0.1:1883`.
fn is_service_link(name: &str, value: &str) -> bool {
    let name = format!("_{name}");
    let (_, after_port) = name.rsplit_once("_PORT_").unwrap_or_default();
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || after_port.starts_with(|first: char| first.is_ascii_digit())
        || name.ends_with("_PORT") && value.contains("://")
}

fn spell(keys: &[&str], below: &[Layer]) -> Vec<String> {
    let mut tables: Vec<&Table> = below.iter().map(|layer| &layer.0).collect();
    let mut spelled = Vec::with_capacity(keys.len());
    for key in keys {
        let mut known = tables.iter().flat_map(|table| table.iter());
        let known = known.find(|(known, _)| known.eq_ignore_ascii_case(key));
        let key = known.map_or_else(|| key.to_ascii_lowercase(), |(known, _)| known.to_owned());
        let entries = tables.iter().filter_map(|table| table.get(&key));
        tables = entries.filter_map(|entry| entry.node.as_table()).collect();
        spelled.push(key);
    }
    spelled
}
