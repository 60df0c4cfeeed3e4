//! How the daemon begins and ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitStatus;

use tests::daemon::{Daemon, accepts, configuration, tidegate};
use tests::process::{Process, STOP_MAX};
use tests::reservation;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

/// Starts a daemon that is expected to end by itself, and says how, and what it printed.
fn start_in_vain(folder: &Path, text: &str) -> (ExitStatus, String) {
    let path = folder.join("vain.conf");
    fs::write(&path, text).unwrap();
    let mut command = tidegate(["start", "--conf", path.to_str().unwrap()]);
    let mut process = Process::start(&mut command, folder, "vain");
    let status = process.wait();
    (status, process.log())
}

#[test]
fn sigterm_ends_the_daemon_in_time_with_farewells_and_keeps_everything() {
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    let (mut reader, _) = WireClient::connect(port, Version::V5, "reader", Kept::Session).unwrap();
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    let (mut publisher, _) =
        WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
    for number in 1..=100 {
        let payload = format!("{number}");
        publisher
            .publish_acknowledged("t/a", payload.as_bytes())
            .unwrap();
    }
    let idle = (0..50).map(|number| {
        let client_id = format!("idle{number}");
        WireClient::connect(port, Version::V311, &client_id, Kept::Nothing)
            .unwrap()
            .0
    });
    let idle: Vec<_> = idle.collect();

    let (status, time) = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(time < STOP_MAX, "{time:?}");
    // Server shutting down.
    assert_eq!(publisher.expect(0xe0).unwrap().body.first(), Some(&0x8b));
    for mut client in idle {
        assert_eq!(client.receive().unwrap(), None);
    }

    daemon.restart();
    let (mut reader, is_resumed) =
        WireClient::connect(port, Version::V5, "reader", Kept::Session).unwrap();
    assert!(is_resumed);
    for number in 1..=100 {
        assert_eq!(reader.receive_publish().unwrap().number(), Some(number));
    }
}

#[test]
fn a_second_daemon_on_the_same_data_directory_is_refused() {
    let daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    let port = reservation::port();
    let (status, log) = start_in_vain(folder.path(), &configuration(port, &daemon.data(), ""));
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert_eq!(log.lines().count(), 1, "{log}");
    let data = daemon.data();
    assert!(log.contains(data.to_str().unwrap()), "{log}");
    // The first one does not care.
    let (mut client, _) =
        WireClient::connect(daemon.port(), Version::V5, "client", Kept::Nothing).unwrap();
    client.publish_acknowledged("a", b"1").unwrap();
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let port = reservation::port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let data = folder.path().join("data");
    let (status, log) = start_in_vain(folder.path(), &configuration(port, &data, ""));
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&format!("127.0.0.1:{port}")), "{log}");
    assert!(log.contains("in use"), "{log}");
}

#[test]
fn without_a_file_only_the_loopback_is_open_on_1883() {
    if !reservation::has_port(1883) {
        eprintln!("not tested: port 1883 is in use here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate(["start"]);
    command.current_dir(folder.path());
    command.env("HOME", folder.path());
    command
        .env_remove("XDG_STATE_HOME")
        .env_remove("STATE_DIRECTORY");
    let mut process = Process::start(&mut command, folder.path(), "default");
    until("the daemon listens", || {
        assert_eq!(process.status(), None, "{}", process.log());
        accepts(1883)
    });
    assert_eq!(
        listening(1883),
        ["0100007F:075B"],
        "hexadecimal, as the kernel says it"
    );
    let (mut client, _) =
        WireClient::connect(1883, Version::V311, "client", Kept::Nothing).unwrap();
    client.publish_acknowledged("a", b"1").unwrap();
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    assert!(folder.path().join(".local/state/tidegate").is_dir());
}

/// The local addresses that something listens on with this port.
fn listening(port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables: Vec<String> = tables.into_iter().filter_map(Result::ok).collect();
    let lines = tables.iter().flat_map(|it| it.lines());
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listeners = fields.filter(|it| it.get(3) == Some(&"0A"));
    let addresses = listeners.filter_map(|it| it.get(1).map(|it| (*it).to_owned()));
    addresses.filter(|it| it.ends_with(&suffix)).collect()
}
