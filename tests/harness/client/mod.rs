//! Client libraries as actors of one conversation: each is told the same commands and reports the
//! same events.

mod command;
mod rumqttc;
mod rumqttc_v4;
mod rumqttc_v5;
mod script;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub use command::{Command, Connect, Event, Message, Payload, Properties, Subscribe, Subscription};

use crate::daemon::Daemon;
use crate::peer::{node, python};
use crate::wait::DEADLINE;
use crate::wire::Version;

/// Events that nobody has looked at; a client that has more waits.
const EVENTS_MAX: usize = 10_000;

/// A client library.
pub struct Library {
    name: &'static str,
    versions: &'static [Version],
    start: fn(SyncSender<Event>) -> Box<dyn Driver + Send>,
    lacks: &'static [Ability],
    /// Clients that are not connected and can be again; starting one takes its time.
    idle: Mutex<Vec<Actor>>,
}

/// What some client libraries cannot say or do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Shows the reason in PUBACK.
    PubackReason,
    /// Shows the reason in a PUBREC that refuses.
    PubrecReason,
    /// Shows the reasons in UNSUBACK.
    UnsubackReason,
    /// Understands a message with several subscription identifiers.
    SubscriptionIdentifiers,
    /// Keeps user properties with different names in order.
    UserPropertyOrder,
}

/// paho-mqtt for Python.
pub static PAHO: Library = Library {
    name: "paho",
    versions: &Version::ALL,
    start: |events| script::start(python("paho_peer.py"), events),
    lacks: &[Ability::PubrecReason],
    idle: Mutex::new(Vec::new()),
};

/// gmqtt for Python.
pub static GMQTT: Library = Library {
    name: "gmqtt",
    versions: &[Version::V311, Version::V5],
    start: |events| script::start(python("gmqtt_peer.py"), events),
    lacks: &[Ability::PubackReason, Ability::PubrecReason],
    idle: Mutex::new(Vec::new()),
};

/// libmosquitto, the library of mosquitto's own clients.
pub static MOSQUITTO: Library = Library {
    name: "mosquitto",
    versions: &Version::ALL,
    start: |events| script::start(python("mosquitto_peer.py"), events),
    lacks: &[Ability::UnsubackReason, Ability::SubscriptionIdentifiers],
    idle: Mutex::new(Vec::new()),
};

/// MQTT.js for Node.js.
pub static MQTT_JS: Library = Library {
    name: "mqtt.js",
    versions: &Version::ALL,
    start: |events| script::start(node("mqttjs_peer.js"), events),
    lacks: &[Ability::UserPropertyOrder],
    idle: Mutex::new(Vec::new()),
};

/// rumqttc, for MQTT 3.1.1 and for MQTT 5.
pub static RUMQTTC: Library = Library {
    name: "rumqttc",
    versions: &[Version::V311, Version::V5],
    start: rumqttc::start,
    lacks: &[],
    idle: Mutex::new(Vec::new()),
};

/// Does what it is told. Dropping it ends its connection without a DISCONNECT.
trait Driver {
    fn tell(&mut self, command: &Command);
}

/// Where clients of one library and version meet a daemon.
pub struct Stage {
    library: &'static Library,
    version: Version,
    daemon: RefCell<Daemon>,
}

struct Actor {
    driver: Box<dyn Driver + Send>,
    events: Receiver<Event>,
}

/// A connected client.
pub struct Client<'stage> {
    stage: &'stage Stage,
    actor: Actor,
    /// For the messages of failed tests.
    name: String,
    /// The server had a session.
    pub session_present: bool,
    /// How many Topic Aliases the server accepts.
    pub topic_alias_maximum: u16,
    /// Those that were not asked for yet.
    messages: VecDeque<Message>,
    answers: VecDeque<Event>,
}

impl Stage {
    /// Plays a chapter of the conversation in each of these versions that the library speaks, each
    /// with a daemon of its own.
    ///
    /// # Panics
    /// It speaks none.
    #[track_caller]
    pub fn play(library: &'static Library, versions: &[Version], chapter: impl Fn(&Self)) {
        let spoken = versions.iter().filter(|it| library.versions.contains(it));
        let count = spoken.map(|version| {
            chapter(&Self {
                library,
                version: *version,
                daemon: RefCell::new(Daemon::start("")),
            });
        });
        assert_ne!(count.count(), 0, "nothing was said");
    }

    /// Stops the daemon.
    ///
    /// # Panics
    /// It does not end in order.
    #[track_caller]
    pub fn stop_daemon(&self) {
        let (status, _) = self.daemon.borrow_mut().stop();
        assert!(status.success(), "{status}");
    }

    /// The protocol version that is spoken here.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the library has this ability.
    #[must_use]
    pub fn has(&self, ability: Ability) -> bool {
        !self.library.lacks.contains(&ability)
    }

    /// Connects with a session that ends with the connection.
    #[track_caller]
    pub fn connect(&self, client_id: &str) -> Client<'_> {
        let client = self.connect_with(client_id, true, None);
        assert!(!client.session_present, "{}", client.name);
        client
    }

    /// Connects with a session that is resumed and outlives the connection.
    #[track_caller]
    pub fn resume(&self, client_id: &str) -> Client<'_> {
        self.connect_with(client_id, false, None)
    }

    /// Connects with a Will Message.
    #[track_caller]
    pub fn connect_with_will(&self, client_id: &str, will: Message) -> Client<'_> {
        self.connect_with(client_id, true, Some(will))
    }

    #[track_caller]
    fn connect_with(&self, client_id: &str, clean: bool, will: Option<Message>) -> Client<'_> {
        let idle = self.library.idle.lock().expect("no panic").pop();
        let mut client = Client {
            stage: self,
            actor: idle.unwrap_or_else(|| self.actor()),
            name: format!("{} {:?} {client_id}", self.library.name, self.version),
            session_present: false,
            topic_alias_maximum: 0,
            messages: VecDeque::new(),
            answers: VecDeque::new(),
        };
        client.actor.driver.tell(&Command::Connect(Connect {
            port: self.daemon.borrow().port(),
            version: self.version,
            client_id: client_id.to_owned(),
            clean,
            will,
        }));
        let answer = client.answer();
        let Event::Connected {
            session_present,
            topic_alias_maximum,
        } = answer
        else {
            panic!("{}: not connected: {answer:?}", client.name);
        };
        client.session_present = session_present;
        client.topic_alias_maximum = topic_alias_maximum;
        client
    }

    fn actor(&self) -> Actor {
        let (sender, events) = sync_channel(EVENTS_MAX);
        let driver = (self.library.start)(sender);
        Actor { driver, events }
    }
}

impl Client<'_> {
    /// Subscribes and returns the codes.
    #[track_caller]
    pub fn try_subscribe(&mut self, subscribe: Subscribe) -> Vec<u8> {
        self.actor.driver.tell(&Command::Subscribe(subscribe));
        let answer = self.answer();
        let Event::Subscribed { codes } = answer else {
            panic!("{}: no SUBACK: {answer:?}", self.name);
        };
        codes
    }

    /// Subscribes to all of these with one QoS, which is granted.
    #[track_caller]
    pub fn subscribe_all(&mut self, filters: &[&str], qos: u8) {
        let subscriptions = filters.iter().map(|filter| Subscription {
            filter: (*filter).to_owned(),
            qos,
            ..Subscription::default()
        });
        let codes = self.try_subscribe(Subscribe {
            subscriptions: subscriptions.collect(),
            identifier: None,
        });
        assert_eq!(codes, vec![qos; filters.len()], "{}", self.name);
    }

    /// Subscribes with a QoS, which is granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        self.subscribe_all(&[filter], qos);
    }

    /// Subscribes with these options, which are granted.
    #[track_caller]
    pub fn subscribe_with(&mut self, subscription: Subscription, identifier: Option<u32>) {
        let qos = subscription.qos;
        let codes = self.try_subscribe(Subscribe {
            subscriptions: vec![subscription],
            identifier,
        });
        assert_eq!(codes, [qos], "{}", self.name);
    }

    /// Unsubscribes and returns the codes.
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let filter = filter.to_owned();
        self.actor.driver.tell(&Command::Unsubscribe { filter });
        let answer = self.answer();
        let Event::Unsubscribed { codes } = answer else {
            panic!("{}: no UNSUBACK: {answer:?}", self.name);
        };
        codes
    }

    /// Publishes, waits until it is acknowledged, and returns the reason, if the client shows it.
    #[track_caller]
    pub fn publish(&mut self, message: &Message) -> Option<u8> {
        self.publish_all(std::slice::from_ref(message))[0]
    }

    /// Publishes without waiting for one before the next, and returns all reasons.
    #[track_caller]
    pub fn publish_all(&mut self, messages: &[Message]) -> Vec<Option<u8>> {
        for message in messages {
            self.actor.driver.tell(&Command::Publish(message.clone()));
        }
        let codes = messages.iter().map(|_| {
            let answer = self.answer();
            let Event::Published { code } = answer else {
                panic!("{}: not published: {answer:?}", self.name);
            };
            code
        });
        codes.collect()
    }

    /// The next message.
    #[track_caller]
    pub fn receive(&mut self) -> Message {
        while self.messages.is_empty() {
            self.wait();
        }
        self.messages.pop_front().expect("there is one")
    }

    /// Waits for exactly these messages, in this order.
    #[track_caller]
    pub fn expect_all<'m>(&mut self, messages: impl IntoIterator<Item = &'m Message>) {
        for message in messages {
            assert_eq!(self.receive(), *message, "{}", self.name);
        }
    }

    /// Waits for exactly this message.
    #[track_caller]
    pub fn expect(&mut self, message: &Message) {
        self.expect_all([message]);
    }

    /// Disconnects; all messages must have been received before.
    #[track_caller]
    pub fn leave(mut self) {
        // What is under way on either side comes before the answer.
        self.unsubscribe("nothing");
        self.actor.driver.tell(&Command::Disconnect);
        self.ended();
    }

    /// Waits until the server disconnects, and returns its reason.
    #[track_caller]
    pub fn ended(mut self) -> Option<u8> {
        let answer = self.answer();
        let Event::Disconnected { code } = answer else {
            panic!("{}: not disconnected: {answer:?}", self.name);
        };
        assert_eq!(self.messages, [], "{}: nobody asked for this", self.name);
        let mut idle = self.stage.library.idle.lock().expect("no panic");
        idle.push(self.actor);
        code
    }

    /// The next event that is no message.
    #[track_caller]
    fn answer(&mut self) -> Event {
        while self.answers.is_empty() {
            self.wait();
        }
        self.answers.pop_front().expect("there is one")
    }

    #[track_caller]
    fn wait(&mut self) {
        match self.actor.events.recv_timeout(DEADLINE) {
            Ok(Event::Message(message)) => self.messages.push_back(message),
            Ok(event) => self.answers.push_back(event),
            Err(error) => {
                panic!("{}: nothing comes: {error}", self.name);
            }
        }
    }
}
