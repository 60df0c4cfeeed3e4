//! Asking a hub that is silent whether it is there (PINGREQ, §3.12).

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use mqtt::connection::ClientConnection;
use tokio::time::{Instant, Sleep, sleep};

use crate::hub::HubError;

/// Half of the Keep Alive: the hub is asked once in that time, and has as much to answer. So a
/// connection that is dead is noticed within one Keep Alive.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    half: Duration,
    /// None if there is no Keep Alive.
    tick: Option<Pin<Box<Sleep>>>,
    /// When a PINGREQ was sent that is not answered.
    asked_at: Option<Instant>,
    received_at: Instant,
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
        }
    }

    /// Something came.
    pub(crate) fn note_received(&mut self) {
        self.received_at = Instant::now();
    }

    /// A PINGRESP came; returns the time to the hub and back.
    pub(crate) fn answered(&mut self) -> Option<Duration> {
        self.asked_at.take().map(|at| at.elapsed())
    }

    /// Asks if it is time to.
    ///
    /// # Errors
    /// Nothing came since the hub was asked.
    pub(crate) fn poll(
        &mut self,
        connection: &ClientConnection,
        output: &mut Vec<u8>,
        context: &mut Context<'_>,
    ) -> Result<(), HubError> {
        let Some(tick) = &mut self.tick else {
            return Ok(());
        };
        while tick.as_mut().poll(context).is_ready() {
            match self.asked_at {
                Some(at) if self.received_at < at => return Err(HubError::Silent),
                // The answer is behind what came.
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
