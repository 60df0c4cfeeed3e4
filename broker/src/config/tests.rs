mod mistakes;

use std::fs;
use std::path::Path;

use super::sources::Sources;
use super::*;

type Variables<'v> = &'v [(&'v str, &'v str)];

fn owned(variables: Variables<'_>) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

/// Reads and checks the sections that belong to the daemon itself.
fn parse(name: &str, text: &str, variables: Variables<'_>) -> Result<Config, String> {
    let read = || {
        let mut sources = Sources::new(owned(variables));
        sources.add_text(Path::new(name), text)?;
        sources.add_environment()?;
        let config: Config = sources.deserialize()?;
        config
            .validate()
            .map_err(|problem| sources.locate(&problem))?;
        Ok::<_, ConfigError>(config)
    };
    read().map_err(|error| error.to_string())
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let result = parse("etc/t.conf", text, &[]);
    assert_eq!(result, Err(format!("etc/t.conf:{expected}")), "{text}");
}

#[track_caller]
fn check_toml_error(text: &str, expected: &str) {
    let result = parse("t.toml", text, &[]);
    assert_eq!(result, Err(format!("t.toml:{expected}")), "{text}");
}

/// A configuration as users of NanoMQ write it.
const SAMPLE: &str = r#"
# ====================
# A gateway in hall 3.
# ====================
mqtt {
    property.max = 5MB            # see below
    max_packet_size = ${mqtt.property.max}
    max_mqueue_len = 2048
    keepalive_multiplier = 1.25
    max_session_expiry_interval = 2d
}

listeners.tcp {
    ## the plant's network
    bind = "0.0.0.0:1883"
}
listeners.tcp.local {
    bind: "127.0.0.1:11883", enable: true
}

log = {
    level = WARN
}
store { path = ${STATE}/tidegate, commit_interval = 20ms }
"#;

#[test]
fn a_realistic_file() {
    let text = SAMPLE
        .replace("property.max = 5MB            # see below", "")
        .replace("${mqtt.property.max}", "5MB // five");
    let config = parse("t.conf", &text, &[("STATE", "/var/lib")]).unwrap();
    assert_eq!(config.mqtt.max_packet_size.bytes(), 5 << 20);
    assert_eq!(config.mqtt.max_mqueue_len, 2048);
    assert_eq!(config.mqtt.keepalive_multiplier, 1.25);
    assert_eq!(
        config.mqtt.max_session_expiry_interval.0.as_secs(),
        2 * 86_400
    );
    assert_eq!(config.mqtt.receive_maximum, 1024);
    let binds: Vec<_> = config
        .listeners
        .tcp
        .iter()
        .map(|(name, tcp)| (name.as_str(), tcp.bind.to_string()))
        .collect();
    assert_eq!(
        binds,
        [
            ("default", "0.0.0.0:1883".to_owned()),
            ("local", "127.0.0.1:11883".to_owned())
        ]
    );
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(
        config.store.path.as_deref(),
        Some(Path::new("/var/lib/tidegate"))
    );
    assert_eq!(config.store.commit_interval.0.as_millis(), 20);
    let error = parse("t.conf", SAMPLE, &[("STATE", "/var/lib")]).unwrap_err();
    assert!(
        error.starts_with("t.conf:6:5: unknown key `property` in `mqtt`; "),
        "{error}"
    );
}

#[test]
fn nothing_configured() {
    for name in ["t.conf", "t.toml"] {
        assert_eq!(parse(name, "", &[]), Ok(Config::default()), "{name}");
    }
    let config = Config::default();
    let default = &config.listeners.tcp["default"];
    assert_eq!(
        (default.bind.to_string().as_str(), default.enable),
        ("127.0.0.1:1883", true)
    );
    assert!(config.mqtt.allows_anonymous_on(&default.bind));
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn listeners() {
    let check = |text: &str, expected: &[(&str, &str)]| {
        let config = parse("t.conf", text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let binds: Vec<_> = config
            .listeners
            .tcp
            .iter()
            .map(|(name, tcp)| (name.clone(), tcp.bind.to_string()))
            .collect();
        let binds: Vec<_> = binds
            .iter()
            .map(|(name, bind)| (name.as_str(), bind.as_str()))
            .collect();
        assert_eq!(binds, expected, "{text}");
    };
    check("listeners {}", &[]);
    check("listeners.tcp {}", &[]);
    check("listeners.tcp.a {}", &[("a", "127.0.0.1:1883")]);
    check("listeners.tcp.bind = 1884", &[("default", "0.0.0.0:1884")]);
    check("listeners.tcp.bind = \":0\"", &[("default", "0.0.0.0:0")]);
    check(
        "listeners.tcp.bind = \"[::1]:1883\"",
        &[("default", "[::1]:1883")],
    );
    check(
        "listeners.tcp.bind = localhost:1883",
        &[("default", "localhost:1883")],
    );
    check(
        "listeners.tcp { bind = 1, a { bind = 2 } }",
        &[("a", "0.0.0.0:2"), ("default", "0.0.0.0:1")],
    );
    check(
        "listeners.tcp { a { bind = 0 }, b { bind = 0 } }",
        &[("a", "0.0.0.0:0"), ("b", "0.0.0.0:0")],
    );
    let port = "the port is no number from 0 to 65535";
    let host = "the host is neither a name nor an address";
    for (bad, reason) in [
        ("h", port),
        ("h:", port),
        ("h:70000", port),
        ("h:+1", port),
        ("h:1/mqtt", port),
        ("", port),
        ("a b:1", host),
        ("1.2.3:1", "the host is no IPv4 address"),
        ("*:1", "all addresses are 0.0.0.0"),
        ("nmq-tcp://0.0.0.0:1", "there is no scheme here"),
        (
            "::1:1883",
            "an IPv6 address must be in brackets, as in [::1]",
        ),
        ("[h]:1", "between brackets there must be an IPv6 address"),
        ("[::1", "between brackets there must be an IPv6 address"),
    ] {
        check_error(
            &format!("listeners.tcp {{ bind = \"{bad}\" }}"),
            &format!(
                "1:24: `listeners.tcp.default.bind`: expected `host:port` such as \
                 `127.0.0.1:1883`, found {bad:?}: {reason}"
            ),
        );
    }
}

#[test]
fn toml_and_hocon_are_equal() {
    let hocon = "listeners.tcp { bind = 1884, b { bind = \"h:1\", enable = false } }
        mqtt { max_packet_size = 2MB, keepalive_multiplier = 2, connect_timeout = 1500ms }
        retain.max_messages = 5, log { level = error, color = never }
        runtime.workers = 2, store { enable = off, path = data }";
    let toml = "[listeners.tcp]\nbind = 1884\n[listeners.tcp.b]\nbind = 'h:1'\nenable = false
        [mqtt]\nmax_packet_size = 2_097_152\nkeepalive_multiplier = 2.0\nconnect_timeout = 1.5
        [retain]\nmax_messages = 0x5\n[log]\nlevel = 'error'\ncolor = 'never'
        [runtime]\nworkers = 2\n[store]\nenable = false\npath = 'data'";
    let config = parse("t.conf", hocon, &[]).unwrap();
    assert_ne!(config, Config::default());
    assert_eq!(parse("t.toml", toml, &[]), Ok(config.clone()));
    assert_eq!(
        parse(
            "t.toml",
            &format!("\u{feff}{}", toml.replace('\n', "\r\n")),
            &[]
        ),
        Ok(config)
    );
}

#[test]
fn the_environment_overrides_files() {
    let text = "mqtt.receive_maximum = 5\nlisteners.tcp.Main { bind = 1 }";
    let variables = [
        ("TIDEGATE_MQTT__RECEIVE_MAXIMUM", "7"),
        ("TIDEGATE_MQTT__CONNECT_TIMEOUT", "90"),
        ("TIDEGATE_LISTENERS__TCP__MAIN__BIND", "127.0.0.1:2"),
        ("TIDEGATE_LISTENERS__TCP__EXTRA__BIND", "3"),
        ("TIDEGATE_LISTENERS__TCP__BIND", "4"),
        ("TIDEGATE_STORE__ENABLE", "False"),
        ("TIDEGATE_STORE__PATH", "007"),
        ("TIDEGATE_LOG__LEVEL", "DEBUG"),
        // Kubernetes makes these for a service of that name.
        ("TIDEGATE_PORT", "tcp://10.0.0.1:1883"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("MQTT__RECEIVE_MAXIMUM", "9"),
    ];
    for (name, text) in [
        ("t.conf", text),
        (
            "t.toml",
            "mqtt.receive_maximum = 5\nlisteners.tcp.Main.bind = 1",
        ),
    ] {
        let config = parse(name, text, &variables).unwrap();
        assert_eq!(config.mqtt.receive_maximum, 7);
        assert_eq!(config.mqtt.connect_timeout.0.as_secs(), 90);
        let binds: Vec<_> = config
            .listeners
            .tcp
            .iter()
            .map(|(name, tcp)| (name.as_str(), tcp.bind.to_string()))
            .collect();
        assert_eq!(
            binds,
            [
                ("Main", "127.0.0.1:2"),
                ("default", "0.0.0.0:4"),
                ("extra", "0.0.0.0:3")
            ]
            .map(|(name, bind)| (name, bind.to_owned()))
        );
        assert!(!config.store.enable);
        assert_eq!(config.store.path.as_deref(), Some(Path::new("007")));
        assert_eq!(config.log.level, LogLevel::Debug);
    }
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    let read = || {
        let mut sources = Sources::new([]);
        let added = sources.add_file(&path).map_err(|error| error.to_string());
        added.map_err(|error| error.replace(&path.display().to_string(), "t.toml"))
    };
    assert_eq!(read(), Err("t.toml: the file does not exist".to_owned()));
    fs::write(&path, "[log]\nlevel = 'warn'").unwrap();
    assert_eq!(read(), Ok(()));
    fs::write(&path, b"[log]\n# \xe9\xff").unwrap();
    assert_eq!(
        read(),
        Err("t.toml:2:3: the file is not UTF-8 text from here on".to_owned())
    );
    fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(
        read(),
        Err("t.toml: the file is larger than 1048576 bytes".to_owned())
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(
        read()
            .unwrap_err()
            .starts_with("t.toml: the file cannot be read: ")
    );
}

#[test]
fn the_whole_way() {
    let Loaded {
        config, gateways, ..
    } = load(None, []).unwrap();
    assert_eq!((config, gateways.len()), (Config::default(), 0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.conf");
    fs::write(&path, "log.level = debug\ninclude \"more.conf\"").unwrap();
    fs::write(folder.path().join("more.conf"), "runtime.workers = 3").unwrap();
    let Loaded { config, .. } =
        load(Some(&path), owned(&[("TIDEGATE_LOG__COLOR", "always")])).unwrap();
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.log.color, LogColor::Always);
    assert_eq!(config.runtime.workers, Some(3));
    let error = load_text(Path::new("t.toml"), "runtime.workers = 0", []).err();
    let error = error.map(|error| error.to_string());
    let expected = "t.toml:1:19: `runtime.workers`: expected a value from 1 to 1024, found 0";
    assert_eq!(error.as_deref(), Some(expected));
}

#[test]
fn durations_and_sizes() {
    let durations = [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("10 s", 10_000),
        ("60", 60_000),
        ("\"60\"", 60_000),
        ("0.5", 500),
        ("1 MS", 1),
    ];
    for (text, millis) in durations {
        let config = parse("t.conf", &format!("mqtt.connect_timeout = {text}"), &[]).unwrap();
        assert_eq!(config.mqtt.connect_timeout.0.as_millis(), millis, "{text}");
    }
    let sizes = [
        ("1024", 1024),
        ("10K", 10 << 10),
        ("512KB", 512 << 10),
        ("2 MB", 2 << 20),
        ("1MiB", 1 << 20),
        ("1g", 1 << 30),
        ("5b", 5),
    ];
    for (text, bytes) in sizes {
        let config = parse("t.conf", &format!("mqtt.max_queue_bytes = {text}"), &[]).unwrap();
        assert_eq!(config.mqtt.max_queue_bytes.bytes(), bytes, "{text}");
    }
    for bad in [
        "-1",
        "s",
        "1y",
        "99999999999999999999d",
        "18446744073709551615d",
        "true",
        "[]",
    ] {
        let text = format!("mqtt {{ connect_timeout = {bad} }}");
        assert!(parse("t.conf", &text, &[]).is_err(), "{text}");
        let text = format!("mqtt {{ max_queue_bytes = {bad} }}");
        assert!(parse("t.conf", &text, &[]).is_err(), "{text}");
    }
}

#[test]
fn what_is_left_out_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.conf");
    let text = "log.level = info\n  include \"site\"\ninclude \"there.conf\"\n";
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("there.conf"), "").unwrap();
    let links = [
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT", "1883"),
        ("TIDEGATE_SERVICE_PORT_MQTT", "1883"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:1883"),
        ("TIDEGATE_PORT_1883_TCP", "tcp://10.0.0.1:1883"),
        ("TIDEGATE_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_LAB_SERVICE_HOST", "10.0.0.2"),
        ("TIDEGATE_LAB_PORT", "tcp://10.0.0.2:1883"),
        ("TIDEGATE_LAB_PORT_1883_TCP_PORT", "1883"),
        // Bridges read it.
        ("TIDEGATE_VIN", "W0L000051T2123456"),
    ];
    let ignored = [
        ("TIDEGATE_", "1"),
        ("TIDEGATE_LOG_LEVEL", "info"),
        ("TIDEGATE_MQTT", "1"),
        ("TIDEGATE_NOPE", "1"),
        ("TIDEGATE_PORT", "1884"),
    ];
    let load = |variables: Variables<'_>| {
        let loaded = load(Some(&path), owned(variables)).map_err(|error| error.to_string());
        let notices = loaded.unwrap().notices.into_iter();
        notices.map(|it| it.to_string()).collect::<Vec<_>>()
    };
    let missing = format!(
        "{}:2:3: the included file does not exist: {}",
        path.display(),
        folder.path().join("site.conf").display()
    );
    assert_eq!(load(&links), [missing.as_str()]);
    let notices = load(&ignored);
    assert_eq!(notices.len(), 1 + ignored.len());
    assert_eq!(notices[0], missing);
    for ((name, _), notice) in ignored.iter().zip(&notices[1..]) {
        let expected = format!("environment variable {name} is ignored: it is no setting, ");
        assert!(notice.starts_with(&expected), "{notice}");
    }
}
