//! The certificates and keys that bridges read: what is said of those that cannot be used.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::certificates::Certificates;
use tests::daemon::{Daemon, tidegate};
use tests::hub::Hub;
use tests::reservation;
use tests::subscriber::Subscriber;
use tests::wait::until;

/// Wrong configuration, as in sysexits.
const EXIT_CONFIG: i32 = 78;
const STATUS: &str = "$SYS/brokers/bridges/hub/status";

/// A bridge with these files to a hub at this port; `more` is appended to its keys.
fn bridge(port: u16, files: [&Path; 3], more: &str) -> String {
    let [authority, certificate, key] = files.map(Path::display);
    format!(
        "bridges.mqtt.hub {{\n\
         server = \"tls+mqtt-tcp://127.0.0.1:{port}\", clientid = edge, backoff_max = 200ms\n\
         ssl.cacertfile = \"{authority}\"\n\
         ssl.certfile = \"{certificate}\"\n\
         ssl.keyfile = \"{key}\"\n\
         {more}\n\
         forwards = [{{ local_topic = \"plant/#\" }}]\n\
         }}\n"
    )
}

/// A bridge with the files that these certificates have for it.
fn right(port: u16, certificates: &Certificates, more: &str) -> String {
    let files = ["ca.pem", "bridge.pem", "bridge.key"].map(|it| certificates.path(it));
    bridge(port, files.each_ref().map(AsRef::as_ref), more)
}

/// A hub that has a listener for TLS at this port.
fn hub(port: u16, certificates: &Certificates) -> Hub {
    let [authority, certificate, key] =
        ["ca.pem", "hub.pem", "hub.key"].map(|it| certificates.path(it));
    Hub::start_with(&format!(
        "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        authority.display(),
        certificate.display(),
        key.display()
    ))
}

fn run(command: &str, conf: &Path) -> Output {
    let arguments = [command.as_ref(), "--conf".as_ref(), conf.as_os_str()];
    tidegate::<&OsStr>(arguments).output().unwrap()
}

/// Waits until the last state that was said is this, with this in its reason.
#[track_caller]
fn until_state(watcher: &Subscriber, state: &str, reason: &str) {
    until(&format!("{state} because of {reason}"), || {
        let received = watcher.received();
        received.last().is_some_and(|it| {
            let value: Value = serde_json::from_slice(&it.payload).unwrap();
            let said = value["reason"].as_str().unwrap_or_default();
            value["state"] == state && said.contains(reason)
        })
    });
}

#[test]
fn check_names_the_key_and_the_file_that_cannot_be_used() {
    let certificates = Certificates::make();
    let names = ["ca.pem", "bridge.pem", "bridge.key"];
    let keys = ["cacertfile", "certfile", "keyfile"];
    let conf = certificates.path("check.conf");
    let check = |names: [&str; 3], more: &str| {
        let files = names.map(|it| certificates.path(it));
        let text = bridge(1, files.each_ref().map(AsRef::as_ref), more);
        fs::write(&conf, text).unwrap();
        run("check", &conf)
    };
    assert_eq!(check(names, "").status.code(), Some(0));
    fs::write(certificates.path("text"), "no PEM").unwrap();
    let table = [
        (0, "absent", "No such file"),
        (0, "", "Is a directory"),
        (0, "text", "there is no certificate in it"),
        (1, "absent", "No such file"),
        (1, "bridge.key", "there is no certificate in it"),
        (2, "absent", "No such file"),
        (2, "bridge.pem", "there is no private key in it"),
        (2, "hub.key", "the key is not that of the certificate"),
    ];
    for (place, name, reason) in table {
        let mut names = names;
        names[place] = name;
        let output = check(names, "");
        assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        let (line, key) = (place + 3, keys[place]);
        let file = certificates.path(name);
        let parts = [
            format!("{}:{line}:", conf.display()),
            format!(
                "`bridges.mqtt.hub.ssl.{key}`: `{}`: {reason}",
                file.display()
            ),
        ];
        for part in parts {
            assert!(said.contains(&part), "{part} expected in: {said}");
        }
        // One that does not run reads nothing.
        let output = check(names, "enable = false");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_daemon_starts_without_the_file_of_a_bridge_and_takes_it_when_it_comes() {
    let certificates = Certificates::make();
    let port = reservation::port();
    let (file, away) = (certificates.path("ca.pem"), certificates.path("away"));
    fs::rename(&file, &away).unwrap();
    // The hub is away, and it is the file that is told.
    let daemon = Daemon::start(&right(port, &certificates, ""));
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    let reason = format!("ssl.cacertfile: `{}`: No such file", file.display());
    until_state(&watcher, "down", &reason);
    fs::rename(&away, &file).unwrap();
    let _hub = hub(port, &certificates);
    until_state(&watcher, "up", "");
}

#[test]
fn a_reload_that_names_a_file_that_cannot_be_used_changes_nothing() {
    let certificates = Certificates::make();
    let port = reservation::port();
    let hub = hub(port, &certificates);
    let same = right(port, &certificates, "");
    let mut daemon = Daemon::start(&same);
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    until_state(&watcher, "up", "");
    let (file, away) = (certificates.path("bridge.key"), certificates.path("away"));
    fs::rename(&file, &away).unwrap();
    let changed = right(port, &certificates, "keepalive = 7s");
    let expected = format!(
        "`bridges.mqtt.hub.ssl.keyfile`: `{}`: No such file",
        file.display()
    );
    let said = daemon.reload(&changed);
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("nothing is changed"), "{said}");
    let conf = daemon.conf();
    let output = run("reload", &conf);
    assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&expected), "{said}");
    // A bridge that has not changed does not keep another one from coming.
    let plain = hub.port();
    let other = format!(
        "bridges.mqtt.other {{ server = \"mqtt-tcp://127.0.0.1:{plain}\"\n\
         forwards = [{{ local_topic = other }}] }}\n"
    );
    let said = daemon.reload(&(same + &other));
    assert!(said.contains("added=1 changed=0"), "{said}");
    assert_eq!(hub.connections_of("edge"), 1);
    fs::rename(&away, &file).unwrap();
    let said = daemon.reload(&(changed + &other));
    assert!(said.contains("added=0 changed=1"), "{said}");
    until("it connects again", || hub.connections_of("edge") == 2);
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_does_not_keep_the_daemon_from_stopping() {
    let certificates = Certificates::make();
    let pipe = certificates.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let files = [&pipe, &pipe, &pipe].map(AsRef::as_ref);
    let mut daemon = Daemon::start(&bridge(1, files, "connect_timeout = 100ms"));
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    until_state(&watcher, "down", "certificates: there is no answer in time");
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
}
