//! Asking a hub that is silent whether it is there (PINGREQ, §3.12).

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use mqtt::connection::ClientConnection;
use tokio::time::{Instant, Sleep, sleep};

use crate::hub::HubError;

/// Bytes a second that the slowest link is expected to carry. What was sent since something came
/// may be on its way for that long, and the answer comes behind it.
const SLOWEST_BYTES: u64 = 4 << 10;
/// Keep Alives without an acknowledgement after which a hub that has some to give has stalled.
const STALLED_AFTER: u32 = 2;

/// Half of the Keep Alive: the hub is asked once in that time, and has as much to answer. So a
/// connection that is dead is noticed within one Keep Alive, unless much is on its way.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    half: Duration,
    /// None if there is no Keep Alive.
    tick: Option<Pin<Box<Sleep>>>,
    /// When a PINGREQ was sent that is not answered.
    asked_at: Option<Instant>,
    received_at: Instant,
    /// Bytes that had been made for the hub by then.
    received_mark: u64,
    /// When the hub acknowledged something, or had nothing to acknowledge.
    progress_at: Instant,
}

impl KeepAlive {
    /// The Keep Alive in seconds, 0 for none.
    pub(crate) fn new(seconds: u16) -> Self {
        let half = Duration::from_secs(seconds.into()) / 2;
        Self {
            half,
            tick: (seconds > 0).then(|| Box::pin(sleep(half))),
            asked_at: None,
            received_at: Instant::now(),
            received_mark: 0,
            progress_at: Instant::now(),
        }
    }

    /// Something came, after so many bytes had been made for the hub.
    pub(crate) fn note_received(&mut self, made: u64) {
        self.received_at = Instant::now();
        self.received_mark = made;
    }

    /// The hub has acknowledged something, or has nothing to acknowledge.
    pub(crate) fn note_progress(&mut self) {
        self.progress_at = Instant::now();
    }

    /// True if the hub has not acknowledged anything for long, if it had something to.
    pub(crate) fn is_stalled(&self) -> bool {
        self.progress_at.elapsed() >= 2 * STALLED_AFTER * self.half
    }

    /// A PINGRESP came; returns the time to the hub and back.
    pub(crate) fn answered(&mut self) -> Option<Duration> {
        self.asked_at.take().map(|at| at.elapsed())
    }

    /// Asks if it is time to; so many bytes were made for the hub.
    ///
    /// # Errors
    /// Nothing came since the hub was asked.
    pub(crate) fn poll(
        &mut self,
        connection: &ClientConnection,
        output: &mut Vec<u8>,
        made: u64,
        context: &mut Context<'_>,
    ) -> Result<(), HubError> {
        let on_its_way = made.saturating_sub(self.received_mark);
        let patience = self.half + Duration::from_secs(on_its_way / SLOWEST_BYTES);
        let Some(tick) = &mut self.tick else {
            return Ok(());
        };
        while tick.as_mut().poll(context).is_ready() {
            match self.asked_at {
                Some(at) if self.received_at < at && at.elapsed() >= patience => {
                    return Err(HubError::Silent);
                }
                // The answer is behind what came, or behind what is on its way.
                Some(_) => {}
                None => {
                    connection.encode_pingreq(output);
                    self.asked_at = Some(Instant::now());
                }
            }
            tick.as_mut().reset(Instant::now() + self.half);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use mqtt::ProtocolVersion;
    use mqtt::connection::{ClientAnswer, ClientHandshake, ClientOptions};
    use mqtt::packet::Frame;

    use super::*;

    const SECONDS: u16 = 10;

    fn accepted() -> Box<ClientConnection> {
        let options = ClientOptions::new(ProtocolVersion::V5, "c");
        let handshake = ClientHandshake::new(&options, &mut Vec::new()).unwrap();
        let connack = [0x20, 3, 0, 0, 0];
        let (frame, _) = Frame::split(&connack, 100).unwrap().unwrap();
        match handshake.handle(frame).unwrap() {
            ClientAnswer::Accepted { connection, .. } => connection,
            ClientAnswer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    /// Seconds until a hub that answers nothing is given up, with so many bytes on their way.
    async fn patience(made: u64) -> u64 {
        let connection = accepted();
        let mut keep_alive = KeepAlive::new(SECONDS);
        let start = Instant::now();
        let silent = poll_fn(|context| {
            let polled = keep_alive.poll(&connection, &mut Vec::new(), made, context);
            polled.map_or_else(Poll::Ready, |()| Poll::Pending)
        });
        assert!(matches!(silent.await, HubError::Silent));
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_is_given_up_within_one_keep_alive_unless_much_is_on_its_way() {
        assert_eq!(patience(0).await, u64::from(SECONDS));
        assert_eq!(patience(SLOWEST_BYTES - 1).await, u64::from(SECONDS));
        let minute = patience(60 * SLOWEST_BYTES).await;
        assert!((60..=80).contains(&minute), "{minute}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_acknowledges_nothing_has_stalled_after_two_keep_alives() {
        let mut keep_alive = KeepAlive::new(SECONDS);
        let long = 2 * Duration::from_secs(SECONDS.into());
        tokio::time::advance(long - Duration::from_secs(1)).await;
        assert!(!keep_alive.is_stalled());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(keep_alive.is_stalled());
        keep_alive.note_progress();
        assert!(!keep_alive.is_stalled());
    }
}
