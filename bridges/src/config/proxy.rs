//! The keys of `proxy{}`: who connects to the hub for a bridge that may not do it itself.

use std::fmt;

use gateway::{ConfigError, Secret};
use serde::Deserialize;

use super::endpoint::{split_port, write_authority};

/// A proxy between a bridge and its hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where it is and what it speaks.
    pub url: ProxyUrl,
    /// The user name at the proxy.
    pub username: Option<String>,
    /// The password at the proxy.
    pub password: Option<Secret>,
}

/// `http://host:port`, `socks5://host:port` or `socks5h://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyUrl {
    /// What it speaks.
    pub protocol: ProxyProtocol,
    /// A name or an IP address, that of IPv6 without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// The CONNECT method of HTTP; the proxy looks up the hub's name.
    Http,
    /// SOCKS 5 (RFC 1928); the hub's name is looked up here.
    Socks5,
    /// SOCKS 5; the proxy looks up the hub's name.
    Socks5h,
}

/// A URL that is no address of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write http://host:port, socks5://host:port or socks5h://host:port")]
pub struct InvalidProxyUrl(String);

/// Bytes of a user name or password, of which SOCKS 5 has one byte for the length.
const CREDENTIAL_BYTES_MAX: usize = 255;

impl Proxy {
    /// Checks what a single value cannot show.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error =
            |key: &str, problem: &str| Err(ConfigError::new(format!("proxy.{key}"), problem));
        if self.username.is_none() && self.password.is_some() {
            return error("username", "is missing, but there is a `password`");
        }
        let is_http = self.url.protocol == ProxyProtocol::Http;
        if is_http && self.username.as_ref().is_some_and(|it| it.contains(':')) {
            return error("username", "HTTP has no user names with `:`");
        }
        let password = self.password.as_ref().map(Secret::as_str);
        for (key, value) in [
            ("username", self.username.as_deref()),
            ("password", password),
        ] {
            let is_wrong = |it: &str| it.is_empty() || it.len() > CREDENTIAL_BYTES_MAX;
            if value.is_some_and(is_wrong) {
                return error(key, "must have 1 to 255 bytes");
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for ProxyUrl {
    type Error = InvalidProxyUrl;

    fn try_from(text: String) -> Result<Self, InvalidProxyUrl> {
        const PROTOCOLS: [(&str, ProxyProtocol); 3] = [
            ("http", ProxyProtocol::Http),
            ("socks5", ProxyProtocol::Socks5),
            ("socks5h", ProxyProtocol::Socks5h),
        ];
        if text.contains('@') {
            let problem = "credentials go into `username` and `password` of `proxy`";
            return Err(InvalidProxyUrl(problem.to_owned()));
        }
        let error = |problem: &str| InvalidProxyUrl(format!("`{text}`: {problem}"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
        let known = PROTOCOLS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(scheme));
        let (_, protocol) = known.ok_or_else(|| error("there are no such proxies"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // No port is usual enough to be guessed.
        let (host, port) = split_port(authority, None).map_err(error)?;
        Ok(Self {
            protocol: *protocol,
            host: host.to_owned(),
            port,
        })
    }
}

/// The host and the port, as they stand in a URL.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_authority(formatter, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_read() {
        use ProxyProtocol::{Http, Socks5, Socks5h};
        let table = [
            ("http://proxy:3128", Http, "proxy", 3128),
            ("http://[::1]:8080/", Http, "::1", 8080),
            ("SOCKS5://10.0.0.1:1080", Socks5, "10.0.0.1", 1080),
            (
                "socks5h://proxy.example:1080",
                Socks5h,
                "proxy.example",
                1080,
            ),
        ];
        for (text, protocol, host, port) in table {
            let expected = ProxyUrl {
                protocol,
                host: host.to_owned(),
                port,
            };
            assert_eq!(ProxyUrl::try_from(text.to_owned()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_advice() {
        let table = [
            ("proxy:3128", "no such proxies; write http://host:port"),
            ("https://proxy:3128", "no such proxies"),
            ("socks4://proxy:1080", "no such proxies"),
            ("http://proxy", "the port is missing"),
            ("http://proxy:0", "the port is no number"),
            ("http://proxy:80/path", "the port is no number"),
            ("http://a:secret@proxy:80", "`username` and `password` of"),
        ];
        for (text, expected) in table {
            let error = ProxyUrl::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let long = "a".repeat(256);
        let table = [
            ("http", "password = \"a\"".to_owned(), "proxy.username"),
            ("http", "username = \"a:b\"".to_owned(), "proxy.username"),
            ("socks5", "username = \"\"".to_owned(), "proxy.username"),
            (
                "socks5",
                format!("username = \"a\"\npassword = \"{long}\""),
                "proxy.password",
            ),
        ];
        for (scheme, text, key) in table {
            let text = format!("url = \"{scheme}://proxy:1080\"\n{text}");
            let proxy: Proxy = toml::from_str(&text).unwrap();
            assert_eq!(proxy.check().unwrap_err().key, key, "{text}");
        }
        let text = "url = \"socks5://proxy:1080\"\nusername = \"a:b\"";
        assert_eq!(toml::from_str::<Proxy>(text).unwrap().check(), Ok(()));
    }
}
