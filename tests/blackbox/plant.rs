//! The plant of the tests: a daemon with one gateway of each kind and a bridge to a hub.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::peer::Peer;
use tests::reservation;
use tests::subscriber::Subscriber;
use tests::wait::until_every;

/// How often a sync message is sent until one arrives.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Where everybody is.
pub(crate) struct Plant {
    pub(crate) hub: Hub,
    pub(crate) daemon: Daemon,
    pub(crate) zmq_in: u16,
    pub(crate) zmq_out: u16,
    pub(crate) nng_in: u16,
    pub(crate) nng_out: u16,
    pub(crate) domain: u16,
}

/// A peer that publishes numbers, and the topics that they come under.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    peer: Peer,
    syncs: u64,
}

impl Plant {
    pub(crate) fn start() -> Self {
        let hub = Hub::start();
        let [zmq_in, zmq_out, nng_in, nng_out] = [(); 4].map(|()| reservation::port());
        let domain = reservation::domain();
        let hub_port = hub.port();
        let daemon = Daemon::start(&format!(
            r#"
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{hub_port}"
  clientid = "edge"
  backoff_max = 500ms
  forwards = [{{ local_topic = "plant/#", remote_topic = "", qos = 1 }}]
  subscription = [{{ remote_topic = "cmd/#", local_topic = "", qos = 1 }}]
}}
gateways.zmq.plant {{
  sub {{ connect = ["tcp://127.0.0.1:{zmq_in}"] }}
  pub {{ bind = ["tcp://127.0.0.1:{zmq_out}"] }}
  to_mqtt = [{{ topic = "plant/zmq/${{frame}}", qos = 1 }}]
  from_mqtt = [{{ filter = "cmd/zmq/#", qos = 1 }}]
}}
gateways.nng.line {{
  sub {{ dial = ["tcp://127.0.0.1:{nng_in}"] }}
  pub {{ listen = ["tcp://127.0.0.1:{nng_out}"] }}
  to_mqtt = [{{ delimiter = ":", topic = "plant/nng/${{subject}}", qos = 1 }}]
  from_mqtt = [{{ filter = "cmd/nng/#", delimiter = ":", qos = 1 }}]
}}
gateways.dds.robot {{
  domain = {domain}
  interface = "lo"
  idl = """
    module Plant {{
      @final struct Reading {{ @key string sensor; unsigned long n; }};
      @final struct Command {{ string text; unsigned long n; }};
    }};
  """
  to_mqtt = [{{
    dds_topic = "Readings", type = "Plant::Reading", topic = "plant/dds/${{sensor}}", qos = 1
  }}]
  from_mqtt = [{{ filter = "cmd/dds/#", dds_topic = "Commands", type = "Plant::Command" }}]
}}
"#
        ));
        Self {
            hub,
            daemon,
            zmq_in,
            zmq_out,
            nng_in,
            nng_out,
            domain,
        }
    }

    /// A publishing peer of each kind.
    pub(crate) fn sources(&self) -> [Source; 3] {
        let endpoint = |port| format!("tcp://127.0.0.1:{port}");
        let source = |name, peer| Source {
            name,
            peer,
            syncs: 0,
        };
        [
            source(
                "zmq",
                Peer::start("zmq_peer.py", "pub", endpoint(self.zmq_in)),
            ),
            source(
                "nng",
                Peer::start("nng_peer.py", "pub", endpoint(self.nng_in)),
            ),
            source("dds", Peer::start("dds_peer.py", "pub", self.domain)),
        ]
    }
}

impl Source {
    /// Sends sync messages until one arrives: from then on the daemon receives this peer.
    pub(crate) fn sync(&mut self, recorder: &Subscriber) {
        let first = self.syncs + 1;
        let topic = format!("plant/{}/sync", self.name);
        let what = format!("{} is received", self.name);
        until_every(SYNC_INTERVAL, &what, || {
            self.syncs += 1;
            self.peer.tell(&format!("sync {}", self.syncs));
            recorder.has(|it| it.topic == topic && it.number() >= Some(first))
        });
    }

    /// Starts to send these numbers.
    pub(crate) fn send(&mut self, first: u64, last: u64) {
        self.peer.tell(&format!("send {first} {last}"));
    }

    /// The numbers that arrived, with their topics, without sync messages.
    pub(crate) fn numbers(&self, subscriber: &Subscriber) -> Vec<(String, u64)> {
        let prefix = format!("plant/{}/s", self.name);
        let received = subscriber.received().into_iter();
        let readings = received.filter(|it| it.topic.starts_with(&prefix));
        let readings = readings.filter(|it| !it.topic.ends_with("/sync"));
        readings
            .map(|it| {
                let number = it.number().unwrap();
                (it.topic, number)
            })
            .collect()
    }

    /// Whether this number has arrived.
    pub(crate) fn has_arrived(&self, number: u64, subscriber: &Subscriber) -> bool {
        let prefix = format!("plant/{}/s", self.name);
        subscriber.has(|it| {
            it.topic.starts_with(&prefix)
                && !it.topic.ends_with("/sync")
                && it.number() == Some(number)
        })
    }
}
