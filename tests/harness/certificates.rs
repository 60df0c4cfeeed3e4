//! Certificates of an authority, of a hub on the loopback address and of a bridge, as files.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// A folder with `ca.pem`, `hub.pem`, `hub.key`, `bridge.pem` and `bridge.key`.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes new ones.
    ///
    /// # Panics
    /// They cannot be made or written.
    #[must_use]
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = Self { folder };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than that of those it signs for, or they would seem to have signed
        // themselves.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(params, new_key()).expect("a certificate");
        certificates.write("ca.pem", &authority.pem());
        for name in ["hub", "bridge"] {
            let key = new_key();
            let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
            let signed = params.signed_by(&key, &authority).expect("a certificate");
            certificates.write(&format!("{name}.pem"), &signed.pem());
            certificates.write(&format!("{name}.key"), &key.serialize_pem());
        }
        certificates
    }

    /// Where one of the files is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
