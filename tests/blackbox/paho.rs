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

// Conforms: 5.0 [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-3.8.4-8] [MQTT-4.3.2-4]
// Conforms: 5.0 [MQTT-4.3.3-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-4.6.0-5]
// Conforms: 3.1.1 [MQTT-2.3.1-6] [MQTT-3.3.4-1] [MQTT-3.8.4-1] [MQTT-3.8.4-6] [MQTT-4.3.2-2]
// Conforms: 3.1.1 [MQTT-4.3.3-2]
#[test]
fn every_qos_passes_with_paho() {
    play("every_qos", BOTH);
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-9] [MQTT-3.3.1-12]
// Conforms: 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.3.1-9] [MQTT-3.3.1-10]
// Conforms: 3.1.1 [MQTT-3.3.1-11]
#[test]
fn retained_messages_come_to_paho_until_they_are_cleared() {
    play("retained", BOTH);
}

// Conforms: 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.14.4-3]; 3.1.1 [MQTT-3.1.2-8] [MQTT-3.14.4-3]
#[test]
fn the_will_of_a_lost_paho_client_is_published_and_that_of_an_orderly_one_is_not() {
    play("will", BOTH);
}

// Conforms: 5.0 [MQTT-3.3.2-3] [MQTT-4.7.2-1]; 3.1.1 [MQTT-3.3.2-3] [MQTT-4.7.2-1]
#[test]
fn wildcards_match_for_paho_as_specified() {
    play("wildcards", BOTH);
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.4-4]
// Conforms: 5.0 [MQTT-3.1.4-5] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.5.0-1]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.1.4-4]
// Conforms: 3.1.1 [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.5.0-1]
#[test]
fn a_durable_session_of_paho_keeps_subscriptions_and_messages() {
    play("durable_session", BOTH);
}

// Conforms: 3.1.1 [MQTT-3.1.4-2]
#[test]
fn a_second_paho_client_takes_the_session_over() {
    play("takeover", BOTH);
}

// Conforms: 5.0 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4]
// Conforms: 3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2]
#[test]
fn an_unsubscribed_paho_client_gets_nothing() {
    play("unsubscribe", BOTH);
}

// Conforms: 5.0 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
// Conforms: 5.0 [MQTT-3.3.2-20]
#[test]
fn properties_pass_from_paho_to_paho_in_version_5() {
    play("properties", &["5"]);
}
