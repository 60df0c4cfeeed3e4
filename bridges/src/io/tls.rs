//! TLS towards the hub. The cryptography is always ring's.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use gateway::ConfigError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::deadline::Deadline;
use super::pem::{PemError, certificates, private_key};
use super::reason::reason;
use super::{ConnectError, Phase};
use crate::config::{Endpoint, Tls};

const CA_FILE: &str = "ssl.cacertfile";
const CERT_FILE: &str = "ssl.certfile";
const KEY_FILE: &str = "ssl.keyfile";

/// Begins TLS on a connection to a hub whose certificate must have this name.
pub(super) async fn connect(
    stream: TcpStream,
    name: ServerName<'static>,
    config: ClientConfig,
    deadline: Deadline,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let handshake = async {
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| ConnectError::new(Phase::Tls, reason(&error)))
    };
    deadline.within(Phase::Tls, handshake).await
}

/// The name that the hub's certificate must have.
pub(super) fn server_name<'a>(endpoint: &'a Endpoint, tls: &'a Tls) -> &'a str {
    let name = tls.server_name.as_deref().unwrap_or(&endpoint.host);
    // Certificates have names without the root's dot, and IPv6 addresses without brackets.
    name.trim_end_matches('.')
        .trim_start_matches('[')
        .trim_end_matches(']')
}

/// Reads the files, which another thread does.
pub(super) async fn client_config(
    tls: Tls,
    deadline: Deadline,
) -> Result<ClientConfig, ConnectError> {
    let reading = async {
        let result = spawn_blocking(move || build(&tls)).await;
        let result = result.map_err(|error| ConnectError::new(Phase::Certificates, error))?;
        result.map_err(|error| ConnectError::new(Phase::Certificates, error))
    };
    deadline.within(Phase::Certificates, reading).await
}

/// Reads the files, as every connect does. Blocks.
///
/// # Errors
/// The first one that cannot be used, with its key.
pub(super) fn check_files(tls: &Tls) -> Result<(), ConfigError> {
    build(tls).map(drop)
}

fn build(tls: &Tls) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if tls.verify {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), Arc::clone(&provider))
            .build()
            .map_err(|error| ConfigError::new(CA_FILE, error))?
    } else {
        Arc::new(AnyCertificate(Arc::clone(&provider)))
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("ssl", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.certfile, &tls.keyfile) {
        (Some(certfile), Some(keyfile)) => {
            let chain =
                certificates(certfile).map_err(|error| ConfigError::new(CERT_FILE, error))?;
            let key = private_key(keyfile, tls.key_password.as_ref().map(|it| it.as_str()))
                .map_err(|error| ConfigError::new(KEY_FILE, error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(certfile, keyfile, &error))?
        }
        (Some(_) | None, None) | (None, Some(_)) => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Whose signature on the hub's certificate counts.
fn roots(tls: &Tls) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.cacertfile {
        for certificate in certificates(path).map_err(|error| ConfigError::new(CA_FILE, error))? {
            let added = roots.add(certificate);
            added.map_err(|error| no_certificate(CA_FILE, path, &error))?;
        }
    }
    if tls.trusts_os() {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reasons = found.errors.iter().map(|error| format!(": {error}"));
            let reasons: String = reasons.collect();
            let problem = format!(
                "the operating system has no trusted certificates, `cacertfile` names others\
                 {reasons}"
            );
            return Err(ConfigError::new(CA_FILE, problem));
        }
    }
    Ok(roots)
}

/// Why a certificate and a key cannot be shown.
fn unusable(certfile: &Path, keyfile: &Path, error: &Error) -> ConfigError {
    if let Error::InvalidCertificate(_) = error {
        return no_certificate(CERT_FILE, certfile, error);
    }
    let reason = if let Error::InconsistentKeys(_) = error {
        "the key is not that of the certificate in `certfile`".to_owned()
    } else {
        error.to_string()
    };
    ConfigError::new(KEY_FILE, PemError::new(keyfile, reason))
}

/// What is called a certificate in a file is none.
fn no_certificate(key: &str, path: &Path, error: &Error) -> ConfigError {
    // The whole error would speak of the hub's.
    let why: &dyn Display = if let Error::InvalidCertificate(why) = error {
        why
    } else {
        error
    };
    let reason = format!("a certificate in it cannot be read: {why}");
    ConfigError::new(key, PemError::new(path, reason))
}

/// Trusts whoever has the key of the certificate that is shown.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
