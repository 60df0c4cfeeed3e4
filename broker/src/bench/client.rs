//! The life of one client: connect, take part, disconnect.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt::ReasonCode;
use mqtt::packet::{Disconnect, Packet, Properties};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connection::Connection;
use super::course::{Course, Stage};
use super::dialogue::{self, Dialogue};
use super::fault::Fault;
use super::plan::Member;
use super::schedule::Schedule;

/// How long a broker may take until a client is connected and subscribed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to end a connection in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Reads and writes of one client before it is the turn of others.
const TURNS_MAX: u32 = 4;

/// A client on an open connection.
pub(super) struct Client {
    course: Arc<Course>,
    worker: usize,
    connection: Connection,
    dialogue: Dialogue,
    /// When it sent something last.
    sent_at: u64,
    /// It counts as connected, so it may publish.
    takes_part: bool,
}

/// Lives as one client until the run stops. Others may connect when the permit is gone.
pub(super) async fn live(
    course: Arc<Course>,
    worker: usize,
    member: Member,
    schedule: Option<Schedule>,
    permit: OwnedSemaphorePermit,
) {
    let begun_at = course.clock.now();
    let connected = timeout(
        CONNECT_TIMEOUT,
        Client::connect(&course, worker, member, schedule),
    );
    let connected = tokio::select! {
        connected = connected => connected.unwrap_or(Err(Fault::Silence)),
        () = course.reached(Stage::Finish) => return,
    };
    drop(permit);
    let mut client = match connected {
        Ok(client) => client,
        Err(fault) => return course.note_failed(&fault),
    };
    let taken = course.clock.now().saturating_sub(begun_at);
    course.tally(worker).connect.record(taken);
    course.note_connected(member.role);
    client.takes_part = true;
    match poll_fn(|context| client.poll(context, |course, _| course.stage() == Stage::Stop)).await {
        Ok(()) => client.leave().await,
        Err(fault) => {
            let publisher = client.dialogue.publisher();
            if publisher.is_some_and(|it| !it.is_finished()) {
                course.note_finished();
            }
            course.note_lost(&fault);
        }
    }
}

impl Client {
    /// A client that is connected, and subscribed if it is a subscriber.
    async fn connect(
        course: &Arc<Course>,
        worker: usize,
        member: Member,
        schedule: Option<Schedule>,
    ) -> Result<Self, Fault> {
        let mut connection = Connection::open(&course.addresses).await?;
        dialogue::put_connect(&course.plan, member, connection.output())?;
        let mut client = Self {
            course: Arc::clone(course),
            worker,
            connection,
            dialogue: Dialogue::new(member, schedule),
            takes_part: false,
            sent_at: course.clock.now(),
        };
        poll_fn(|context| client.poll(context, |_, dialogue| dialogue.is_ready())).await?;
        Ok(client)
    }

    /// Moves bytes and packets until this is true.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        is_over: impl Fn(&Course, &Dialogue) -> bool,
    ) -> Poll<Result<(), Fault>> {
        // First, so that no cue is missed.
        self.course
            .await_cue(self.dialogue.index(), context.waker());
        for _ in 0..TURNS_MAX {
            if is_over(&self.course, &self.dialogue) {
                return Poll::Ready(Ok(()));
            }
            let is_read = self.poll_read(context)?.is_ready();
            let is_written = self.poll_write(context)?;
            if !is_read && !is_written {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Self {
            course,
            worker,
            connection,
            dialogue,
            ..
        } = self;
        connection.poll_read(context, |bytes, out| {
            dialogue.take(bytes, course, *worker, out)
        })
    }

    /// Publishes what may leave now, and sends; true if something was sent, so there may be more.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        let stage = self.course.stage();
        let out = self.connection.output();
        let mut publisher = self.dialogue.publisher().filter(|_| self.takes_part);
        if let Some(publisher) = publisher.as_mut().filter(|_| out.is_empty()) {
            let mut tally = self.course.tally(self.worker);
            publisher.produce(&self.course, stage, &mut tally, out);
        }
        if let Some(ping_after) = self.course.ping_after() {
            let now = self.course.clock.now();
            if !out.is_empty() {
                self.sent_at = now;
            } else if Duration::from_nanos(now.saturating_sub(self.sent_at)) >= ping_after {
                self.sent_at = now;
                Packet::Pingreq.encode(self.course.plan.version, out);
            }
        }
        let has_output = !out.is_empty();
        if self.connection.poll_flush(context)?.is_pending() {
            return Ok(false);
        }
        if publisher.is_some_and(|it| it.finish(stage)) {
            self.course.note_finished();
        }
        Ok(has_output)
    }

    /// Ends the connection in order, if the broker is not too slow for that.
    async fn leave(mut self) {
        let disconnect = Packet::Disconnect(Disconnect {
            reason: ReasonCode::Success,
            properties: Properties::default(),
        });
        disconnect.encode(self.course.plan.version, self.connection.output());
        // It may be gone already.
        timeout(CLOSE_TIMEOUT, self.connection.close()).await.ok();
    }
}
