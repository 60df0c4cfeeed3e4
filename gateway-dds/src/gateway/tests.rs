use super::*;

const GATEWAY: &str = r#"
    idl = """
        module Demo { struct Reading { @key string sensor; double value; sequence<string> tags; };
        struct Other { long x; }; };
    """
    to_mqtt = [{ dds_topic = "Readings", type = "Demo::Reading" }]
    from_mqtt = [{ filter = "cmd/#", dds_topic = "Commands", type = "Demo::Reading" }]
"#;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

#[test]
fn defaults_are_as_documented() {
    let config = config(GATEWAY);
    assert_eq!((config.domain, config.multicast), (0, true));
    assert_eq!(config.ignore_type_information, ["1.15"]);
    assert_eq!(config.sample_bytes_max, 1 << 20);
    let gateway = DdsGateway::new("robot", config).unwrap();
    let subscriptions = gateway.subscriptions();
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].filter.as_str(), "cmd/#");
    assert_eq!(subscriptions[0].qos, QoS::AtLeastOnce);
    assert!(!subscriptions[0].retained);
    assert!(gateway.is_durable());
}

#[test]
fn wrong_configurations_are_named() {
    let table = [
        (
            "Demo::Reading\" }]\n    from",
            "Demo::None\" }]\n    from",
            "to_mqtt[0].type: the IDL has no struct `Demo::None`; it has: Demo::Reading, \
             Demo::Other",
        ),
        (
            "\"Readings\"",
            "\"a b\"",
            "to_mqtt[0].dds_topic: \"a b\" is not the name of a DDS topic",
        ),
        (
            "\"Readings\"",
            "\"DCPSTopic\"",
            "to_mqtt[0].dds_topic: \"DCPSTopic\" is reserved",
        ),
        (
            "\"Commands\", type = \"Demo::Reading\"",
            "\"Readings\", type = \"Demo::Other\"",
            "from_mqtt[0].type: the DDS topic has the type `Demo::Reading` in another rule",
        ),
        (
            "\"Readings\",",
            "\"Readings\", topic = \"x/${tags}\",",
            "to_mqtt[0].topic: unknown placeholder `${tags}`; known here: gateway, \
             domain, dds_topic, type, sensor, value",
        ),
        (
            "\"Readings\",",
            "\"Readings\", history_depth = 0,",
            "to_mqtt[0].history_depth: must be from 1 to 16384",
        ),
        ("double value", "doubel value", "idl: unknown type `doubel`"),
        (
            "idl =",
            "domain = 233\nidl =",
            "domain: must be from 0 to 232, not 233",
        ),
        (
            "idl =",
            "idl_file = \"x.idl\"\nidl =",
            "idl_file: `idl` and `idl_file` exclude each other",
        ),
        (
            "idl =",
            "interface = \"a\\\"b\"\nidl =",
            "interface: \"a\\\"b\" is not an interface or address",
        ),
    ];
    for (from, to, expected) in table {
        let text = GATEWAY.replacen(from, to, 1);
        assert_ne!(text, GATEWAY, "{from}");
        let error = DdsGateway::new("robot", config(&text))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let misspelt = GATEWAY.replacen("double value", "doubel value", 1);
    let error = DdsGateway::new("robot", config(&misspelt)).unwrap_err();
    assert_eq!(error.position, Some((1, 60)));
    assert!(toml::from_str::<Config>("unknown = 1").is_err());
}

#[test]
fn a_gateway_without_rules_is_refused() {
    let error = DdsGateway::new("robot", config("idl = \"struct S { long x; };\"")).unwrap_err();
    assert_eq!(error.key, "to_mqtt");
}

#[test]
fn types_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("types.idl");
    let text = format!("idl_file = {path:?}\nto_mqtt = [{{ dds_topic = \"T\", type = \"S\" }}]");
    let error = DdsGateway::new("robot", config(&text))
        .unwrap_err()
        .to_string();
    assert!(error.contains("types.idl cannot be read"), "{error}");
    std::fs::write(&path, "struct S { long x; };").unwrap();
    let gateway = DdsGateway::new("robot", config(&text)).unwrap();
    assert!(gateway.subscriptions().is_empty() && !gateway.is_durable());
}
