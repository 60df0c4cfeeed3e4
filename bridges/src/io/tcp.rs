//! TCP sockets, set up as configured.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::address::{first, resolve};
use super::deadline::Deadline;
use super::{ConnectError, Phase};
use crate::config::Tcp;

/// Connects to the first address of a host that accepts.
pub(super) async fn connect(
    host: &str,
    port: u16,
    options: &Tcp,
    deadline: Deadline,
) -> Result<TcpStream, ConnectError> {
    let addresses = resolve(host, port, deadline).await?;
    first(addresses, Phase::Tcp, deadline, |address, _| {
        Box::pin(async move {
            let opened = open(address, options).await;
            opened.map_err(|error| ConnectError::new(Phase::Tcp, error))
        })
    })
    .await
}

async fn open(address: SocketAddr, options: &Tcp) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    set_up(&socket, options)?;
    TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await
}

fn set_up(socket: &Socket, options: &Tcp) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    if options.keepalive {
        let keepalive = TcpKeepalive::new()
            .with_time(options.keepidle.0)
            .with_interval(options.keepintvl.0)
            .with_retries(options.keepcnt);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    let user_timeout = options.user_timeout.0;
    if !user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(user_timeout))?;
    }
    bind_interface(socket, options)
}

/// Keeps a socket to the configured network interface.
pub(super) fn bind_interface(socket: &Socket, options: &Tcp) -> io::Result<()> {
    let Some(interface) = &options.bind_interface else {
        return Ok(());
    };
    socket
        .bind_device(Some(interface.as_bytes()))
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("the interface `{interface}` cannot be used: {error}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway::ConfiguredDuration;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_has_what_is_configured() {
        let options = Tcp {
            nodelay: false,
            keepidle: ConfiguredDuration::from_secs(61),
            keepintvl: ConfiguredDuration::from_secs(7),
            keepcnt: 5,
            user_timeout: ConfiguredDuration::from_millis(12_345),
            ..Tcp::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open(listener.local_addr().unwrap(), &options)
            .await
            .unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(61)
        );
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(7)
        );
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_millis(12_345))
        );
    }

    #[tokio::test]
    async fn an_interface_that_does_not_exist_is_named() {
        let options = Tcp {
            bind_interface: Some("none0".to_owned()),
            ..Tcp::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = open(listener.local_addr().unwrap(), &options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("`none0`"), "{error}");
    }
}
