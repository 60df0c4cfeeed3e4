//! Certificates and keys in PEM files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Bytes of the largest file that is read; the certificates that a system trusts are 0.3 MiB.
const FILE_BYTES_MAX: u64 = 4 << 20;
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// What begins an encrypted key in OpenSSL's older form.
const OLD_ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {reason}", path.display())]
pub struct PemError {
    /// The file, from the root on: the directory that the process is in is not to be guessed.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

impl PemError {
    pub(super) fn new(path: &Path, reason: impl ToString) -> Self {
        Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            reason: reason.to_string(),
        }
    }
}

/// Reads all certificates of a file, in their order. Blocks.
///
/// # Errors
/// The file cannot be read, or it has no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| PemError::new(path, damage(&error)))?;
    if found.is_empty() {
        return Err(PemError::new(
            path,
            "there is no certificate in it, in PEM form",
        ));
    }
    Ok(found)
}

/// What is wrong with a text in PEM form. The library shows lines of it as lists of numbers.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others speak for themselves"
)]
fn damage(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a certificate in it has no end".to_owned(),
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("a line in it begins nothing: `{}`", line.trim_end())
        }
        other => other.to_string(),
    }
}

/// Reads the first private key of a file; the password is for one that is encrypted. Blocks, with
/// an encrypted key for up to a second.
///
/// # Errors
/// The file cannot be read, has no key, or needs another password.
pub fn private_key(
    path: &Path,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, PemError> {
    let text = read(path)?;
    if text.contains(OLD_ENCRYPTED) {
        let reason = "the key is encrypted in an old form; convert it with `openssl pkcs8 -topk8`";
        return Err(PemError::new(path, reason));
    }
    let Some((_, rest)) = text.split_once(ENCRYPTED_BEGIN) else {
        return PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| PemError::new(path, "there is no private key in it, in PEM form"));
    };
    let Some(password) = password else {
        let reason = "the key is encrypted, but there is no `key_password`";
        return Err(PemError::new(path, reason));
    };
    let body = rest.split(ENCRYPTED_END).next().unwrap_or_default();
    decrypt(body, password).map_err(|reason| PemError::new(path, reason))
}

fn decrypt(body: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    let body: String = body.split_whitespace().collect();
    let der = STANDARD
        .decode(body)
        .map_err(|error| format!("the key is no Base64: {error}"))?;
    let key = EncryptedPrivateKeyInfoRef::try_from(der.as_slice())
        .map_err(|error| format!("the key is encrypted in a way that is not known: {error}"))?;
    let key = key.decrypt(password).map_err(|error| {
        format!("the key cannot be decrypted, perhaps `key_password` is wrong: {error}")
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn read(path: &Path) -> Result<String, PemError> {
    let error = |reason: std::io::Error| PemError::new(path, reason);
    let file = File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PemError::new(path, "is larger than 4 MiB"));
    }
    // Comments around the blocks may be in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file made by OpenSSL 3 from the key in `plain.pem`.
    fn key(name: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, PemError> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/io/tests/keys");
        private_key(&Path::new(folder).join(name), password)
    }

    #[test]
    fn encrypted_keys_are_decrypted() {
        let plain = key("plain.pem", None).unwrap();
        for name in ["pbkdf2.pem", "scrypt.pem"] {
            let found = key(name, Some("secret")).unwrap();
            // The encrypted form may leave out or add attributes, so the keys are compared by use.
            let sign = rustls::crypto::ring::sign::any_supported_type;
            let public = |key| sign(key).unwrap().public_key().unwrap().to_vec();
            assert_eq!(public(&found), public(&plain), "{name}");
        }
        // A password does no harm.
        assert_eq!(key("plain.pem", Some("secret")).unwrap(), plain);
        assert!(matches!(key("sec1.pem", None), Ok(PrivateKeyDer::Sec1(_))));
    }

    #[test]
    fn keys_that_cannot_be_decrypted_are_named() {
        let table = [
            (
                "pbkdf2.pem",
                Some("other"),
                "perhaps `key_password` is wrong",
            ),
            ("pbkdf2.pem", None, "there is no `key_password`"),
            ("old.pem", Some("secret"), "`openssl pkcs8 -topk8`"),
        ];
        for (name, password, reason) in table {
            let error = key(name, password).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_without_an_end_is_not_read() {
        let error = certificates(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "`/dev/zero`: is larger than 4 MiB");
    }
}
