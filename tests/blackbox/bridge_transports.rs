//! Bridges over TLS with certificates on both sides, and over WebSocket, whose way is cut.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tests::daemon::Daemon;
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::reservation;

use crate::bridge_stream::Crossing;

const CUTS: usize = 3;
const COUNT: u64 = 1_500;
const PAUSE: Duration = Duration::from_millis(10);

/// Writes the certificates of an authority, of a hub on the loopback address and of a bridge.
fn write_certificates(folder: &Path) {
    let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than that of those it signs for, or they would seem to have signed themselves.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", authority.pem());
    for name in ["hub", "bridge"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        write(
            &format!("{name}.pem"),
            params.signed_by(&key, &authority).unwrap().pem(),
        );
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// Sends numbered messages to a listener of the hub while the way to it is cut.
#[track_caller]
fn check_cuts(hub: &Hub, listener: u16, scheme: &str, more: &str) {
    let proxy = FaultProxy::start(listener);
    let daemon = Daemon::start(&format!(
        r#"
bridges.mqtt.up {{
  server = "{scheme}://127.0.0.1:{}"
  backoff_max = 200ms
  {more}
  forwards = [{{ local_topic = "line/#" }}]
}}
"#,
        proxy.port()
    ));
    let crossing = Crossing::start(daemon.port(), hub.port(), COUNT, PAUSE);
    for _ in 0..CUTS {
        crossing.wait_more(100);
        proxy.cut();
    }
    crossing.finish(CUTS);
    assert!(proxy.accepted() > CUTS, "{}", proxy.accepted());
}

#[test]
fn a_bridge_over_tls_shows_its_certificate_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let path = folder.path().display();
    let port = reservation::port();
    let hub = Hub::start_with(&format!(
        "listener {port} 127.0.0.1\ncafile {path}/ca.pem\ncertfile {path}/hub.pem\n\
         keyfile {path}/hub.key\nrequire_certificate true"
    ));
    let ssl = format!(
        "ssl {{ cacertfile = \"{path}/ca.pem\", certfile = \"{path}/bridge.pem\", \
         keyfile = \"{path}/bridge.key\" }}"
    );
    check_cuts(&hub, port, "tls+mqtt-tcp", &ssl);
}

#[test]
fn a_bridge_over_websocket_loses_nothing() {
    let port = reservation::port();
    let hub = Hub::start_with(&format!("listener {port} 127.0.0.1\nprotocol websockets"));
    check_cuts(&hub, port, "ws", "");
}
