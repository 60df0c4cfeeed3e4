//! What an unquoted text means.

use super::super::node::NodeValue;

/// A boolean, null, a number or the text itself.
///
/// A number whose text would not come back from its value, such as `1.10` or `1e3`, stays a text:
/// it might be a version or a password. Where a number is wanted it is still taken as one.
pub(super) fn read_scalar(text: &str) -> NodeValue {
    match text {
        "true" => return NodeValue::Bool(true),
        "false" => return NodeValue::Bool(false),
        "null" => return NodeValue::Null,
        _ => {}
    }
    if let Some(number) = text.parse().ok().filter(|number| is_exact(number, text)) {
        return NodeValue::Integer(number);
    }
    if let Some(number) = text.parse().ok().filter(|number| is_exact(number, text)) {
        return NodeValue::Unsigned(number);
    }
    let float = text.parse().ok();
    if let Some(number) = float.filter(|number: &f64| number.is_finite() && is_exact(number, text))
    {
        return NodeValue::Float(number);
    }
    NodeValue::Text(text.to_owned())
}

/// The text of a value within a concatenation; none for lists and tables.
pub(super) fn text_of(value: &NodeValue) -> Option<String> {
    match value {
        NodeValue::Null => Some("null".to_owned()),
        NodeValue::Bool(value) => Some(value.to_string()),
        NodeValue::Integer(value) => Some(value.to_string()),
        NodeValue::Unsigned(value) => Some(value.to_string()),
        NodeValue::Float(value) => Some(value.to_string()),
        NodeValue::Text(text) => Some(text.clone()),
        NodeValue::List(_) | NodeValue::Table(_) => None,
    }
}

fn is_exact(number: &impl ToString, text: &str) -> bool {
    number.to_string() == text
}
