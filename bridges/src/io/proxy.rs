//! TCP connections through a proxy.

mod http;
mod socks5;

use tokio::net::TcpStream;

use super::address::{first, resolve};
use super::deadline::Deadline;
use super::reason::reason;
use super::{ConnectError, Phase, tcp};
use crate::config::{Endpoint, Proxy, ProxyProtocol, Tcp};

/// What a proxy is asked to connect to.
#[derive(Clone, Debug)]
struct Destination {
    /// A name or an IP address, that of IPv6 without brackets.
    host: String,
    port: u16,
}

/// Why a proxy does not serve.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("{}", reason(.0))]
    Connection(#[from] std::io::Error),
    #[error("{0}")]
    Refused(String),
}

/// Connects to a hub through a proxy.
pub(super) async fn connect(
    endpoint: &Endpoint,
    proxy: &Proxy,
    options: &Tcp,
    deadline: Deadline,
) -> Result<TcpStream, ConnectError> {
    match proxy.url.protocol {
        ProxyProtocol::Http | ProxyProtocol::Socks5h => {
            let hub = Destination {
                host: endpoint.host.clone(),
                port: endpoint.port,
            };
            tunnel(&hub, proxy, options, deadline).await
        }
        ProxyProtocol::Socks5 => {
            let addresses = resolve(&endpoint.host, endpoint.port, deadline).await?;
            first(addresses, Phase::Proxy, deadline, |address, share| {
                let hub = Destination {
                    host: address.ip().to_string(),
                    port: address.port(),
                };
                Box::pin(async move { tunnel(&hub, proxy, options, share).await })
            })
            .await
        }
    }
}

async fn tunnel(
    hub: &Destination,
    proxy: &Proxy,
    options: &Tcp,
    deadline: Deadline,
) -> Result<TcpStream, ConnectError> {
    let url = &proxy.url;
    let mut stream = tcp::connect(&url.host, url.port, options, deadline)
        .await
        .map_err(|error| ConnectError::new(Phase::Proxy, format!("{url}: {error}")))?;
    let negotiation = async {
        let result = match url.protocol {
            ProxyProtocol::Http => http::connect(&mut stream, hub, proxy).await,
            ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => {
                socks5::connect(&mut stream, hub, proxy).await
            }
        };
        result.map_err(|error| ConnectError::new(Phase::Proxy, format!("{url}: {error}")))
    };
    deadline.within(Phase::Proxy, negotiation).await?;
    Ok(stream)
}
