//! What MQTT 3.1 reads and writes otherwise than 3.1.1.

use super::*;

const V31: ProtocolVersion = ProtocolVersion::V31;

fn connect(input: &[u8]) -> Connect<'_> {
    match decode(input, V31) {
        Ok(Packet::Connect(connect)) => connect,
        other => panic!("{other:?}"),
    }
}

// Conforms: 3.1 [MQTT31-5]
#[test]
fn packets_that_are_sent_again_may_have_dup() {
    for (first, again) in [
        ("62 02 0001", "6a 02 0001"),
        ("82 06 0001 0001 61 01", "8a 06 0001 0001 61 01"),
        ("a2 05 0001 0001 61", "aa 05 0001 0001 61"),
    ] {
        let (first, again) = (bytes(first), bytes(again));
        assert_eq!(decode(&again, V31), decode(&first, V31));
        assert!(decode(&again, V31).is_ok());
        assert!(decode(&again, V3).is_err());
    }
}

// Conforms: 3.1 [MQTT31-7] [MQTT31-8]
#[test]
fn the_length_counts_for_more_than_the_flags_of_user_name_and_password() {
    const HEAD: &str = "0006 4d5149736470 03";
    let input = bytes(&format!("10 0f {HEAD} c2 003c 0001 61"));
    assert_eq!(
        (connect(&input).user_name, connect(&input).password),
        (None, None)
    );
    let input = bytes(&format!("10 12 {HEAD} c2 003c 0001 61 0001 75"));
    let found = connect(&input);
    assert_eq!((found.user_name, found.password), (Some("u"), None));
    let input = bytes(&format!("10 15 {HEAD} c2 003c 0001 61 0001 75 0001 70"));
    let found = connect(&input);
    assert_eq!(
        (found.user_name, found.password),
        (Some("u"), Some(&b"p"[..]))
    );
    // A field that is there has to be whole.
    let input = bytes(&format!("10 11 {HEAD} c2 003c 0001 61 0001"));
    assert!(decode(&input, V31).is_err());
}

// Conforms: 3.1 [MQTT31-9]
#[test]
fn the_reserved_connect_flag_is_ignored() {
    let input = bytes("10 0f 0006 4d5149736470 03 03 003c 0001 61");
    let found = connect(&input);
    assert_eq!((found.client_id, found.clean_start), ("a", true));
}

// Conforms: 3.1 [MQTT31-6]
#[test]
fn connack_has_no_session_present() {
    let connack = Connack {
        session_present: true,
        reason: ReasonCode::Success,
        properties: Properties::default(),
    };
    let mut output = Vec::new();
    Packet::Connack(connack).encode(V31, &mut output);
    assert_eq!(output, [0x20, 2, 0, 0]);
}
