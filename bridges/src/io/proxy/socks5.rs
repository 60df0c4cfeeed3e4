//! SOCKS 5 (RFC 1928), with a user name and password (RFC 1929) where they are configured.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Destination, ProxyError};
use crate::config::Proxy;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const USERNAME_PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What the answers other than 0 mean, from 1 on.
const REFUSALS: [&str; 8] = [
    "has a general failure",
    "is not allowed to",
    "finds the network unreachable",
    "finds the host unreachable",
    "finds the connection refused",
    "waited too long",
    "does not know the command",
    "does not know such addresses",
];

pub(super) async fn connect(
    stream: &mut TcpStream,
    hub: &Destination,
    proxy: &Proxy,
) -> Result<(), ProxyError> {
    let methods: &[u8] = match proxy.username {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(methods).await?;
    match (read::<2>(stream).await?, &proxy.username) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, USERNAME_PASSWORD], Some(username)) => {
            let password = proxy.password.as_ref().map_or("", |it| it.as_str());
            authenticate(stream, username, password).await?;
        }
        ([VERSION, _], None) => return Err(refused("wants `username` and `password`")),
        ([VERSION, _], Some(_)) => return Err(refused("accepts no password")),
        _ => return Err(refused("does not speak SOCKS 5")),
    }
    let mut request = vec![VERSION, CONNECT, RESERVED];
    put_address(&mut request, &hub.host)?;
    request.extend(hub.port.to_be_bytes());
    stream.write_all(&request).await?;
    let [_, code, _, kind] = read(stream).await?;
    if code != 0 {
        let refusal = REFUSALS.get(usize::from(code) - 1);
        let refusal = refusal.unwrap_or(&"refuses for a reason that is not known");
        return Err(refused(&format!("{refusal} ({code}), asked for {hub}")));
    }
    skip_address(stream, kind).await
}

async fn authenticate(
    stream: &mut TcpStream,
    username: &str,
    password: &str,
) -> Result<(), ProxyError> {
    let mut request = vec![USERNAME_PASSWORD_VERSION];
    put_text(&mut request, username)?;
    put_text(&mut request, password)?;
    stream.write_all(&request).await?;
    match read(stream).await? {
        [_, 0] => Ok(()),
        [_, _] => Err(refused("refuses `username` and `password`")),
    }
}

fn put_address(request: &mut Vec<u8>, host: &str) -> Result<(), ProxyError> {
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(NAME);
            put_text(request, host)?;
        }
    }
    Ok(())
}

fn put_text(request: &mut Vec<u8>, text: &str) -> Result<(), ProxyError> {
    let length = u8::try_from(text.len());
    let length = length.map_err(|_| refused("takes no texts of more than 255 bytes"))?;
    request.push(length);
    request.extend(text.as_bytes());
    Ok(())
}

/// Skips the address that the proxy connects from.
async fn skip_address(stream: &mut TcpStream, kind: u8) -> Result<(), ProxyError> {
    const PORT: usize = 2;
    let address = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(refused("does not speak SOCKS 5")),
    };
    let mut skipped = vec![0; address + PORT];
    stream.read_exact(&mut skipped).await?;
    Ok(())
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn refused(what: &str) -> ProxyError {
    ProxyError::Refused(format!("the proxy {what}"))
}
