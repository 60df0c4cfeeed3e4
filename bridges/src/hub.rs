//! The connection to a hub: packets in and out, over any stream of bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use mqtt::connection::{
    ClientAnswer, ClientConnection, ClientHandshake, ClientOptions, OversizedPublish,
};
use mqtt::packet::{Disconnect, Frame};
use mqtt::{ProtocolViolation, ReasonCode};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config::Endpoint;
use crate::dialect::Heard;
use crate::io::{ConnectError, Stream, TransportOptions, connect, reason};
use crate::refusal;
use crate::suspicion::End;

/// Bytes that one read may bring.
const READ_BYTES: usize = 64 << 10;
/// Bytes that wait to be written above which nothing more is made.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// A hub that has accepted the bridge.
pub(crate) struct Hub {
    stream: Stream,
    pub(crate) connection: Box<ClientConnection>,
    /// The hub knows the bridge from before.
    pub(crate) session_present: bool,
    /// What came and is not handled.
    input: BytesMut,
    /// Bytes of the largest packet that may come.
    packet_bytes_max: usize,
    /// What is to be written, and how much of it is.
    pub(crate) output: Vec<u8>,
    written: usize,
    /// Bytes of the outputs before this one, and how many of all are counted.
    sent: u64,
    counted: u64,
    /// Something was written and not flushed.
    is_unflushed: bool,
    /// The DISCONNECT is made.
    has_ended: bool,
}

/// Why a hub cannot be served, or not any longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// `is_worth_falling_back` as in [`mqtt::connection::ClientRefusal`].
    #[error("the hub refused the connection: {reason}")]
    Refused {
        reason: String,
        is_worth_falling_back: bool,
    },
    #[error("the hub closed the connection without an answer to CONNECT")]
    Unanswered,
    #[error("the hub did not answer CONNECT in time")]
    ConnectTimeout,
    #[error("the hub did not answer PINGREQ in time")]
    Silent,
    #[error("the hub answers PINGREQ, and acknowledges nothing")]
    Stalled,
    #[error("the hub broke the protocol: {0}")]
    Violation(#[from] ProtocolViolation),
    #[error("the hub ended the connection: {text}")]
    Disconnected { reason: ReasonCode, text: String },
    #[error("the hub closed the connection")]
    Closed,
    #[error("{}", reason(.0))]
    Io(#[from] io::Error),
}

impl HubError {
    /// The hub has sent this.
    pub(crate) fn disconnected(disconnect: &Disconnect<'_>) -> Self {
        let (reason, properties) = (disconnect.reason, disconnect.properties);
        let text = describe(reason, properties.reason_string());
        Self::Disconnected {
            reason,
            text: referring(text, properties.server_reference()),
        }
    }

    /// True if the hub has closed the connection without a word.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Closed) || matches!(self, Self::Io(error) if is_closed(error))
    }

    /// How the connection ended, if not on our side.
    pub(crate) fn end(&self) -> Option<End> {
        match self {
            Self::Closed => Some(End::Closed),
            Self::Disconnected { reason, .. } => {
                let is_about_messages = !matches!(
                    reason,
                    ReasonCode::Success
                        | ReasonCode::ServerBusy
                        | ReasonCode::ServerShuttingDown
                        | ReasonCode::KeepAliveTimeout
                        | ReasonCode::SessionTakenOver
                        | ReasonCode::MessageRateTooHigh
                        | ReasonCode::AdministrativeAction
                        | ReasonCode::UseAnotherServer
                        | ReasonCode::ServerMoved
                        | ReasonCode::ConnectionRateExceeded
                        | ReasonCode::MaximumConnectTime
                );
                is_about_messages.then_some(End::Closed)
            }
            // The system resets a connection that is closed before everything was read, as that of
            // a message which is too large.
            Self::Io(error) if is_closed(error) => Some(End::Closed),
            Self::Io(_) | Self::Silent | Self::Stalled => Some(End::Lost),
            Self::Connect(_)
            | Self::Refused { .. }
            | Self::Unanswered
            | Self::ConnectTimeout
            | Self::Violation(_) => None,
        }
    }

    /// What a failure to connect says of the version.
    pub(crate) const fn heard(&self) -> Heard {
        match self {
            Self::Refused {
                is_worth_falling_back: true,
                ..
            } => Heard::OtherVersion,
            Self::Refused { .. } => Heard::Answer,
            Self::Unanswered => Heard::Silence,
            Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Silent
            | Self::Stalled
            | Self::Violation(_)
            | Self::Disconnected { .. }
            | Self::Closed
            | Self::Io(_) => Heard::Nothing,
        }
    }
}

/// True if the other side has closed the connection, whether or not it had read everything.
fn is_closed(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
    ];
    kinds.contains(&error.kind())
}

/// The same, with the key of the limit that it exceeds.
fn named(violation: ProtocolViolation) -> ProtocolViolation {
    if violation.reason != ReasonCode::PacketTooLarge {
        return violation;
    }
    let detail = "a packet is larger than `max_packet_size` of the bridge";
    ProtocolViolation::new(violation.reason, detail)
}

impl Hub {
    /// Connects and waits for the hub to accept, for as long as the transport may take. CONNECT is
    /// sent once `ready` is over.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        transport: &TransportOptions,
        options: &ClientOptions,
        ready: impl Future<Output = ()>,
    ) -> Result<Self, HubError> {
        let connect = async {
            let stream = connect(endpoint, transport).await?;
            ready.await;
            Self::accepted(stream, options, transport.has_certificate()).await
        };
        tokio::time::timeout(transport.connect_timeout, connect)
            .await
            .map_err(|_| HubError::ConnectTimeout)?
    }

    async fn accepted(
        mut stream: Stream,
        options: &ClientOptions,
        has_certificate: bool,
    ) -> Result<Self, HubError> {
        let mut output = Vec::new();
        let handshake = ClientHandshake::new(options, &mut output)?;
        stream.write_all(&output).await?;
        stream.flush().await?;
        let sent = output.len() as u64;
        output.clear();
        let packet_bytes_max = options.packet_bytes_max as usize;
        let mut input = BytesMut::new();
        let length = loop {
            if let Some((_, length)) = Frame::split(&input, packet_bytes_max)? {
                break length;
            }
            input.reserve(READ_BYTES);
            match stream.read_buf(&mut input).await {
                Ok(1..) => {}
                Ok(0) => return Err(HubError::Unanswered),
                Err(error) if is_closed(&error) => return Err(HubError::Unanswered),
                Err(error) => return Err(error.into()),
            }
        };
        let first = input.split_to(length);
        let Some((frame, _)) = Frame::split(&first, packet_bytes_max)? else {
            return Err(HubError::Closed);
        };
        match handshake.handle(frame)? {
            ClientAnswer::Accepted {
                connection,
                session_present,
            } => Ok(Self {
                stream,
                connection,
                session_present,
                input,
                packet_bytes_max,
                output,
                written: 0,
                sent,
                counted: 0,
                is_unflushed: false,
                has_ended: false,
            }),
            ClientAnswer::Refused(refusal) => Err(HubError::Refused {
                is_worth_falling_back: refusal.is_worth_falling_back,
                reason: refusal::explain(&refusal, options, has_certificate),
            }),
        }
    }

    /// Takes out what has come, for [`Frame::split`]; the rest is given back with
    /// [`Hub::put_back`].
    pub(crate) fn take_input(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }

    /// Gives back what [`Hub::take_input`] took, of which so many bytes were handled.
    pub(crate) fn put_back(&mut self, mut input: BytesMut, handled: usize) {
        input.advance(handled);
        self.input = input;
    }

    /// The packet at the front of `bytes` and its length, if it is complete.
    pub(crate) fn split<'b>(
        &self,
        bytes: &'b [u8],
    ) -> Result<Option<(Frame<'b>, usize)>, ProtocolViolation> {
        Frame::split(bytes, self.packet_bytes_max).map_err(named)
    }

    /// What is known of the PUBLISH at the front of `bytes`, for which [`Hub::split`] says that it is
    /// too large; none if more has to come. It is an error if the hub was told.
    pub(crate) fn oversized<'b>(
        &self,
        bytes: &'b [u8],
    ) -> Result<Option<OversizedPublish<'b>>, ProtocolViolation> {
        self.connection.oversized(bytes).map_err(named)
    }

    /// Reads once; ready when something came.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        self.input.reserve(READ_BYTES);
        let read = pin!(self.stream.read_buf(&mut self.input));
        if ready!(read.poll(context))? == 0 {
            return Poll::Ready(Err(HubError::Closed));
        }
        Poll::Ready(Ok(()))
    }

    /// True while more may be put into the output.
    pub(crate) const fn has_room(&self) -> bool {
        self.output.len() - self.written < OUTPUT_BYTES_MAX
    }

    /// Bytes of packets that were made for the hub.
    pub(crate) const fn made(&self) -> u64 {
        self.sent + self.output.len() as u64
    }

    /// Bytes of packets that were made for the hub since this was asked last.
    pub(crate) fn take_count(&mut self) -> u64 {
        let made = self.made();
        made - std::mem::replace(&mut self.counted, made)
    }

    /// Writes what can be written now; ready when that is everything.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            let bytes = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if bytes == 0 {
                return Poll::Ready(Err(HubError::Closed));
            }
            self.written += bytes;
            self.is_unflushed = true;
        }
        self.sent += self.output.len() as u64;
        self.output.clear();
        self.written = 0;
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Hub {
    /// Tells the hub why the connection ends, as far as that can be done at once.
    pub(crate) fn say_goodbye(&mut self, reason: ReasonCode, text: Option<&str>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let output = &mut self.output;
        self.connection.encode_disconnect(reason, text, output);
        let mut context = Context::from_waker(Waker::noop());
        // Nobody is left to hear of an error.
        let _written = self.poll_write(&mut context);
    }
}

impl Hub {
    /// Writes what is to be written and DISCONNECT, and waits until the hub has closed the
    /// connection. If something came behind the end of it, the system would reset it, and the hub
    /// might lose what is under way.
    pub(crate) async fn end(&mut self) {
        self.say_goodbye(ReasonCode::Success, None);
        if poll_fn(|context| self.poll_write(context)).await.is_err() {
            return;
        }
        while poll_fn(|context| self.poll_read(context)).await.is_ok() {
            self.input.clear();
        }
    }
}

/// The bridge is dropped or goes to another hub: it says so as far as that can be done at once, or
/// the hub would publish its will.
impl Drop for Hub {
    fn drop(&mut self) {
        self.say_goodbye(ReasonCode::Success, None);
    }
}

/// A text with the server that the hub names, if it names one.
fn referring(text: String, server: Option<&str>) -> String {
    match server {
        Some(server) => format!("{text}; it names {server} to be used instead"),
        None => text,
    }
}

/// A Reason Code with what the hub has to say of it.
pub(crate) fn describe(reason: ReasonCode, reason_string: Option<&str>) -> String {
    let (text, code) = (reason.describe(), reason as u8);
    reason_string.map_or_else(
        || format!("{text} (0x{code:02X})"),
        |said| format!("{text} (0x{code:02X}: {said})"),
    )
}
