//! paho-mqtt, in both versions; what it does and checks is `peers/paho_peer.py`.

use tests::daemon::Daemon;
use tests::peer::python;
use tests::process::Process;

const BOTH: &[&str] = &["3.1.1", "5"];

/// Plays one scenario in these versions, each at a daemon of its own.
#[track_caller]
fn play(scenario: &str, versions: &[&str]) {
    for version in versions {
        let daemon = Daemon::start("");
        let folder = tempfile::tempdir().unwrap();
        let mut command = python("paho_peer.py");
        command.args([daemon.port().to_string().as_str(), version, scenario]);
        let mut process = Process::start(&mut command, folder.path(), "paho");
        let status = process.wait();
        assert!(status.success(), "{version}: {}", process.log());
    }
}

#[test]
fn every_qos_passes_with_paho() {
    play("every_qos", BOTH);
}

#[test]
fn retained_messages_come_to_paho_until_they_are_cleared() {
    play("retained", BOTH);
}

#[test]
fn the_will_of_a_lost_paho_client_is_published_and_that_of_an_orderly_one_is_not() {
    play("will", BOTH);
}

#[test]
fn wildcards_match_for_paho_as_specified() {
    play("wildcards", BOTH);
}

#[test]
fn a_durable_session_of_paho_keeps_subscriptions_and_messages() {
    play("durable_session", BOTH);
}

#[test]
fn a_second_paho_client_takes_the_session_over() {
    play("takeover", BOTH);
}

#[test]
fn an_unsubscribed_paho_client_gets_nothing() {
    play("unsubscribe", BOTH);
}

#[test]
fn properties_pass_from_paho_to_paho_in_version_5() {
    play("properties", &["5"]);
}
