//! The sockets. The only file that knows the `ZeroMQ` library.

use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use gateway::check_host;
use omq::endpoint::Host;
use omq::options::{KeepAlive, ReconnectPolicy};
use omq::{DisconnectReason, MonitorEvent, MonitorRecvError, MonitorStream};
use omq::{Endpoint, Error, IpcPath, Message, Options, Socket, SocketType};
use tokio::time::{Instant, sleep};

/// The frames of one message.
pub type Frames = Vec<Bytes>;

/// How long queued messages may keep a dropped socket open.
const LINGER: Duration = Duration::from_millis(500);
/// How long binding waits for an endpoint to become free: a predecessor lingers.
const BIND_PATIENCE: Duration = Duration::from_millis(1000);
const BIND_PAUSE: Duration = Duration::from_millis(20);
const RECONNECT: ReconnectPolicy = ReconnectPolicy::Exponential {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
};
/// A peer without power says nothing; it is given up after 60 s.
const KEEP_ALIVE: KeepAlive = KeepAlive::Enabled {
    idle: Duration::from_secs(30),
    intvl: Duration::from_secs(10),
    cnt: 3,
};
/// Smaller frames are copied, lest a retained message hold on to a whole read buffer.
const COPIED_BYTES_MAX: usize = 64 * 1024;

/// What the library could not do.
#[derive(Debug, thiserror::Error)]
pub enum IoError {
    /// Another process has the endpoint, or it does not belong to this machine.
    #[error("cannot bind {endpoint}: {cause}")]
    Bind {
        /// The endpoint as it was given.
        endpoint: String,
        /// What the system says.
        cause: String,
    },
    /// The endpoint cannot be connected to, now or later.
    #[error("cannot connect to {endpoint}: {cause}")]
    Connect {
        /// The endpoint as it was given.
        endpoint: String,
        /// What the library or the peer says.
        cause: String,
    },
    /// The socket does not work any more.
    #[error("the ZeroMQ library failed: {0}")]
    Library(String),
}

/// What an endpoint is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Connect,
    Bind,
}

/// Checks an endpoint without using it; the error is the reason.
pub(crate) fn check_endpoint(text: &str, role: Role) -> Result<(), String> {
    match text.parse::<Endpoint>() {
        Ok(Endpoint::Tcp { host, port }) if role == Role::Connect => {
            if host == Host::Wildcard {
                return Err("a peer has an address, not `*`".to_owned());
            }
            if port == 0 {
                return Err("a peer has a port, not 0".to_owned());
            }
            let address = text.strip_prefix("tcp://").unwrap_or(text);
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            check_host(host).map_err(ToOwned::to_owned)
        }
        Ok(Endpoint::Tcp { .. } | Endpoint::Ipc(_)) => Ok(()),
        Ok(_) => Err("only tcp:// and ipc:// are supported".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A SUB socket. Dropping it closes it.
#[derive(Debug)]
pub struct Subscriber {
    link: Link,
}

/// A PUB socket. Dropping it closes it once queued messages are out, at most 500 ms later.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
}

impl Subscriber {
    /// Opens a SUB socket, subscribes to the prefixes, binds and connects. Connecting goes on in
    /// the background for as long as the socket lives.
    ///
    /// `high_water_mark` is the number of messages queued for each peer, `message_bytes_max` the
    /// size of message at which a peer is disconnected.
    ///
    /// # Errors
    /// An endpoint that cannot be bound within a second, or that is none.
    pub async fn open(
        connect: &[String],
        bind: &[String],
        prefixes: &[&str],
        high_water_mark: NonZeroU32,
        message_bytes_max: NonZeroU32,
    ) -> Result<Self, IoError> {
        let mut options = Options::default().recv_hwm(high_water_mark.get());
        options.max_message_size = usize::try_from(message_bytes_max.get()).ok();
        let mut link = Link::new(SocketType::Sub, options)?;
        for prefix in prefixes {
            let prefix = Bytes::copy_from_slice(prefix.as_bytes());
            link.socket.subscribe(prefix).await.map_err(library)?;
        }
        link.open(connect, bind).await?;
        Ok(Self { link })
    }

    /// Waits for messages and appends at least one, at most `count_max`. Cancel safe.
    ///
    /// # Errors
    /// The library failed; the socket is of no more use.
    pub async fn receive(
        &self,
        count_max: usize,
        messages: &mut Vec<Frames>,
    ) -> Result<(), IoError> {
        let received = self.link.socket.recv_many(count_max).await;
        messages.extend(received.map_err(library)?.iter().map(frames));
        Ok(())
    }

    /// The endpoints it is bound to, with the ports that the system chose.
    #[must_use]
    pub fn bound(&self) -> &[String] {
        &self.link.bound
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        self.link.watch()
    }
}

impl Publisher {
    /// Opens a PUB socket, binds and connects. Connecting goes on in the background for as long
    /// as the socket lives.
    ///
    /// `high_water_mark` is the number of messages queued for each slow subscriber before it
    /// loses messages.
    ///
    /// # Errors
    /// An endpoint that cannot be bound within a second, or that is none.
    pub async fn open(
        connect: &[String],
        bind: &[String],
        high_water_mark: NonZeroU32,
    ) -> Result<Self, IoError> {
        let options = Options::default().send_hwm(high_water_mark.get());
        let mut link = Link::new(SocketType::Pub, options)?;
        link.open(connect, bind).await?;
        Ok(Self { link })
    }

    /// Hands a message to the library, which sends it to the peers that subscribed to its first
    /// frame and have room for it. Does not wait for them.
    ///
    /// # Errors
    /// The library failed; the socket is of no more use.
    pub async fn send(&self, frames: Frames) -> Result<(), IoError> {
        let message = Message::multipart(frames);
        self.link.socket.send(message).await.map_err(library)
    }

    /// The endpoints it is bound to, with the ports that the system chose.
    #[must_use]
    pub fn bound(&self) -> &[String] {
        &self.link.bound
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        self.link.watch()
    }
}

/// A socket and what it is attached to.
#[derive(Debug)]
struct Link {
    socket: Socket,
    connected: Vec<Endpoint>,
    bound: Vec<String>,
}

impl Link {
    fn new(socket_type: SocketType, mut options: Options) -> Result<Self, IoError> {
        options.linger = Some(LINGER);
        options.reconnect = RECONNECT;
        options.tcp_keepalive = KEEP_ALIVE;
        let socket = Socket::try_new(socket_type, options).map_err(library)?;
        Ok(Self {
            socket,
            connected: Vec::new(),
            bound: Vec::new(),
        })
    }

    async fn open(&mut self, connect: &[String], bind: &[String]) -> Result<(), IoError> {
        for endpoint in bind {
            let bound = self.bind(endpoint).await.map_err(|error| IoError::Bind {
                endpoint: endpoint.clone(),
                cause: cause(&error),
            })?;
            self.bound.push(bound.to_string());
        }
        for endpoint in connect {
            let error = |error| IoError::Connect {
                endpoint: endpoint.clone(),
                cause: cause(&error),
            };
            let parsed: Endpoint = endpoint.parse().map_err(error)?;
            self.socket.connect(parsed.clone()).await.map_err(error)?;
            self.connected.push(parsed);
        }
        Ok(())
    }

    async fn bind(&self, text: &str) -> Result<Endpoint, Error> {
        let endpoint: Endpoint = text.parse()?;
        let deadline = Instant::now() + BIND_PATIENCE;
        loop {
            let result = match check_unoccupied(&endpoint).await {
                Ok(()) => self.socket.bind(endpoint.clone()).await,
                Err(error) => Err(error.into()),
            };
            match result {
                Err(Error::Io(error))
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
                {
                    sleep(BIND_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            link: self,
            monitor: self.socket.monitor(),
            seen: 0,
        }
    }
}

/// Follows whether the peers that a socket connects to are there.
#[derive(Debug)]
pub(crate) struct Watch<'s> {
    link: &'s Link,
    monitor: MonitorStream,
    seen: u64,
}

impl Watch<'_> {
    /// An endpoint that is not connected now, if there is one.
    pub(crate) async fn missing(&mut self) -> Result<Option<String>, IoError> {
        // Taken before the snapshot, so that a change in between is seen as one.
        let seen = self.link.socket.connections_generation();
        let connections = self.link.socket.connections().await.map_err(library)?;
        self.seen = seen;
        let is_missing = |endpoint: &&Endpoint| {
            let mut present = connections.iter().map(|connection| &connection.endpoint);
            !present.any(|present| present == *endpoint)
        };
        let missing = self.link.connected.iter().find(is_missing);
        Ok(missing.map(ToString::to_string))
    }

    /// Waits until [`Watch::missing`] may say something else, or a peer is disconnected because
    /// of an error; then says which. Cancel safe.
    pub(crate) async fn changed(&mut self) -> Result<Option<String>, IoError> {
        tokio::select! {
            changed = self.link.socket.connections_changed(self.seen) => {
                changed.map(|_| None).map_err(library)
            }
            error = disconnection(&mut self.monitor) => error.map(Some),
        }
    }
}

/// Waits until a peer is disconnected because of an error, such as a message that is too large.
/// Fails if a peer refuses the socket for good, after which the library does not try again.
async fn disconnection(monitor: &mut MonitorStream) -> Result<String, IoError> {
    loop {
        match monitor.recv().await {
            Ok(MonitorEvent::Disconnected {
                endpoint,
                reason: DisconnectReason::Error(cause),
                ..
            }) => return Ok(format!("{endpoint}: {cause}")),
            Ok(MonitorEvent::ConnectStopped { endpoint, reason }) => {
                let (endpoint, cause) = (endpoint.to_string(), format!("{reason:?}"));
                return Err(IoError::Connect { endpoint, cause });
            }
            Ok(_) | Err(MonitorRecvError::Lagged(_)) => {}
            Err(_) => return Err(library(Error::Closed)),
        }
    }
}

/// Fails if something else is at the path of an ipc endpoint: the library would take its place,
/// be it a live peer's socket or a file.
async fn check_unoccupied(endpoint: &Endpoint) -> io::Result<()> {
    let Endpoint::Ipc(IpcPath::Filesystem(path)) = endpoint else {
        return Ok(());
    };
    let path: &Path = path.as_ref();
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            match tokio::net::UnixStream::connect(path).await {
                Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
                Err(_) => Ok(()),
            }
        }
        Ok(_) => Err(io::Error::other("there is a file that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn frames(message: &Message) -> Frames {
    let frame = |index| match message.part_slice(index) {
        Some(part) if part.len() <= COPIED_BYTES_MAX => Bytes::copy_from_slice(part),
        _ => message.part_bytes(index).unwrap_or_default(),
    };
    (0..message.len()).map(frame).collect()
}

fn library(error: Error) -> IoError {
    IoError::Library(cause(&error))
}

/// The reason without the library's own "io error" before it.
fn cause(error: &Error) -> String {
    if let Error::Io(system) = error {
        return system.to_string();
    }
    error.to_string()
}
