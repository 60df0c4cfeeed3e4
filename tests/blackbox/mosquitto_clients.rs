//! `mosquitto_pub` and `mosquitto_sub`, in every version and with every QoS.

use std::process::Command;

use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::process::Process;
use tests::wait::until;

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// The clients of one version, and a daemon for them.
struct Clients {
    daemon: Daemon,
    version: &'static str,
    folder: TempDir,
}

impl Clients {
    fn new(version: &'static str) -> Self {
        Self {
            daemon: Daemon::start(""),
            version,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        // Line by line, so that the debug output shows when a subscription is granted.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "127.0.0.1"]);
        command.args(["-p", &self.daemon.port().to_string()]);
        command.args(["-V", self.version]).args(arguments);
        command
    }

    /// Runs `mosquitto_pub`, which waits for its acknowledgements.
    #[track_caller]
    fn publish(&self, arguments: &[&str]) {
        let output = self.command("mosquitto_pub", arguments).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", self.version);
    }

    /// Starts `mosquitto_sub`, which prints retain flag, topic, QoS and payload of each message,
    /// and waits until its subscription is granted.
    #[track_caller]
    fn subscribe(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = self.command("mosquitto_sub", arguments);
        command.args(["-d", "-F", "> %r %t %q %p"]);
        let process = Process::start(&mut command, self.folder.path(), name);
        until("mosquitto_sub is subscribed", || {
            process.log().contains("Subscribed (mid:")
        });
        process
    }
}

/// The messages that a subscriber printed until it ended by itself.
#[track_caller]
fn printed(mut process: Process) -> Vec<String> {
    let status = process.wait();
    assert!(status.success(), "{status}: {}", process.log());
    received(&process)
}

/// The messages that a subscriber has printed so far.
fn received(process: &Process) -> Vec<String> {
    let log = process.log();
    let lines = log.lines().filter_map(|it| it.strip_prefix("> "));
    lines.map(ToOwned::to_owned).collect()
}

// Conforms: 5.0 [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-4.2.0-1]
// Conforms: 3.1.1 [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-7.0.0-2] [MQTT-7.1.1-1]
#[test]
fn every_qos_passes_with_mosquitto_clients() {
    for version in VERSIONS {
        let clients = Clients::new(version);
        for qos in ["0", "1", "2"] {
            let limits = ["-C", "3", "-W", "30", "-q", qos];
            let exact = clients.subscribe(&format!("exact{qos}"), &with(&["-t", "q/a"], &limits));
            let wild = clients.subscribe(&format!("wild{qos}"), &with(&["-t", "+/#"], &limits));
            for number in ["1", "2", "3"] {
                clients.publish(&["-t", "q/a", "-q", qos, "-m", number]);
            }
            let expected = ["1", "2", "3"].map(|number| format!("0 q/a {qos} {number}"));
            assert_eq!(printed(exact), expected, "{version}");
            assert_eq!(printed(wild), expected, "{version}");
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9]
// Conforms: 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8]
#[test]
fn retained_messages_come_to_mosquitto_clients_until_they_are_cleared() {
    for version in VERSIONS {
        let clients = Clients::new(version);
        for (topic, payload) in [("r/a", "1"), ("r/b", "2"), ("r/a", "3")] {
            clients.publish(&["-t", topic, "-q", "1", "-r", "-m", payload]);
        }
        let both = clients.subscribe("both", &["-t", "r/#", "-q", "1", "-C", "2", "-W", "30"]);
        let mut both = printed(both);
        both.sort();
        assert_eq!(both, ["1 r/a 1 3", "1 r/b 1 2"], "{version}");
        clients.publish(&["-t", "r/a", "-q", "1", "-r", "-n"]);
        let arguments = ["-t", "r/#", "-q", "1", "-C", "2", "-W", "30"];
        let rest = clients.subscribe("rest", &arguments);
        clients.publish(&["-t", "r/live", "-q", "1", "-m", "4"]);
        let rest = printed(rest);
        assert_eq!(rest, ["1 r/b 1 2", "0 r/live 1 4"], "{version}");
    }
}

// Conforms: 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-4.5.0-1]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-4.5.0-1]
#[test]
fn a_durable_session_of_a_mosquitto_client_keeps_its_messages() {
    for version in VERSIONS {
        let clients = Clients::new(version);
        let mut session = vec!["-i", "durable", "-c", "-q", "2"];
        if version == "mqttv5" {
            session.extend(["-x", "3600"]);
        }
        // -E ends it once it is subscribed.
        let output = clients
            .command("mosquitto_sub", &with(&session, &["-t", "d/+", "-E"]))
            .output();
        assert!(output.unwrap().status.success(), "{version}");
        for (qos, payload) in [("1", "1"), ("2", "2"), ("1", "3"), ("2", "4")] {
            clients.publish(&["-t", "d/a", "-q", qos, "-m", payload]);
        }
        let arguments = with(&session, &["-t", "d/+", "-C", "4", "-W", "30"]);
        let mut messages = printed(clients.subscribe("durable", &arguments));
        // The client holds messages of QoS 2 back until they are released, so the order is that
        // of each QoS.
        messages.sort_by_key(|it| it.starts_with("0 d/a 2"));
        assert_eq!(
            messages,
            ["0 d/a 1 1", "0 d/a 1 3", "0 d/a 2 2", "0 d/a 2 4"],
            "{version}"
        );
    }
}

// Conforms: 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.14.4-3]; 3.1.1 [MQTT-3.1.2-8] [MQTT-3.14.4-3]
#[test]
fn the_will_of_a_killed_mosquitto_client_is_published() {
    for version in VERSIONS {
        let clients = Clients::new(version);
        let heir = clients.subscribe("heir", &["-t", "will/#", "-q", "1", "-W", "30"]);
        let with_will = |name: &str, more: &[&str]| {
            let topic = format!("will/{name}");
            let will = [
                "--will-topic",
                &topic,
                "--will-payload",
                "x",
                "--will-qos",
                "1",
            ];
            clients.subscribe(name, &with(&with(&will, &["-t", "nothing"]), more))
        };
        let mut expected = Vec::new();
        let mut expect = |name: &str| {
            let message = format!("0 will/{name} 1 x");
            until(&message, || received(&heir).contains(&message));
            expected.push(message);
        };
        // One that ends in order has no will.
        printed(with_will("orderly", &["-E"]));
        with_will("killed", &[]).kill();
        expect("killed");
        if version == "mqttv5" {
            // On SIGTERM this client ends with reason code 4, Disconnect with Will Message.
            let mut asking = with_will("asking", &[]);
            asking.terminate();
            asking.wait();
            expect("asking");
        }
        clients.publish(&["-t", "will/end", "-q", "1", "-m", "x"]);
        expect("end");
        assert_eq!(received(&heir), expected, "{version}");
    }
}

fn with<'a>(one: &[&'a str], other: &[&'a str]) -> Vec<&'a str> {
    [one, other].concat()
}
