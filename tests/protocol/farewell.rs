//! PINGREQ (§3.12) and the DISCONNECT of a server (§3.14).

use tests::bytes::hex;
use tests::daemon::Daemon;
use tests::wire::{Version, WireClient, packet};

/// A CONNECT of MQTT 5 with a Maximum Packet Size.
fn connect(packet_bytes_max: u8) -> Vec<u8> {
    let mut body = Version::V5.name_and_level().to_vec();
    body.extend([2, 0, 60, 5, 0x27, 0, 0, 0, packet_bytes_max, 0, 1, b'c']);
    packet(0x10, &body)
}

// Conforms: 5.0 [MQTT-3.12.4-1]; 3.1.1 [MQTT-3.12.4-1]; 3.1 [MQTT31-13]
#[test]
fn each_ping_is_answered() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let kept = tests::wire::Kept::Nothing;
        let (mut client, _) = WireClient::connect(daemon.port(), version, "c", kept).unwrap();
        client.send(&hex("c000 c000 c000")).unwrap();
        for _ in 0..3 {
            let answer = client.expect(0xd0).unwrap();
            assert!(answer.body.is_empty());
        }
    }
}

// Conforms: 5.0 [MQTT-3.14.2-3]
#[test]
fn a_disconnect_has_a_reason_string_only_if_the_client_accepts_its_size() {
    let daemon = Daemon::start("");
    for (packet_bytes_max, has_reason_string) in [(20, false), (200, true)] {
        let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
        client.send(&connect(packet_bytes_max)).unwrap();
        client.expect(0x20).unwrap();
        // A CONNECT again.
        client.send(&connect(packet_bytes_max)).unwrap();
        let disconnect = client.expect(0xe0).unwrap();
        assert_eq!(disconnect.body[0], 0x82);
        let length = disconnect.body.len() + 2;
        assert!(length <= usize::from(packet_bytes_max), "{disconnect:?}");
        assert_eq!(disconnect.body.get(2) == Some(&0x1f), has_reason_string);
        assert_eq!(client.receive().unwrap(), None);
    }
}
