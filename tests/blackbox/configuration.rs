//! What is said of a configuration that is wrong, by `start` and by `check`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tests::certificates::Certificates;
use tests::daemon::tidegate;
use tests::process::Process;
use tests::wait::until;

/// Wrong configuration, as in sysexits.
const EXIT_CONFIG: i32 = 78;

/// What both commands say of a file: one line each, which must not differ.
fn complaint(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let path = path.to_str().unwrap();
    let [start, check] = ["start", "check"].map(|command| {
        let mut process = Process::start(
            &mut tidegate([command, "--conf", path]),
            folder,
            &format!("{name}-{command}"),
        );
        let status = process.wait();
        assert_eq!(
            status.code(),
            Some(EXIT_CONFIG),
            "{command}: {}",
            process.log()
        );
        process.log()
    });
    assert_eq!(start.lines().count(), 1, "{start}");
    assert_eq!(start, check);
    start
}

/// Checks the complaint about a text: its place and what it has to contain.
#[track_caller]
fn check(name: &str, text: &str, place: &str, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let line = complaint(folder.path(), name);
    let place = format!("{}:{place}: ", path.display());
    assert!(line.contains(&place), "{place} expected in: {line}");
    for part in parts {
        assert!(line.contains(part), "{part} expected in: {line}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let text = "listeners.tcp.default {\n  bnd = \"127.0.0.1:1\"\n}\n";
    check("key.conf", text, "2:3", &["`bnd`", "`bind`"]);
    let text = "[listeners.tcp.default]\nbnd = \"127.0.0.1:1\"\n";
    check("key.toml", text, "2:1", &["`bnd`", "`bind`"]);
    let text = "bridge.mqtt.hub { server = \"localhost\" }\n";
    check("section.conf", text, "1:1", &["`bridge`", "`bridges`"]);
    let text = "gateways.zmq.plant {\n  sub { connect = [\"tcp://127.0.0.1:1\"] }\n  \
                to_mqtt = [\n    { topik = \"a\" }\n  ]\n}\n";
    check("rule.conf", text, "4:7", &["`topik`", "`topic`"]);
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    let text = "log { level = \"loud\" }\n";
    check("level.conf", text, "1:15", &["loud", "info"]);
    let text = "log { level = info }\nlisteners.tcp.default { bind = \"nowhere\" }\n";
    check("bind.conf", text, "2:32", &["nowhere"]);
    let text = "[bridges.mqtt.hub]\nserver = \"localhost\"\nkeepalive = 1\n\
                forwards = [{ local_topic = \"a/#\" }]\n";
    check("range.toml", text, "3:13", &["keepalive", "5s"]);
    let text = "bridges.mqtt.hub {\n  server = localhost\n  \
                forwards = [{ local_topic = \"a/#/b\" }]\n}\n";
    check(
        "filter.conf",
        text,
        "3:31",
        &["local_topic", "topic filter"],
    );
    let text = "bridges.mqtt.hub { forwards = [{ local_topic = \"a/#\" }] }\n";
    check("missing.conf", text, "1:18", &["hub.server`: is missing"]);
}

#[test]
fn what_is_neither_hocon_nor_toml_is_named_with_its_place() {
    check("open.conf", "log {\n  level = info\n", "1:5", &["`{`"]);
    check("value.toml", "[log]\nlevel = \n", "2:9", &[]);
}

#[test]
fn keys_of_other_brokers_are_answered_with_what_stands_for_them() {
    let text = "allow_anonymous true\n";
    check("mosquitto.conf", text, "1:16", &["`mqtt.allow_anonymous`"]);
    let text = "listeners.tcp { bind = \"127.0.0.1:1\" }\nhttp_server { port = 8081 }\n";
    check("nanomq.conf", text, "2:1", &["there is no HTTP interface"]);
    let text = "mqtt {\n  idle_timeout = 15s\n}\n";
    check("emqx.conf", text, "2:3", &["`mqtt.connect_timeout`"]);
}

#[test]
fn a_missing_file_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let line = complaint(folder.path(), "nothing.conf");
    let path = folder.path().join("nothing.conf");
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    assert!(line.contains("does not exist"), "{line}");
}

/// What stands from this column on in each line of the first block behind `opening`.
fn block(page: &str, opening: &str, column: usize) -> String {
    let text = fs::read_to_string(tests::workspace().join(page)).unwrap();
    let rest = text.split_once(opening).unwrap().1;
    let lines = rest.split_once("```").unwrap().0.lines();
    let lines = lines.map(|line| line.get(column..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_bridges_that_are_shown_to_read_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make();
    let beside = "Mosquitto                                  ".len() + "# ".len();
    for (name, text, bridge) in [
        (
            "readme",
            block("README.md", "```hocon\n", 0),
            "mqtt-tcp://hub",
        ),
        (
            "bridges",
            block("etc/bridges.md", "```\n", beside),
            "clientid",
        ),
    ] {
        assert!(text.contains(bridge), "{text}");
        // The files that a bridge reads are read by the check too.
        let authority = certificates.path("ca.pem");
        let text = text.replace("/etc/ssl/hub.pem", authority.to_str().unwrap());
        let path = folder.path().join(name).with_extension("conf");
        fs::write(&path, &text).unwrap();
        let mut command = tidegate(["check", "--conf", path.to_str().unwrap()]);
        let mut process = Process::start(&mut command, folder.path(), name);
        assert_eq!(process.wait().code(), Some(0), "{}{text}", process.log());
        assert!(process.log().contains("bridge/hub"), "{}", process.log());
    }
}

#[test]
fn a_good_file_passes_the_check_and_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.conf");
    let data = folder.path().join("data");
    fs::write(&path, tests::daemon::configuration(1, &data, "")).unwrap();
    let mut command = tidegate(["check", "--conf", path.to_str().unwrap()]);
    let mut process = Process::start(&mut command, folder.path(), "check");
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    assert!(!data.exists());
}

#[test]
fn a_variable_that_is_not_text_is_refused_if_it_is_a_setting_and_ignored_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let not_text = OsStr::from_bytes(b"b\xffd");
    let table = [
        ("UNRELATED", not_text, Some(0), ""),
        ("TIDEGATE_LOG__LEVEL", OsStr::new("info"), Some(0), ""),
        (
            "TIDEGATE_STORE__PATH",
            not_text,
            Some(EXIT_CONFIG),
            "tidegate: environment variable TIDEGATE_STORE__PATH: the variable is not UTF-8 text\n",
        ),
    ];
    for (name, value, code, complaint) in table {
        let mut command = tidegate(["check"]);
        command.env(name, value).current_dir(folder.path());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), code, "{name}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), complaint);
    }
    let mut command = tidegate(["check"]);
    command.env(OsStr::from_bytes(b"\xff"), not_text);
    assert!(command.output().unwrap().status.success());
}

#[test]
fn what_is_ignored_or_open_to_all_is_said_by_check_and_by_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.conf");
    let data = folder.path().join("data");
    let text = format!(
        "include \"site\"\nlisteners.tcp.default.bind = 0\nstore.path = \"{}\"\n",
        data.display()
    );
    fs::write(&path, text).unwrap();
    let run = |command: &str| {
        let mut command = tidegate([command, "--conf", path.to_str().unwrap()]);
        command.env("TIDEGATE_LOG_LEVEL", "debug");
        Process::start(&mut command, folder.path(), "any")
    };
    let mut check = run("check");
    assert_eq!(check.wait().code(), Some(0));
    for part in [
        "environment variable TIDEGATE_LOG_LEVEL is ignored",
        "any.conf:1:1: the included file does not exist",
        "listeners: 0.0.0.0:0 (every address)",
    ] {
        assert!(check.log().contains(part), "{part}: {}", check.log());
    }
    let start = run("start");
    until("the daemon listens", || {
        start.log().contains("listening on every address")
    });
    for part in [
        "WARN an environment variable is ignored",
        "INFO an included file does not exist",
    ] {
        assert!(start.log().contains(part), "{part}: {}", start.log());
    }
}
