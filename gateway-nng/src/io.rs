//! The sockets. The only file that knows the NNG library.
//!
//! The library calls back on threads of its own. A callback must neither block nor panic: it puts
//! what it was given where a future finds it, and returns.

use std::collections::VecDeque;
use std::io;
use std::num::{NonZeroU16, NonZeroU32};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gateway::check_host;
use nng::options::protocol::pubsub::Subscribe;
use nng::options::transport::tcp::KeepAlive;
use nng::options::{LocalAddr, Options as _, ReconnectMaxTime, ReconnectMinTime};
use nng::options::{RecvBufferSize, RecvMaxSize, SendBufferSize};
use nng::{Aio, AioResult, Dialer, Error, Listener, Message, Pipe, PipeEvent, Protocol};
use nng::{Socket, SocketAddr};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long listening waits for an endpoint to become free: a predecessor may still be closing.
const LISTEN_PATIENCE: Duration = Duration::from_millis(1000);
const LISTEN_PAUSE: Duration = Duration::from_millis(20);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// What the library could not do.
#[derive(Debug, thiserror::Error)]
pub enum IoError {
    /// Another process has the endpoint, or it does not belong to this machine.
    #[error("cannot listen at {endpoint}: {cause}")]
    Listen {
        /// The endpoint as it was given.
        endpoint: String,
        /// What the system says.
        cause: String,
    },
    /// The endpoint cannot be dialled, now or later.
    #[error("cannot dial {endpoint}: {cause}")]
    Dial {
        /// The endpoint as it was given.
        endpoint: String,
        /// What the library says.
        cause: String,
    },
    /// The socket does not work any more.
    #[error("the NNG library failed: {0}")]
    Library(String),
}

/// What an endpoint is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dial,
    Listen,
}

/// Checks an endpoint without using it; the error is the reason.
pub(crate) fn check_endpoint(text: &str, role: Role) -> Result<(), &'static str> {
    if let Some(path) = text.strip_prefix("ipc://") {
        return if path.is_empty() {
            Err("there is no path")
        } else {
            Ok(())
        };
    }
    let address = text
        .strip_prefix("tcp://")
        .ok_or("only tcp:// and ipc:// are supported")?;
    let (host, port) = address.rsplit_once(':').ok_or("there is no port")?;
    let port: u16 = port.parse().map_err(|_| "the port is no number")?;
    match role {
        Role::Listen if matches!(host, "" | "*") => Ok(()),
        Role::Dial if matches!(host, "" | "*") => Err("a peer has an address"),
        Role::Dial if port == 0 => Err("a peer has a port, not 0"),
        Role::Dial | Role::Listen => check_host(host),
    }
}

/// A sub0 socket. Dropping it closes it.
#[derive(Debug)]
pub struct Subscriber {
    link: Link,
    inbox: Arc<Inbox>,
    /// Always receiving, except while the inbox is full.
    aio: Aio,
}

/// A pub0 socket. Dropping it closes it and loses what is still queued.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
}

impl Subscriber {
    /// Opens a sub0 socket, subscribes to the prefixes, listens and dials. Dialling goes on in
    /// the background for as long as the socket lives.
    ///
    /// `buffer_messages` is the number of messages queued in the library, at most 8192, and
    /// again here; `message_bytes_max` the size above which a peer is disconnected.
    ///
    /// # Errors
    /// An endpoint that cannot be listened at within a second, or that is none.
    pub async fn open(
        dial: &[String],
        listen: &[String],
        prefixes: &[&str],
        buffer_messages: NonZeroU16,
        message_bytes_max: NonZeroU32,
    ) -> Result<Self, IoError> {
        let link = Link::new(Protocol::Sub0)?;
        let socket = &link.socket;
        let buffer = i32::from(buffer_messages.get());
        socket.set_opt::<RecvBufferSize>(buffer).map_err(library)?;
        let bytes_max = usize::try_from(message_bytes_max.get()).unwrap_or(usize::MAX);
        socket.set_opt::<RecvMaxSize>(bytes_max).map_err(library)?;
        for prefix in prefixes {
            let prefix = prefix.as_bytes().to_vec();
            socket.set_opt::<Subscribe>(prefix).map_err(library)?;
        }
        let inbox = Arc::new(Inbox::new(usize::from(buffer_messages.get())));
        let aio = receiving(socket, &inbox)?;
        // Whole before anything can arrive or this future be dropped: its drop is what ends the
        // callbacks safely.
        let mut subscriber = Self { link, inbox, aio };
        subscriber.link.open(dial, listen).await?;
        Ok(subscriber)
    }

    /// Waits for messages and appends at least one, at most `count_max`. Cancel safe.
    ///
    /// # Errors
    /// The library failed; the socket is of no more use.
    pub async fn receive(
        &self,
        count_max: usize,
        messages: &mut Vec<Bytes>,
    ) -> Result<(), IoError> {
        let mut received = Vec::new();
        loop {
            if self.inbox.take(count_max, &mut received)? {
                self.link.socket.recv_async(&self.aio).map_err(library)?;
            }
            if !received.is_empty() {
                // Copied outside the lock, and so that the library's spare room is not kept.
                let copy = |message: &Message| Bytes::copy_from_slice(message.as_slice());
                messages.extend(received.iter().map(copy));
                return Ok(());
            }
            self.inbox.arrived.notified().await;
        }
    }

    /// The endpoints it listens at, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> &[String] {
        &self.link.listening
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { link: &self.link }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // If the last handle of an `Aio` goes away inside its callback, that callback waits for
        // itself. A closed socket starts no more callbacks; then the running one is awaited.
        self.link.socket.close();
        self.aio.wait();
    }
}

impl Publisher {
    /// Opens a pub0 socket, listens and dials. Dialling goes on in the background for as long as
    /// the socket lives.
    ///
    /// `buffer_messages` is the number of messages queued for each slow subscriber before it
    /// loses the oldest, at most 8192.
    ///
    /// # Errors
    /// An endpoint that cannot be listened at within a second, or that is none.
    pub async fn open(
        dial: &[String],
        listen: &[String],
        buffer_messages: NonZeroU16,
    ) -> Result<Self, IoError> {
        let mut link = Link::new(Protocol::Pub0)?;
        let buffer = i32::from(buffer_messages.get());
        let socket = &link.socket;
        socket.set_opt::<SendBufferSize>(buffer).map_err(library)?;
        link.open(dial, listen).await?;
        Ok(Self { link })
    }

    /// Hands a message to the library, which sends it to every peer; they filter. Does not wait
    /// for them.
    ///
    /// # Errors
    /// The library failed; the socket is of no more use.
    pub fn send(&self, message: &[u8]) -> Result<(), IoError> {
        let sent = self.link.socket.try_send(message);
        sent.map_err(|(_message, error)| library(error))
    }

    /// The endpoints it listens at, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> &[String] {
        &self.link.listening
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { link: &self.link }
    }
}

/// Messages between the library's thread and the future that wants them.
#[derive(Debug)]
struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    messages_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// The callback did not ask for another message, because there was no room for it.
    is_paused: bool,
    failure: Option<Error>,
}

impl Inbox {
    fn new(messages_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            messages_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; true if there is room for one more.
    fn put(&self, message: Message) -> bool {
        let mut waiting = self.lock();
        waiting.messages.push_back(message);
        waiting.is_paused = waiting.messages.len() >= self.messages_max;
        let has_room = !waiting.is_paused;
        drop(waiting);
        self.arrived.notify_one();
        has_room
    }

    fn fail(&self, error: Error) {
        self.lock().failure = Some(error);
        self.arrived.notify_one();
    }

    /// Takes up to `count_max` messages; true if receiving must be resumed.
    fn take(&self, count_max: usize, messages: &mut Vec<Message>) -> Result<bool, IoError> {
        let mut waiting = self.lock();
        let count = waiting.messages.len().min(count_max);
        messages.extend(waiting.messages.drain(..count));
        if count == 0
            && let Some(error) = waiting.failure
        {
            return Err(library(error));
        }
        let is_resumed = waiting.is_paused && waiting.messages.len() <= self.messages_max / 2;
        waiting.is_paused &= !is_resumed;
        Ok(is_resumed)
    }
}

/// Starts to receive from the socket into the inbox, one message after the other.
fn receiving(socket: &Socket, inbox: &Arc<Inbox>) -> Result<Aio, IoError> {
    let (source, target) = (socket.clone(), Arc::clone(inbox));
    let aio = Aio::new(move |aio, result| match result {
        AioResult::Recv(Ok(message)) => {
            if target.put(message)
                && let Err(error) = source.recv_async(&aio)
            {
                target.fail(error);
            }
        }
        AioResult::Recv(Err(error)) => target.fail(error),
        AioResult::Send(_) | AioResult::Sleep(_) => {}
    });
    let aio = aio.map_err(library)?;
    socket.recv_async(&aio).map_err(library)?;
    Ok(aio)
}

/// A socket and what it is attached to.
#[derive(Debug)]
struct Link {
    socket: Socket,
    peers: Arc<Peers>,
    dialled: Vec<(String, Dialer)>,
    listening: Vec<String>,
}

/// The connections that dialling made.
#[derive(Debug, Default)]
struct Peers {
    pipes: Mutex<Vec<(Pipe, Dialer)>>,
    changed: Notify,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, Vec<(Pipe, Dialer)>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, pipe: Pipe, event: PipeEvent) {
        match event {
            // Asked now: a pipe that is gone does not know its dialer any more.
            PipeEvent::AddPost => self
                .lock()
                .extend(pipe.dialer().map(|dialer| (pipe, dialer))),
            PipeEvent::RemovePost => self.lock().retain(|(known, _)| *known != pipe),
            PipeEvent::AddPre | PipeEvent::Unknown(_) => return,
        }
        self.changed.notify_one();
    }
}

impl Link {
    fn new(protocol: Protocol) -> Result<Self, IoError> {
        let socket = Socket::new(protocol).map_err(library)?;
        let set = socket.set_opt::<ReconnectMinTime>(Some(RECONNECT_MIN));
        set.map_err(library)?;
        let set = socket.set_opt::<ReconnectMaxTime>(Some(RECONNECT_MAX));
        set.map_err(library)?;
        socket.set_opt::<KeepAlive>(true).map_err(library)?;
        let peers = Arc::<Peers>::default();
        let recorder = Arc::clone(&peers);
        let notified = socket.pipe_notify(move |pipe, event| recorder.record(pipe, event));
        notified.map_err(library)?;
        Ok(Self {
            socket,
            peers,
            dialled: Vec::new(),
            listening: Vec::new(),
        })
    }

    async fn open(&mut self, dial: &[String], listen: &[String]) -> Result<(), IoError> {
        for endpoint in listen {
            let listener = self.listen(endpoint).await?;
            self.listening.push(actual(endpoint, listener));
        }
        for endpoint in dial {
            let dialer =
                Dialer::new(&self.socket, endpoint, true).map_err(|error| IoError::Dial {
                    endpoint: endpoint.clone(),
                    cause: error.to_string(),
                })?;
            self.dialled.push((endpoint.clone(), dialer));
        }
        Ok(())
    }

    async fn listen(&self, endpoint: &str) -> Result<Listener, IoError> {
        let error = |cause: String| IoError::Listen {
            endpoint: endpoint.to_owned(),
            cause,
        };
        check_replaceable(endpoint).map_err(|cause| error(cause.to_string()))?;
        let deadline = Instant::now() + LISTEN_PATIENCE;
        loop {
            match Listener::new(&self.socket, endpoint) {
                Err(Error::AddressInUse) if Instant::now() < deadline => {
                    sleep(LISTEN_PAUSE).await;
                }
                result => return result.map_err(|cause| error(cause.to_string())),
            }
        }
    }
}

/// Follows whether the peers that a socket dials are there.
#[derive(Debug)]
pub(crate) struct Watch<'s> {
    link: &'s Link,
}

impl Watch<'_> {
    /// An endpoint that is not connected now, if there is one.
    pub(crate) fn missing(&self) -> Option<String> {
        let pipes = self.link.peers.lock();
        let is_missing =
            |dialled: &&(String, Dialer)| pipes.iter().all(|(_, dialer)| *dialer != dialled.1);
        let missing = self.link.dialled.iter().find(is_missing);
        missing.map(|(endpoint, _)| endpoint.clone())
    }

    /// Waits until [`Watch::missing`] may say something else. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.link.peers.changed.notified().await;
    }
}

/// Fails if a file that is no socket is at the path of an ipc endpoint: the library would take it
/// for the remains of a crashed process and delete it.
fn check_replaceable(endpoint: &str) -> io::Result<()> {
    let Some(path) = endpoint.strip_prefix("ipc://") else {
        return Ok(());
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(()),
        Ok(_) => Err(io::Error::other("there is a file that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The endpoint of a listener with the port that the system chose.
fn actual(endpoint: &str, listener: Listener) -> String {
    // The binding hands out ports in network byte order.
    match listener.get_opt::<LocalAddr>() {
        Ok(SocketAddr::Inet(address)) => {
            format!("tcp://{}:{}", address.ip(), u16::from_be(address.port()))
        }
        Ok(SocketAddr::Inet6(address)) => {
            format!("tcp://[{}]:{}", address.ip(), u16::from_be(address.port()))
        }
        _ => endpoint.to_owned(),
    }
}

fn library(error: Error) -> IoError {
    IoError::Library(error.to_string())
}
