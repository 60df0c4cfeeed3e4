//! The keys of `ssl{}`: whom a bridge trusts, and how it shows who it is.

use std::path::PathBuf;

use gateway::{ConfigError, Secret, check_host};
use serde::Deserialize;

/// TLS towards the hub. The files are PEM and are read at every attempt to connect, so a
/// certificate is renewed by replacing its file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// False leaves these keys out, and the defaults apply where the server's URL asks for TLS.
    pub enable: bool,
    /// False trusts whoever answers: what is sent is encrypted, but anybody between may read it.
    pub verify: bool,
    /// Certificates of those who may have signed the hub's.
    pub cacertfile: Option<PathBuf>,
    /// Whether the certificates that the operating system trusts count too. By default they do
    /// if there is no `cacertfile`.
    pub use_os_certs: Option<bool>,
    /// The bridge's own certificate, followed by those between it and a certificate that the
    /// hub trusts.
    pub certfile: Option<PathBuf>,
    /// The key of that certificate: PKCS #8, which may be encrypted, PKCS #1 or SEC 1.
    pub keyfile: Option<PathBuf>,
    /// The password of an encrypted `keyfile`.
    pub key_password: Option<Secret>,
    /// The name that is asked for (SNI) and that the hub's certificate must have, if it is not
    /// the host of the server's URL.
    pub server_name: Option<String>,
    /// Protocol names to offer (ALPN), the preferred first; none by default, `mqtt` over QUIC.
    pub alpn: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            enable: true,
            verify: true,
            cacertfile: None,
            use_os_certs: None,
            certfile: None,
            keyfile: None,
            key_password: None,
            server_name: None,
            alpn: Vec::new(),
        }
    }
}

impl Tls {
    /// Whether what the operating system trusts is trusted.
    #[must_use]
    pub fn trusts_os(&self) -> bool {
        self.use_os_certs
            .unwrap_or_else(|| self.cacertfile.is_none())
    }

    /// Checks what a single value cannot show; nothing is read.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        const ALPN_BYTES_MAX: usize = 255;
        let error = |key: &str, problem: &str| Err(ConfigError::new(format!("ssl.{key}"), problem));
        match (&self.certfile, &self.keyfile) {
            (Some(_), None) => return error("keyfile", "is missing: `certfile` needs its key"),
            (None, Some(_)) => return error("certfile", "is missing, but there is a `keyfile`"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.verify && !self.trusts_os() && self.cacertfile.is_none() {
            let problem = "is missing: without it and `use_os_certs` no hub would be trusted";
            return error("cacertfile", problem);
        }
        if let Some(Err(problem)) = self.server_name.as_deref().map(check_host) {
            return error("server_name", problem);
        }
        let is_wrong = |name: &String| name.is_empty() || name.len() > ALPN_BYTES_MAX;
        if self.alpn.iter().any(is_wrong) {
            return error("alpn", "a protocol name has 1 to 255 bytes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tls {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_empty_block_trusts_what_the_system_trusts() {
        let tls = read("");
        assert_eq!((tls.check(), &tls), (Ok(()), &Tls::default()));
        assert!(tls.enable && tls.verify && tls.trusts_os());
    }

    #[test]
    fn a_file_takes_the_place_of_what_the_system_trusts() {
        assert!(!read("cacertfile = \"ca.pem\"").trusts_os());
        assert!(read("cacertfile = \"ca.pem\"\nuse_os_certs = true").trusts_os());
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let table = [
            ("certfile = \"a.pem\"", "ssl.keyfile"),
            ("keyfile = \"a.pem\"", "ssl.certfile"),
            ("use_os_certs = false", "ssl.cacertfile"),
            ("server_name = \"a b\"", "ssl.server_name"),
            ("alpn = [\"\"]", "ssl.alpn"),
        ];
        for (text, key) in table {
            assert_eq!(read(text).check().unwrap_err().key, key, "{text}");
        }
        assert_eq!(read("use_os_certs = false\nverify = false").check(), Ok(()));
        assert!(toml::from_str::<Tls>("insecure = true").is_err());
    }
}
