//! The frames of a server, cut into small ones while they come. A packet may be one frame, however
//! large it is, and the library that reads frames has each in memory as a whole.

use std::io::{self, Cursor};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{READ_BUFFER_BYTES, io_error};
use crate::io::Stream;

/// Bytes of payload in the largest frame that is made.
const PIECE_BYTES_MAX: u64 = 16 << 10;

/// The stream below a WebSocket, with smaller frames than those that come.
pub(super) struct CutStream {
    stream: BufReader<Stream>,
    cutter: Cutter,
}

/// Makes small frames of large ones: pure.
///
/// Each piece of a message is made a message of its own, which is the same to MQTT (MQTT 5.0, 6.0).
/// Only the order of fragments is looked at, since it cannot be seen any more then. All else is
/// left to who reads what is made: a control frame that is so large that it is cut is refused
/// with its first piece.
#[derive(Debug)]
struct Cutter {
    next: Next,
    /// A message has begun, and its last frame has not.
    is_unfinished: bool,
    /// A header that is made and has not been read.
    made: BytesMut,
}

/// What is at the front of the input.
#[derive(Debug)]
enum Next {
    /// The answer to the handshake, up to an empty line. It is passed on as it is.
    Answer { is_line_empty: bool },
    /// A header, of which so much has come.
    Header(Vec<u8>),
    /// The payload of a frame with this header: so many bytes of a piece, and so many behind it.
    Payload(FrameHeader, u64, u64),
}

impl Cutter {
    fn new() -> Self {
        Self {
            next: Next::Answer {
                is_line_empty: false,
            },
            is_unfinished: false,
            made: BytesMut::new(),
        }
    }

    /// Cuts what is at the front of `input`, as far as `output` has room, and takes it out of it.
    /// Behind an answer it ends: what follows one that refuses is no frame.
    fn cut(&mut self, input: &mut &[u8], output: &mut ReadBuf<'_>) -> io::Result<()> {
        loop {
            let header = pass(&self.made, output);
            self.made.advance(header);
            if input.is_empty() || output.remaining() == 0 {
                return Ok(());
            }
            let next = mem::replace(&mut self.next, Next::Header(Vec::new()));
            self.next = match next {
                Next::Answer { is_line_empty } => {
                    self.next = pass_byte(is_line_empty, input, output);
                    if let Next::Header(_) = self.next {
                        return Ok(());
                    }
                    continue;
                }
                Next::Header(bytes) => self.read_header(bytes, input)?,
                Next::Payload(header, piece, behind) => {
                    let room = usize::try_from(piece).unwrap_or(usize::MAX);
                    let count = pass(&input[..room.min(input.len())], output);
                    input.advance(count);
                    match piece - count as u64 {
                        0 if behind == 0 => Next::Header(Vec::new()),
                        0 => self.begin_piece(header, behind)?,
                        piece => Next::Payload(header, piece, behind),
                    }
                }
            };
        }
    }

    /// Takes one more byte of a header, which is 14 bytes at most.
    fn read_header(&mut self, mut bytes: Vec<u8>, input: &mut &[u8]) -> io::Result<Next> {
        bytes.push(input.get_u8());
        let parsed = FrameHeader::parse(&mut Cursor::new(&bytes)).map_err(io_error)?;
        let Some((mut header, length)) = parsed else {
            return Ok(Next::Header(bytes));
        };
        if let OpCode::Data(data) = header.opcode {
            let is_continued = data == Data::Continue;
            if is_continued && !self.is_unfinished {
                return Err(out_of_order(ProtocolError::UnexpectedContinueFrame));
            }
            if !is_continued && self.is_unfinished {
                return Err(out_of_order(ProtocolError::ExpectedFragment(data)));
            }
            if is_continued {
                header.opcode = OpCode::Data(Data::Binary);
            }
            self.is_unfinished = !mem::replace(&mut header.is_final, true);
        }
        self.begin_piece(header, length)
    }

    /// Makes the header of a piece of what is left of a frame.
    fn begin_piece(&mut self, header: FrameHeader, left: u64) -> io::Result<Next> {
        let piece = left.min(PIECE_BYTES_MAX);
        let mut made = (&mut self.made).writer();
        header.format(piece, &mut made).map_err(io_error)?;
        Ok(match left {
            0 => Next::Header(Vec::new()),
            _ => Next::Payload(header, piece, left - piece),
        })
    }
}

/// Passes a byte of the answer to the handshake on.
fn pass_byte(is_line_empty: bool, input: &mut &[u8], output: &mut ReadBuf<'_>) -> Next {
    let byte = input.get_u8();
    output.put_slice(&[byte]);
    match byte {
        b'\n' if is_line_empty => Next::Header(Vec::new()),
        b'\n' => Next::Answer {
            is_line_empty: true,
        },
        b'\r' => Next::Answer { is_line_empty },
        _ => Next::Answer {
            is_line_empty: false,
        },
    }
}

/// Copies as much as there is room for, and returns how much that is.
fn pass(bytes: &[u8], output: &mut ReadBuf<'_>) -> usize {
    let count = bytes.len().min(output.remaining());
    output.put_slice(&bytes[..count]);
    count
}

fn out_of_order(error: ProtocolError) -> io::Error {
    io_error(error.into())
}

impl CutStream {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_BUFFER_BYTES, stream),
            cutter: Cutter::new(),
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, cutter } = &mut *self;
        let mut stream = Pin::new(stream);
        let filled = buffer.filled().len();
        loop {
            let mut unread = stream.buffer();
            cutter.cut(&mut unread, buffer)?;
            let count = stream.buffer().len() - unread.len();
            stream.as_mut().consume(count);
            if buffer.filled().len() > filled || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if ready!(stream.as_mut().poll_fill_buf(context))?.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::coding::Control;
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameSocket};

    use super::*;

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUE: OpCode = OpCode::Data(Data::Continue);

    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Frame {
        let header = FrameHeader {
            is_final,
            opcode,
            ..FrameHeader::default()
        };
        Frame::from_payload(header, payload.to_vec().into())
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        let mut socket = FrameSocket::new(Cursor::new(ANSWER.as_bytes().to_vec()));
        socket.get_mut().set_position(ANSWER.len() as u64);
        for frame in frames {
            socket.send(frame.clone()).unwrap();
        }
        socket.into_inner().0.into_inner()
    }

    /// What is made of bytes that come by so many at a time, and are read by so many.
    fn cut(bytes: &[u8], come: usize, read: usize) -> io::Result<Vec<u8>> {
        let mut cutter = Cutter::new();
        let mut made = Vec::new();
        let mut buffer = vec![0; read];
        for mut input in bytes.chunks(come) {
            loop {
                let mut output = ReadBuf::new(&mut buffer);
                cutter.cut(&mut input, &mut output)?;
                made.extend_from_slice(output.filled());
                if output.filled().is_empty() {
                    assert!(input.is_empty());
                    break;
                }
            }
        }
        Ok(made)
    }

    /// The frames that follow the answer.
    fn decode(made: &[u8]) -> Vec<Frame> {
        let frames = made.strip_prefix(ANSWER.as_bytes()).unwrap();
        let mut socket = FrameSocket::new(Cursor::new(frames.to_vec()));
        std::iter::from_fn(|| socket.read(None).unwrap()).collect()
    }

    #[test]
    fn however_the_bytes_come_no_frame_is_large_and_nothing_else_is_different() {
        let max = usize::try_from(PIECE_BYTES_MAX).unwrap();
        let payload: Vec<u8> = (0..=250).cycle().take(5 * max).collect();
        let ping = frame(OpCode::Control(Control::Ping), true, b"alive");
        let close = frame(OpCode::Control(Control::Close), true, b"");
        let came = encode(&[
            frame(BINARY, true, &payload[..2 * max]),
            ping.clone(),
            frame(BINARY, true, b""),
            frame(BINARY, false, &payload[2 * max..2 * max + 100]),
            ping.clone(),
            frame(CONTINUE, false, b""),
            frame(CONTINUE, true, &payload[2 * max + 100..]),
            frame(BINARY, true, b"last"),
            close.clone(),
        ]);
        for [come, read] in [[1, 1], [1, 9_999], [7, 3], [9_999, 1], [9_999, 9_999]] {
            let made = decode(&cut(&came, come, read).unwrap());
            let data = made.iter().filter(|it| it.header().opcode == BINARY);
            assert!(data.clone().all(|it| it.header().is_final));
            let sizes: Vec<_> = data.clone().map(|it| it.payload().len()).collect();
            let expected = [max, max, 0, 100, 0, max, max, max - 100, 4];
            assert_eq!(sizes, expected, "{come} {read}");
            let data: Vec<_> = data.flat_map(|it| it.payload().to_vec()).collect();
            assert_eq!(data, [&payload[..], b"last"].concat());
            assert_eq!([&made[2], &made[5], &made[11]], [&ping, &ping, &close]);
            assert_eq!(made.len(), 12);
        }
    }

    #[test]
    fn fragments_have_their_order() {
        let (text, ping) = (OpCode::Data(Data::Text), OpCode::Control(Control::Ping));
        for (frames, is_in_order) in [
            (&[(BINARY, true), (BINARY, true)][..], true),
            (&[(BINARY, false), (ping, true), (CONTINUE, true)], true),
            (&[(CONTINUE, true)], false),
            (&[(BINARY, true), (CONTINUE, false)], false),
            (
                &[(BINARY, false), (CONTINUE, true), (CONTINUE, true)],
                false,
            ),
            (&[(BINARY, false), (ping, true), (BINARY, true)], false),
            (&[(BINARY, false), (CONTINUE, false), (text, false)], false),
        ] {
            let made = frames.iter().map(|it| frame(it.0, it.1, b"abc"));
            let made = cut(&encode(&made.collect::<Vec<_>>()), 100, 100);
            assert_eq!(made.is_ok(), is_in_order, "{frames:?}: {made:?}");
        }
    }

    #[test]
    fn the_answer_to_the_handshake_is_passed_on_up_to_an_empty_line() {
        for answer in [
            ANSWER,
            "HTTP/1.1 101\nupgrade:  x\r y\n\n",
            "\r\nHTTP\r\n\r\n",
        ] {
            let frame = [0x82, 126, 0, 1, 7];
            let made = cut(&[answer.as_bytes(), &frame].concat(), 100, 100).unwrap();
            // As short as it can be, so it was made anew.
            assert_eq!(made, [answer.as_bytes(), &[0x82, 1, 7]].concat());
        }
    }
}
