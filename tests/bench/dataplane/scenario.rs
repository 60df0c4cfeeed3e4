//! Who publishes what to whom.

use tests::contender::Setup;
use tests::wire::{Version, packet};

/// Tidegate's default of `mqtt.max_mqueue_len`.
const QUEUED_MAX: u64 = 1000;

/// Bytes to one subscriber that are under way at most: half of what Tidegate keeps of QoS 0.
pub(crate) const UNDER_WAY_BYTES_MAX: usize = 512 << 10;
/// About what a packet has before its payload.
const HEAD_BYTES: usize = 32;

/// Where each publisher has several: more than a broker remembers the ways of.
pub(crate) const TOPICS: u64 = 1000;

/// How clients are connected by topics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Messages of one publisher that are under way at most.
    pub(crate) window: u64,
    /// Each publisher has a subscriber of its own; otherwise all subscribers get everything.
    pub(crate) is_paired: bool,
}

pub(crate) const FAN_IN: Shape = shape("fan-in 50:1", 50, 1, 20);
pub(crate) const FAN_IN_5: Shape = shape("fan-in 50:5", 50, 5, 40);
pub(crate) const FAN_OUT: Shape = shape("fan-out 1:500", 1, 500, 40);
pub(crate) const PAIRS: Shape = Shape {
    is_paired: true,
    ..shape("pairs 100:100", 100, 100, 50)
};
pub(crate) const SHAPES: [Shape; 4] = [FAN_IN, FAN_IN_5, FAN_OUT, PAIRS];

const fn shape(name: &'static str, publishers: usize, subscribers: usize, window: u64) -> Shape {
    Shape {
        name,
        publishers,
        subscribers,
        window,
        is_paired: false,
    }
}

impl Shape {
    /// How many get each message.
    pub(crate) fn targets(self) -> u64 {
        if self.is_paired {
            1
        } else {
            self.subscribers as u64
        }
    }
}

/// How messages leave their publisher.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Once half the window has arrived, the window is filled with one write.
    Batched,
    /// Likewise, but with one write for each.
    Single,
    /// The next one when the one before has arrived.
    OneByOne,
    /// So many a second altogether, whatever has arrived.
    Paced(u64),
}

/// What is published.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) shape: Shape,
    pub(crate) qos: u8,
    pub(crate) payload_bytes: usize,
    pub(crate) version: Version,
    /// Three User Properties and a Response Topic in each PUBLISH.
    pub(crate) has_properties: bool,
    pub(crate) writes: Writes,
    /// Topics of each publisher, which it takes in turn; at most 1000.
    pub(crate) topics: u64,
}

impl Scenario {
    /// Batched messages of MQTT 3.1.1 without properties.
    pub(crate) const fn new(shape: Shape, qos: u8, payload_bytes: usize) -> Self {
        Self {
            shape,
            qos,
            payload_bytes,
            version: Version::V311,
            has_properties: false,
            writes: Writes::Batched,
            topics: 1,
        }
    }

    pub(crate) fn name(&self) -> String {
        let Self {
            shape,
            qos,
            payload_bytes,
            ..
        } = self;
        let version = match (self.version, self.has_properties) {
            (Version::V31 | Version::V311, _) => "",
            (Version::V5, false) => " MQTT 5",
            (Version::V5, true) => " MQTT 5 with properties",
        };
        let topics = match self.topics {
            1 => String::new(),
            topics => format!(" {topics} topics each"),
        };
        let writes = match self.writes {
            Writes::Batched => "batched".to_owned(),
            Writes::Single => "one packet per write".to_owned(),
            Writes::OneByOne => "window 1".to_owned(),
            Writes::Paced(rate) => format!("at {} k/s", rate / 1000),
        };
        format!(
            "{} QoS {qos} {payload_bytes} B{version}{topics} {writes}",
            shape.name
        )
    }

    /// Defaults, but for what the scenario needs.
    pub(crate) fn setup(&self) -> Setup<'static> {
        // More may be under way than a session has room for.
        let under_way = self.window().saturating_mul(self.shape.publishers as u64);
        let is_paced = matches!(self.writes, Writes::Paced(_));
        let needs_room = self.qos > 0 && !is_paced && under_way > QUEUED_MAX;
        Setup {
            tidegate: if needs_room {
                "mqtt.max_mqueue_len = 10000"
            } else {
                ""
            },
            mosquitto: "persistence false",
        }
    }

    /// Whether a program without QoS and properties can do it.
    pub(crate) fn is_for_relay(&self) -> bool {
        self.qos == 0 && self.version == Version::V311
    }

    /// Messages of one publisher that are under way at most.
    pub(crate) fn window(&self) -> u64 {
        let Self {
            shape,
            payload_bytes,
            ..
        } = self;
        let to_one = if shape.is_paired { 1 } else { shape.publishers };
        let message_bytes = payload_bytes + HEAD_BYTES;
        let room = (UNDER_WAY_BYTES_MAX / (to_one * message_bytes)) as u64;
        match self.writes {
            Writes::Batched | Writes::Single => shape.window.min(room),
            Writes::OneByOne => 1,
            Writes::Paced(_) => u64::MAX,
        }
    }

    /// What a subscriber subscribes to.
    pub(crate) fn filter(&self, subscriber: usize) -> String {
        let several = if self.topics == 1 { "" } else { "/+" };
        if self.shape.is_paired {
            format!("bench/{subscriber:03}{several}")
        } else if self.shape.publishers == 1 {
            format!("bench/000{several}")
        } else {
            format!("bench/+{several}")
        }
    }

    /// A publisher's PUBLISH, and where in it its identifier is. If it has several topics, then
    /// the last three bytes before that are the digits that make the difference.
    pub(crate) fn template(&self, publisher: usize) -> (Vec<u8>, usize) {
        let several = if self.topics == 1 { "" } else { "/000" };
        let mut body = text(&format!("bench/{publisher:03}{several}"));
        let identifier = body.len();
        if self.qos > 0 {
            body.extend([0; 2]);
        }
        if self.version == Version::V5 {
            let properties = self.properties();
            body.push(u8::try_from(properties.len()).unwrap_or(u8::MAX));
            body.extend(properties);
        }
        body.resize(body.len() + self.payload_bytes, 0);
        let bytes = packet(0x30 | self.qos << 1, &body);
        let identifier = identifier + bytes.len() - body.len();
        (bytes, identifier)
    }

    fn properties(&self) -> Vec<u8> {
        let mut properties = Vec::new();
        if self.has_properties {
            properties.push(0x08);
            properties.extend(text("bench/answer"));
            for (name, value) in [("site", "north"), ("line", "press-7"), ("unit", "celsius")] {
                properties.push(0x26);
                properties.extend(text(name));
                properties.extend(text(value));
            }
        }
        properties
    }
}

/// All that are measured in a saturated closed loop.
pub(crate) fn saturated() -> Vec<Scenario> {
    let all = |qos, payload_bytes| {
        let one = move |shape| Scenario::new(shape, qos, payload_bytes);
        SHAPES.into_iter().map(one)
    };
    let mut scenarios: Vec<_> = (0..=2).flat_map(|qos| all(qos, 16)).collect();
    scenarios.extend([256, 1024].into_iter().flat_map(|bytes| all(0, bytes)));
    scenarios.extend([256, 1024].map(|bytes| Scenario::new(PAIRS, 1, bytes)));
    for (qos, has_properties) in [(0, false), (0, true), (1, true), (2, true)] {
        scenarios.push(Scenario {
            version: Version::V5,
            has_properties,
            ..Scenario::new(PAIRS, qos, 16)
        });
    }
    scenarios.push(Scenario {
        topics: TOPICS,
        ..Scenario::new(PAIRS, 0, 16)
    });
    for (writes, qos) in [
        (Writes::Single, 0),
        (Writes::OneByOne, 0),
        (Writes::OneByOne, 1),
    ] {
        let shapes = [FAN_IN, FAN_OUT, PAIRS].into_iter();
        scenarios.extend(shapes.map(|shape| Scenario {
            writes,
            ..Scenario::new(shape, qos, 16)
        }));
    }
    scenarios
}

/// All that are measured at a fixed rate.
pub(crate) fn paced() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for qos in [0, 1] {
        for shape in [FAN_IN, PAIRS] {
            scenarios.extend([10_000, 50_000].map(|rate| Scenario {
                writes: Writes::Paced(rate),
                ..Scenario::new(shape, qos, 16)
            }));
        }
    }
    scenarios
}

/// A string as MQTT has it.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
