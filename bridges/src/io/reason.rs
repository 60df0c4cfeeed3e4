//! What errors of the layers say to an operator.

use std::error::Error;
use std::io;

use quinn::{ConnectionError, ReadError, WriteError};
use rustls::{AlertDescription, CertificateError};

const EXPIRED: &str = "the server's certificate has expired, if the clock of this machine is right";
const UNKNOWN_ISSUER: &str = "the server's certificate is not signed by one that is trusted here; \
     `cacertfile` names those";

const OTHER_KEY: &str = "the server's certificate names a signer that is trusted here, but another \
     key has signed it: perhaps one of the two was made anew, and `cacertfile` has the old one";
/// What webpki says of a certificate that was made to sign others.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";
const IS_A_CA: &str = "the server shows a certificate that was made to sign others (`CA:TRUE`, as \
     `openssl req -x509` makes it by itself): give it one with `CA:FALSE` and the host in \
     `subjectAltName`. `cacertfile` names that one, or whose signature it has; to name the present \
     one there does not help";

/// The cause of an error of a [`Stream`](super::Stream), in one sentence. A hub that wants a
/// client certificate, for example, often says so only when it is first read from.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().map(|it| it as &(dyn Error + 'static));
    let tls = inner.and_then(|it| it.downcast_ref::<rustls::Error>());
    if let Some(tls) = tls {
        return tls_reason(tls);
    }
    let lost = inner.and_then(|it| {
        match (
            it.downcast_ref::<ReadError>(),
            it.downcast_ref::<WriteError>(),
        ) {
            (Some(ReadError::ConnectionLost(lost)), _) => Some(lost),
            (_, Some(WriteError::ConnectionLost(lost))) => Some(lost),
            (Some(_) | None, Some(_) | None) => it.downcast_ref::<ConnectionError>(),
        }
    });
    if let Some(lost) = lost {
        return quic_reason(lost);
    }
    let hung_up = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
    if hung_up.contains(&error.kind()) {
        return "the server closed the connection".to_owned();
    }
    error.to_string()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others speak for themselves"
)]
fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_reason(error),
        rustls::Error::AlertReceived(alert) => alert_reason(*alert),
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS, perhaps this is its port without".to_owned()
        }
        other => other.to_string(),
    }
}

pub(super) fn quic_reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(local) => match alert(local.code.into()) {
            Some(AlertDescription::CertificateExpired) => EXPIRED.to_owned(),
            Some(AlertDescription::UnknownCA) => UNKNOWN_ISSUER.to_owned(),
            Some(_) if local.reason.contains(CA_AS_SERVER) => IS_A_CA.to_owned(),
            Some(_) => local.reason.clone(),
            None => local.to_string(),
        },
        ConnectionError::ConnectionClosed(remote) => {
            alert(remote.error_code.into()).map_or_else(|| remote.to_string(), alert_reason)
        }
        ConnectionError::TimedOut => "the server does not answer any more".to_owned(),
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => error.to_string(),
    }
}

/// The TLS alert in an error code of QUIC (RFC 9001, 4.8).
fn alert(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others speak for themselves"
)]
fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED.to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, if the clock of this machine is right"
                .to_owned()
        }
        CertificateError::UnknownIssuer => UNKNOWN_ISSUER.to_owned(),
        CertificateError::BadSignature => OTHER_KEY.to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            let names = presented.join(", ");
            format!("the server's certificate is not for `{expected}`, but for: {names}")
        }
        CertificateError::Other(other) if other.to_string() == CA_AS_SERVER => IS_A_CA.to_owned(),
        other => format!("the server's certificate is refused: {other}"),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others speak for themselves"
)]
fn alert_reason(alert: AlertDescription) -> String {
    let reason = match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a client certificate: `certfile` and `keyfile`"
        }
        AlertDescription::UnknownCA => "the server does not trust the client certificate's signer",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "the server refuses the client certificate",
        AlertDescription::HandshakeFailure => {
            "the server agrees to no cipher suite, or wants a client certificate"
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::NoApplicationProtocol => {
            "the server speaks no protocol of those offered, which are in `alpn`"
        }
        AlertDescription::UnrecognisedName => {
            "the server does not know the name that it is called; `server_name` changes it"
        }
        other => return format!("the server ended the handshake: {other:?}"),
    };
    reason.to_owned()
}
