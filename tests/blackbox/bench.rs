//! `tidegate bench`: each load against the daemon and against mosquitto, and what is said when it
//! cannot be done.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;
use tests::daemon::{Daemon, tidegate};
use tests::hub::Hub;
use tests::process::Process;
use tests::reservation;
use tests::wait::until;

/// A load for the broker at this port. Its clients connect as fast as they can.
fn command(port: u16, load: &str, arguments: &[&str]) -> Command {
    let mut command = tidegate(["bench", load, "-p", &port.to_string(), "-i", "0"]);
    command.args(arguments);
    command
}

/// The report of a load that ends by itself and succeeds.
#[track_caller]
fn report(port: u16, load: &str, arguments: &[&str]) -> Value {
    let output = command(port, load, arguments).arg("--json").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is said of a load that fails.
#[track_caller]
fn complaint(port: u16, load: &str, arguments: &[&str], code: i32) -> String {
    failed(&command(port, load, arguments).output().unwrap(), code)
}

#[track_caller]
fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The report has these numbers.
#[track_caller]
fn assert_counts(report: &Value, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        assert_eq!(report[name].as_u64(), Some(*count), "{name}: {report:#}");
    }
}

/// The times of the report are of so many measurements, and grow with their share.
#[track_caller]
fn assert_times(report: &Value, name: &str, count: u64) {
    let times = &report[name];
    assert_eq!(times["count"].as_u64(), Some(count), "{name}: {report:#}");
    let shares = ["p50", "p90", "p99", "p999", "max"].map(|it| times[it].as_f64().unwrap());
    assert!(shares[0] > 0.0 && shares.is_sorted(), "{name}: {report:#}");
}

#[test]
fn connections_are_made_and_kept() {
    let (daemon, hub) = (Daemon::start(""), Hub::start());
    for port in [daemon.port(), hub.port()] {
        for version in ["3.1", "3.1.1", "5"] {
            let report = report(port, "conn", &["-V", version, "-c", "20", "-d", "0.1"]);
            assert_counts(&report, &[("connected", 20), ("failed", 0), ("lost", 0)]);
            assert_times(&report, "connect_us", 20);
        }
    }
}

#[test]
fn a_limit_of_messages_is_published_and_acknowledged() {
    let (daemon, hub) = (Daemon::start(""), Hub::start());
    for port in [daemon.port(), hub.port()] {
        for version in ["3.1.1", "5"] {
            for (qos, acknowledged) in [("0", 0), ("1", 1_003), ("2", 1_003)] {
                let load = ["-V", version, "-q", qos, "-c", "4", "-I", "0"];
                let limit = ["-F", "10", "-L", "1003", "-s", "100"];
                let report = report(port, "pub", &[load.as_slice(), &limit].concat());
                let expected = [("published", 1_003), ("acknowledged", acknowledged)];
                assert_counts(&report, &expected);
                assert_counts(&report, &[("connected", 4), ("lost", 0), ("refused", 0)]);
                if acknowledged > 0 {
                    assert_times(&report, "acknowledgement_us", acknowledged);
                }
            }
        }
    }
}

/// Takes a connection, and accepts its CONNECT of MQTT 5, which has less than 128 bytes.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut client, _) = listener.accept().unwrap();
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    client.read_exact(&mut vec![0; head[1].into()]).unwrap();
    client.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
    client
}

#[test]
fn a_client_may_publish_before_all_have_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = thread::spawn(move || {
        let mut first = accept(&listener);
        let mut publish = [0];
        first.read_exact(&mut publish).unwrap();
        assert_eq!(publish, [0x30]);
        // The other one waited for this.
        let second = accept(&listener);
        for mut client in [first, second] {
            client.read_to_end(&mut Vec::new()).unwrap();
        }
    });
    let load = ["-c", "2", "-w", "false", "-I", "0", "-L", "20"];
    let report = report(port, "pub", &load);
    assert_counts(&report, &[("connected", 2), ("published", 20)]);
    broker.join().unwrap();
}

#[test]
fn silent_clients_are_kept_alive() {
    let (daemon, hurried) = (
        Daemon::start(""),
        Daemon::start("mqtt.server_keepalive = 1"),
    );
    for (port, keep_alive) in [(daemon.port(), "1"), (hurried.port(), "600")] {
        let report = report(port, "conn", &["-c", "3", "-k", keep_alive, "-d", "3"]);
        assert_counts(&report, &[("connected", 3), ("lost", 0)]);
    }
}

#[test]
fn subscribers_time_what_another_process_publishes() {
    let (daemon, hub) = (Daemon::start(""), Hub::start());
    for port in [daemon.port(), hub.port()] {
        let folder = tempfile::tempdir().unwrap();
        let load = ["-c", "3", "-q", "1", "-t", "a/%i/#", "-L", "300"];
        let mut subscribers =
            Process::start(&mut command(port, "sub", &load), folder.path(), "sub");
        until("all are subscribed", || {
            subscribers.log().contains("3 of 3 connected")
        });
        let load = ["-c", "3", "-q", "1", "-t", "a/%i", "-L", "300", "-I", "1"];
        assert_counts(&report(port, "pub", &load), &[("acknowledged", 300)]);
        assert!(subscribers.wait().success());
        let log = subscribers.log();
        let lines: Vec<_> = log.lines().collect();
        assert!(
            lines
                .iter()
                .any(|it| it.starts_with("received            300 in ")),
            "{log}"
        );
        assert!(
            lines
                .iter()
                .any(|it| it.starts_with("until delivered     p50 ")),
            "{log}"
        );
    }
}

#[test]
fn round_trips_come_back_in_every_version_and_qos() {
    let (daemon, hub) = (Daemon::start(""), Hub::start());
    for port in [daemon.port(), hub.port()] {
        for version in ["3.1", "3.1.1", "5"] {
            for qos in ["0", "1", "2"] {
                let load = ["-V", version, "-q", qos, "-c", "3", "-F", "5"];
                let report = report(port, "rtt", &[&load[..], &["-L", "300"]].concat());
                assert_counts(&report, &[("connected", 6), ("published", 300)]);
                assert_counts(&report, &[("received", 300), ("missing", 0), ("lost", 0)]);
                assert_times(&report, "delivery_us", 300);
            }
        }
    }
}

#[test]
fn subscribers_that_are_not_as_many_get_everything() {
    let daemon = Daemon::start("");
    for (publishers, subscribers, received) in [("1", "5", 500), ("5", "2", 200)] {
        let load = ["-c", publishers, "--subscribers", subscribers, "-F", "4"];
        let limit = ["-L", "100", "-s", "16", "--workers", "2"];
        let report = report(daemon.port(), "pairs", &[load.as_slice(), &limit].concat());
        assert_counts(&report, &[("published", 100), ("received", received)]);
        assert_counts(&report, &[("missing", 0)]);
    }
}

#[test]
fn a_rate_is_not_exceeded() {
    let daemon = Daemon::start("");
    let load = ["-c", "3", "--rate", "500", "-d", "1"];
    let report = report(daemon.port(), "rtt", &load);
    let (published, seconds) = (&report["published"], &report["seconds"]);
    let (published, seconds) = (published.as_f64().unwrap(), seconds.as_f64().unwrap());
    assert!(
        published > 1.0 && published <= seconds * 500.0 + 3.0,
        "{report:#}"
    );
    assert_counts(&report, &[("missing", 0)]);
}

#[test]
fn placeholders_and_numbers_are_those_that_were_asked_for() {
    let mut daemon = Daemon::start("");
    let load = [
        "-c", "2", "-n", "5", "--prefix", "dev", "-u", "me", "-r", "-L", "2",
    ];
    let topic = ["-t", "x/%u/%c/%i", "-q", "1", "-I", "0", "-s", "3"];
    report(daemon.port(), "pub", &[&load[..], &topic].concat());
    let port = daemon.port().to_string();
    let output = tidegate(["sub", "-p", &port, "-t", "x/#", "-C", "2", "-v"]).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["x/me/dev-6/6 aaa", "x/me/dev-7/7 aaa"]);
    let ended = "client disconnected client_id=dev-6 reason=\"disconnected\"";
    until(ended, || daemon.process().log().contains(ended));
}

#[test]
fn a_signal_ends_it_in_order_with_its_report() {
    let mut daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    let load = ["-c", "2", "--prefix", "dev", "-q", "1", "-I", "1"];
    let mut publishers = Process::start(
        &mut command(daemon.port(), "pub", &load),
        folder.path(),
        "pub",
    );
    until("messages are published", || {
        publishers.log().contains("published ")
    });
    publishers.terminate();
    assert!(publishers.wait().success(), "{}", publishers.log());
    let log = publishers.log();
    for line in [
        "clients             2 connected",
        "until acknowledged  p50 ",
    ] {
        assert!(log.lines().any(|it| it.starts_with(line)), "{log}");
    }
    for client in ["dev-1", "dev-2"] {
        let ended = format!("client disconnected client_id={client} reason=\"disconnected\"");
        until(&ended, || daemon.process().log().contains(&ended));
    }
}

#[test]
fn what_fails_is_said_in_a_short_sentence() {
    let daemon = Daemon::start("");
    let long = "x".repeat(300);
    let table: [(&str, &[&str], &str); 8] = [
        ("conn", &["-h", "127.0.0.2"], ": Connection refused"),
        (
            "conn",
            &["-c", "2", "--prefix", &long],
            ": the broker refuses the connection: client identifier not valid",
        ),
        (
            "pub",
            &["-t", "$SYS/a", "-c", "1", "-q", "1", "-L", "3", "-I", "0"],
            ": 3 messages were refused: not authorized",
        ),
        (
            "pub",
            &["-t", "a/+"],
            "--topic 'a/+': a topic name must not contain",
        ),
        ("pub", &["-t", "a/%s"], "--topic 'a/%s': behind % stands i "),
        (
            "pub",
            &["-t", "a/%u"],
            "--topic 'a/%u': %u needs --username",
        ),
        (
            "rtt",
            &["-s", "15"],
            "--size: the payloads of round trips have at least 16 bytes",
        ),
        (
            "rtt",
            &["-t", "a%i", "--subscribers", "2"],
            "--topic 'a%i': %i and %c have to be whole levels",
        ),
    ];
    for (load, arguments, expected) in table {
        // What is wrong is an argument, or shows itself in the run.
        let code = if expected.starts_with("--") { 2 } else { 1 };
        let complaint = complaint(daemon.port(), load, arguments, code);
        assert!(complaint.contains(expected), "{complaint}");
        assert!(complaint.lines().count() == 1, "{complaint}");
    }
}

#[test]
fn a_broker_that_goes_away_fails_the_run() {
    let mut daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    let load = ["-c", "3", "-t", "a"];
    let mut subscribers = Process::start(
        &mut command(daemon.port(), "sub", &load),
        folder.path(),
        "sub",
    );
    until("all are subscribed", || {
        subscribers.log().contains("3 of 3 connected")
    });
    daemon.kill();
    assert_eq!(subscribers.wait().code(), Some(1));
    let log = subscribers.log();
    assert!(log.contains(": 3 of 3 clients: "), "{log}");
}

/// A broker that answers a CONNECT of MQTT 5 and takes nothing more, until its client goes.
fn deaf_broker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut client = accept(&listener);
        until("the client ends the connection", || {
            client.write_all(&[0xd0, 0]).is_err()
        });
    });
    port
}

#[test]
fn a_broker_that_takes_nothing_is_not_fast() {
    let load = ["-c", "1", "-I", "0", "-d", "1"];
    let report = report(deaf_broker(), "pub", &load);
    assert!(report["published"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["seconds"].as_f64().unwrap() >= 1.0, "{report:#}");
}

#[test]
fn too_few_open_files_are_told_beforehand() {
    let port = reservation::port().to_string();
    let bench = tidegate(["bench", "conn", "-c", "500", "-p", &port]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]);
    shell.arg(bench.get_program()).args(bench.get_args());
    let complaint = failed(&shell.output().unwrap(), 1);
    assert!(
        complaint.contains("this process may have 100"),
        "{complaint}"
    );
    assert!(
        complaint.contains("raise it with `ulimit -Hn 564`"),
        "{complaint}"
    );
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let daemon = Daemon::start("");
    let port = daemon.port().to_string();
    let bench = tidegate([
        "bench", "conn", "-c", "100", "-i", "0", "-d", "0.1", "-p", &port,
    ]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 50; exec \"$@\"", "sh"]);
    shell.arg(bench.get_program()).args(bench.get_args());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
