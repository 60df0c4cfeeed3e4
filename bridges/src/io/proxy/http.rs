//! The CONNECT method of HTTP (RFC 9110, 9.3.6).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Destination, ProxyError};
use crate::config::{Proxy, write_authority};

/// Bytes of the longest answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;

pub(super) async fn connect(
    stream: &mut TcpStream,
    hub: &Destination,
    proxy: &Proxy,
) -> Result<(), ProxyError> {
    let authorization = proxy.username.as_ref().map(|username| {
        let password = proxy.password.as_ref().map_or("", |it| it.as_str());
        let credentials = STANDARD.encode(format!("{username}:{password}"));
        format!("Proxy-Authorization: Basic {credentials}\r\n")
    });
    let authorization = authorization.unwrap_or_default();
    let request = format!("CONNECT {hub} HTTP/1.1\r\nHost: {hub}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    match status(&read_answer(stream).await?) {
        Some(200..=299) => Ok(()),
        Some(407) if proxy.username.is_none() => {
            Err(refused("wants `username` and `password` (407)"))
        }
        Some(407) => Err(refused("refuses `username` and `password` (407)")),
        Some(403) => Err(refused(&format!(
            "does not let anybody connect to {hub} (403)"
        ))),
        Some(status) => Err(refused(&format!("answers {status} when asked for {hub}"))),
        None => Err(refused("does not speak HTTP")),
    }
}

fn refused(what: &str) -> ProxyError {
    ProxyError::Refused(format!("the proxy {what}"))
}

/// Reads to the end of the header, and not a byte farther: those are the hub's.
async fn read_answer(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER_BYTES_MAX {
            return Err(refused("answers with more than 16 KiB"));
        }
        answer.push(stream.read_u8().await?);
    }
    Ok(answer)
}

fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let mut words = rest.split(|byte| *byte == b' ' || *byte == b'\r');
    str::from_utf8(words.nth(1)?).ok()?.parse().ok()
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_authority(formatter, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found() {
        let table: [(&[u8], Option<u16>); 6] = [
            (b"HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            (b"HTTP/1.0 407\r\n\r\n", Some(407)),
            (b"HTTP/1.1 2oo OK\r\n\r\n", None),
            (b"HTTP/2 200\r\n\r\n", None),
            (b"SSH-2.0\r\n\r\n", None),
            (b"\r\n\r\n", None),
        ];
        for (answer, expected) in table {
            assert_eq!(status(answer), expected);
        }
    }
}
