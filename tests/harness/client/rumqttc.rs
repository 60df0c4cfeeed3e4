//! rumqttc, which is a library of its own for MQTT 3.1.1 and for MQTT 5.

use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::thread;

use rumqttc::QoS;
use tokio::runtime;
use tokio::sync::oneshot;

use super::{Command, Driver, Event, rumqttc_v4, rumqttc_v5};
use crate::wire::Version;

/// Its connection is with one of the two.
struct Rumqttc {
    events: SyncSender<Event>,
    connection: Option<Box<dyn Driver + Send>>,
}

pub(super) fn start(events: SyncSender<Event>) -> Box<dyn Driver + Send> {
    let connection = None;
    Box::new(Rumqttc { events, connection })
}

impl Driver for Rumqttc {
    fn tell(&mut self, command: &Command) {
        if let Command::Connect(connect) = command {
            let events = self.events.clone();
            self.connection = Some(match connect.version {
                Version::V31 | Version::V311 => rumqttc_v4::connect(connect, events),
                Version::V5 => rumqttc_v5::connect(connect, events),
            });
        }
        self.connection
            .as_mut()
            .expect("a connection")
            .tell(command);
    }
}

/// Requests that wait inside the library.
pub(super) const REQUESTS: usize = 1_000;

/// One step of a connection: what it reports, or its end and the server's reason for it.
pub(super) type Step = ControlFlow<Option<u8>, Option<Event>>;

/// Polls a connection in a thread until it ends. Dropping what is returned cuts it off.
pub(super) fn poll(
    events: SyncSender<Event>,
    mut step: impl AsyncFnMut() -> Step + Send + 'static,
) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let end = async {
            loop {
                match step().await {
                    ControlFlow::Continue(event) => {
                        event.into_iter().for_each(|it| report(&events, it))
                    }
                    ControlFlow::Break(code) => return Event::Disconnected { code },
                }
            }
        };
        runtime.expect("a runtime").block_on(async {
            tokio::select! {
                _ = stopped => {}
                event = end => report(&events, event),
            }
        });
    });
    stop
}

/// The test may have ended; then nobody listens.
fn report(events: &SyncSender<Event>, event: Event) {
    events.send(event).ok();
}

pub(super) fn qos(qos: u8) -> QoS {
    rumqttc::qos(qos).expect("a QoS")
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
