//! The simulated plant: real ZeroMQ, NNG and DDS publishers on loopback.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gateway_dds::idl::Idl;
use gateway_dds::peer::{DomainSettings, EndpointSettings, Peer, PeerWriter};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// The sources, which are the second level of their topics.
pub(super) const SOURCES: [&str; 3] = ["zmq", "nng", "dds"];

const IDL: &str = "struct Reading { unsigned long long number; double celsius; };";
const DDS_TOPIC: &str = "Readings";
/// What the publishers queue for a subscriber that does not keep up.
const HIGH_WATER_MARK: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const BUFFER_MESSAGES: NonZeroU16 = NonZeroU16::new(8_192).unwrap();

/// Publishers that send numbered readings, counted from 1 once they run.
pub(super) struct Plant {
    configuration: String,
    sent: [Arc<AtomicU64>; 3],
    running: Arc<AtomicBool>,
    tasks: JoinSet<Result<(), String>>,
}

/// One publisher of whichever protocol.
enum Source {
    Zmq(gateway_zmq::Publisher),
    Nng(gateway_nng::Publisher),
    Dds(PeerWriter),
}

impl Plant {
    /// Opens the publishers and lets each send number 0 again and again: with these the story
    /// finds out when its subscribers are connected.
    pub(super) async fn open(rate: u32) -> Result<Self, String> {
        let any = ["tcp://127.0.0.1:0".to_owned()];
        let zmq = gateway_zmq::Publisher::open(&[], &any, HIGH_WATER_MARK)
            .await
            .map_err(text)?;
        let nng = gateway_nng::Publisher::open(&[], &any, BUFFER_MESSAGES)
            .await
            .map_err(text)?;
        // Below the domains that people use by hand; two demonstrations rarely meet.
        let domain = 100 + std::process::id() % 130;
        let dds = open_dds(domain)?;
        let configuration = configuration(zmq.bound(), nng.listening(), domain)?;
        let mut plant = Self {
            configuration,
            sent: Default::default(),
            running: Arc::default(),
            tasks: JoinSet::new(),
        };
        let pause = Duration::from_secs(1) / rate;
        for (index, source) in [Source::Zmq(zmq), Source::Nng(nng), Source::Dds(dds)]
            .into_iter()
            .enumerate()
        {
            let (sent, running) = (Arc::clone(&plant.sent[index]), Arc::clone(&plant.running));
            plant.tasks.spawn(produce(source, pause, sent, running));
        }
        Ok(plant)
    }

    /// The gateways that an edge needs to take in this plant.
    pub(super) fn configuration(&self) -> &str {
        &self.configuration
    }

    /// Starts counting, or pauses.
    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::SeqCst);
    }

    /// The last number that this source has sent.
    pub(super) fn sent(&self, index: usize) -> u64 {
        self.sent[index].load(Ordering::SeqCst)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn open_dds(domain: u32) -> Result<PeerWriter, String> {
    let idl = Idl::parse(IDL).map_err(text)?;
    let structure = idl.find("Reading").ok_or("the type is missing")?;
    let interface = Some("lo".to_owned());
    let settings = DomainSettings {
        domain,
        interface,
        ..DomainSettings::default()
    };
    let peer = Peer::open(&settings).map_err(text)?;
    peer.writer(DDS_TOPIC, structure, &EndpointSettings::default())
        .map_err(text)
}

fn configuration(zmq: &[String], nng: &[String], domain: u32) -> Result<String, String> {
    let zmq = zmq.first().ok_or("ZeroMQ is not bound")?;
    let nng = nng.first().ok_or("NNG does not listen")?;
    Ok(format!(
        r#"
gateways.zmq.demo {{
  sub {{ connect = ["{zmq}"] }}
  to_mqtt = [{{ topic = "plant/zmq/${{frame}}", qos = 1 }}]
}}
gateways.nng.demo {{
  sub {{ dial = ["{nng}"] }}
  to_mqtt = [{{ delimiter = ":", topic = "plant/nng/${{subject}}", qos = 1 }}]
}}
gateways.dds.demo {{
  domain = {domain}
  interface = "lo"
  idl = """{IDL}"""
  to_mqtt = [{{ dds_topic = "{DDS_TOPIC}", type = "Reading", topic = "plant/dds/${{dds_topic}}", qos = 1 }}]
}}
"#
    ))
}

/// Sends number 0 while the plant is paused before its start, then counts up while it runs.
async fn produce(
    source: Source,
    pause: Duration,
    sent: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
) -> Result<(), String> {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let last = sent.load(Ordering::SeqCst);
        let counts = running.load(Ordering::SeqCst);
        if counts {
            source.send(last + 1).await?;
            sent.store(last + 1, Ordering::SeqCst);
        } else if last == 0 {
            source.send(0).await?;
        }
    }
}

impl Source {
    async fn send(&self, number: u64) -> Result<(), String> {
        // A temperature that wanders, for people to look at.
        let celsius = 20 + number % 10;
        let reading = json!({ "number": number, "celsius": celsius });
        match self {
            Self::Zmq(publisher) => {
                let frames = vec![
                    Bytes::from_static(b"boiler"),
                    Bytes::from(reading.to_string()),
                ];
                publisher.send(frames).await.map_err(text)
            }
            Self::Nng(publisher) => publisher
                .send(format!("press:{reading}").as_bytes())
                .map_err(text),
            Self::Dds(writer) => writer.write(&reading).map_err(text),
        }
    }
}
