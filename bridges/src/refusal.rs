//! What an operator is told of a hub that refuses CONNECT: pure.

use mqtt::connection::{ClientOptions, ClientRefusal};
use mqtt::{ProtocolVersion, ReasonCode};

/// Why the hub refused a CONNECT of these options, what it has to say of it, and what to look at.
/// The bridge may have shown a certificate.
pub(crate) fn explain(
    refusal: &ClientRefusal,
    options: &ClientOptions,
    has_certificate: bool,
) -> String {
    let (what, hint) = advice(refusal.reason, options, has_certificate);
    let code = code(refusal.reason, options.version);
    let mut text = match &refusal.reason_string {
        Some(said) => format!("{what} ({code}: {said})"),
        None => format!("{what} ({code})"),
    };
    let server = refusal.server_reference.as_ref();
    let server = server.map(|it| format!("it names {it} to be used instead"));
    for more in [hint, server].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(&more);
    }
    text
}

/// The code as the specification of this version has it.
fn code(reason: ReasonCode, version: ProtocolVersion) -> String {
    if version.is_v5() {
        format!("0x{:02X}", reason as u8)
    } else {
        format!("return code {}", reason.connect_return_code())
    }
}

/// What the hub says, and what to look at.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others have nothing to do with who connects"
)]
fn advice(
    reason: ReasonCode,
    options: &ClientOptions,
    has_certificate: bool,
) -> (&'static str, Option<String>) {
    let client_id = &options.client_id;
    let or_certificate = if has_certificate {
        ", or the certificate in `ssl.certfile`"
    } else {
        ""
    };
    let hint = match reason {
        ReasonCode::UnsupportedProtocolVersion => {
            let version = options.version as u8;
            format!("it was {version}, and `proto_ver` says another")
        }
        ReasonCode::ClientIdentifierNotValid => {
            format!("it was `{client_id}`, and `clientid` says another")
        }
        ReasonCode::BadUserNameOrPassword => format!("{}{or_certificate}", credentials(options)),
        // Many hubs, Mosquitto among them, say so of a wrong password too.
        ReasonCode::NotAuthorized => {
            let credentials = credentials(options);
            let hint = format!(
                "{credentials}, or the hub does not let in the client id `{client_id}`\
                 {or_certificate}"
            );
            return ("this bridge is not authorized", Some(hint));
        }
        ReasonCode::Banned => {
            format!("that may be the client id `{client_id}`, the user name or the address")
        }
        // What this broker means by it is not what every hub does.
        ReasonCode::ServerUnavailable => return ("it is not available at present", None),
        other => return (other.describe(), None),
    };
    (reason.describe(), Some(hint))
}

/// What may be wrong with the user name and the password.
fn credentials(options: &ClientOptions) -> String {
    match (&options.user_name, &options.password) {
        (Some(name), Some(_)) => format!("`username` (`{name}`) or `password` may be wrong"),
        (Some(name), None) => format!("`username` is `{name}`, and there is no `password`"),
        (None, Some(_)) => "there is a `password`, and no `username`".to_owned(),
        (None, None) => "there is no `username` and no `password`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mqtt::connection::{ClientAnswer, ClientHandshake};
    use mqtt::packet::Frame;

    use super::*;

    fn options(version: ProtocolVersion) -> ClientOptions {
        ClientOptions {
            user_name: Some("u".to_owned()),
            password: Some(b"hidden".to_vec()),
            ..ClientOptions::new(version, "edge")
        }
    }

    /// What is said of a CONNACK with this code, and in MQTT 5 with these properties.
    fn said(options: &ClientOptions, code: u8, properties: &[u8], has_certificate: bool) -> String {
        let mut body = vec![0, code];
        if options.version.is_v5() {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
        let mut packet = vec![0x20, u8::try_from(body.len()).unwrap()];
        packet.extend(body);
        let (frame, _) = Frame::split(&packet, 1_024).unwrap().unwrap();
        let handshake = ClientHandshake::new(options, &mut Vec::new()).unwrap();
        match handshake.handle(frame).unwrap() {
            ClientAnswer::Refused(refusal) => explain(&refusal, options, has_certificate),
            ClientAnswer::Accepted { .. } => panic!("{code} is accepted"),
        }
    }

    #[test]
    fn each_refusal_says_what_to_look_at() {
        let version = "the server does not know this version of MQTT";
        let client_id = "the client identifier is not accepted";
        let password = "the user name or password is wrong";
        let authorized = "this bridge is not authorized";
        let may_be_wrong = "`username` (`u`) or `password` may be wrong";
        let or = "or the hub does not let in the client id `edge`";
        let v5 = [
            (
                0x84,
                format!("{version} (0x84); it was 5, and `proto_ver` says another"),
            ),
            (
                0x85,
                format!("{client_id} (0x85); it was `edge`, and `clientid` says another"),
            ),
            (0x86, format!("{password} (0x86); {may_be_wrong}")),
            (0x87, format!("{authorized} (0x87); {may_be_wrong}, {or}")),
            (0x88, "it is not available at present (0x88)".to_owned()),
            (
                0x8A,
                "this client is banned (0x8A); that may be the client id `edge`, the user name or \
                 the address"
                    .to_owned(),
            ),
            (0x97, "a limit of this server is reached (0x97)".to_owned()),
        ];
        let v3 = [
            (
                1,
                format!("{version} (return code 1); it was 4, and `proto_ver` says another"),
            ),
            (
                2,
                format!("{client_id} (return code 2); it was `edge`, and `clientid` says another"),
            ),
            (
                3,
                "it is not available at present (return code 3)".to_owned(),
            ),
            (4, format!("{password} (return code 4); {may_be_wrong}")),
            (
                5,
                format!("{authorized} (return code 5); {may_be_wrong}, {or}"),
            ),
        ];
        let versions = [(ProtocolVersion::V5, &v5[..]), (ProtocolVersion::V311, &v3)];
        for (version, table) in versions {
            for (code, expected) in table {
                assert_eq!(said(&options(version), *code, &[], false), *expected);
            }
        }
    }

    #[test]
    fn only_what_the_bridge_has_shown_may_be_wrong() {
        let table = [
            (None, None, "there is no `username` and no `password`"),
            (
                Some("u"),
                None,
                "`username` is `u`, and there is no `password`",
            ),
            (None, Some("p"), "there is a `password`, and no `username`"),
        ];
        for (user_name, password, expected) in table {
            let options = ClientOptions {
                user_name: user_name.map(str::to_owned),
                password: password.map(|it| it.as_bytes().to_vec()),
                ..options(ProtocolVersion::V5)
            };
            let said = said(&options, 0x86, &[], false);
            assert!(said.ends_with(&format!("(0x86); {expected}")), "{said}");
        }
        for code in [0x86, 0x87] {
            let said = said(&options(ProtocolVersion::V5), code, &[], true);
            let expected = ", or the certificate in `ssl.certfile`";
            assert!(said.ends_with(expected), "{said}");
        }
    }

    #[test]
    fn what_the_hub_says_of_it_is_told_too() {
        let properties = [&[0x1F, 0, 3][..], b"why", &[0x1C, 0, 1], b"h"].concat();
        assert_eq!(
            said(&options(ProtocolVersion::V5), 0x8A, &properties, false),
            "this client is banned (0x8A: why); that may be the client id `edge`, the user name or \
             the address; it names h to be used instead"
        );
    }
}
