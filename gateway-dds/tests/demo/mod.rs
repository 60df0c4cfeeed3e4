//! The types that the tests send, and who sends them.

use std::sync::Arc;

use gateway_dds::idl::Idl;
use gateway_dds::peer::DomainSettings;
use gateway_dds::type_tree::Structure;
use gateway_dds::{Config, DdsGateway};
use serde_json::{Value, json};

const TYPES: &str = "
    module Demo {
        struct Reading { @key string sensor; double value; unsigned long n; sequence<string> tags; };
        struct Plain { unsigned long n; string text; };
        enum Mode { OFF, ON };
        @appendable struct Point { short x; double y; };
        @appendable struct Rich {
            @key long id; @key Mode mode; Point point; sequence<Point> points; Mode modes[2];
            octet raw[3]; long grid[2][2]; sequence<sequence<string> > names; char c; boolean b;
            long long big; uint8 small; float f; string<5> bounded; sequence<Mode> history;
        };
        struct Part { @key long a; long b; };
        struct Whole { short a; string b; };
        struct Keyed {
            @key Part part; @key Whole whole; @key octet id[2]; @key boolean flag; @key Mode mode;
            @key double d; long x;
        };
    };";

pub(crate) fn structure(name: &str) -> Arc<Structure> {
    Arc::clone(Idl::parse(TYPES).unwrap().find(name).unwrap())
}

pub(crate) fn settings(domain: u32) -> DomainSettings {
    DomainSettings {
        domain,
        interface: Some("lo".to_owned()),
        ..DomainSettings::default()
    }
}

pub(crate) fn gateway(domain: u32, rules: &str) -> DdsGateway {
    let text = format!("domain = {domain}\ninterface = \"lo\"\nidl = \"\"\"{TYPES}\"\"\"\n{rules}");
    let config: Config = toml::from_str(&text).unwrap();
    DdsGateway::new("robot", config).unwrap()
}

pub(crate) fn reading(n: u64) -> Value {
    let sensor = format!("s{}", n % 7);
    json!({"sensor": sensor, "value": n as f64 / 8.0, "n": n, "tags": ["a", "b"]})
}

/// Says where values differ instead of printing all of them.
pub(crate) fn assert_same(values: &[Value], expected: &[Value]) {
    let differs = values
        .iter()
        .zip(expected)
        .find(|(value, expected)| value != expected);
    assert_eq!(differs, None);
    assert_eq!(values.len(), expected.len());
}
