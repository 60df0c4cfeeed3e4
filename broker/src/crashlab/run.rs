//! One run: clients, a broker that dies again and again, and what came of it.

use std::path::Path;
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

use mqtt::packet::Packet;
use mqtt::{Message, ProtocolVersion, QoS, TopicName};
use persistence::{CrashPoint, Durability};

use super::connection::{broken, decode, put_publish};
use super::disk::Disk;
use super::history::{Consumer, Delivery, History, Publication};
use super::lab::{Lab, Random, Stage};
use super::process::BrokerProcess;
use super::publisher::Publisher;
use super::report::Report;
use super::subscriber::{Presence, Subscriber};
use crate::terminal::Terminal;

const POLL_PAUSE: Duration = Duration::from_millis(10);
/// How long sessions may take to be made, and everything to be acknowledged or delivered at the
/// end.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the store may take to come to a named point.
const POINT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Commits up to a named point.
const COMMITS: u64 = 40;
/// Of the kills at random moments one of so many is amid the start.
const EARLY_EVERY: u64 = 5;
/// The time between two rounds of last messages.
const END_INTERVAL: Duration = Duration::from_secs(1);
const SILENT_ANSWER: Duration = Duration::from_secs(10);
/// With `normal` durability what is acknowledged is synced within a second; this much longer may
/// it take on a busy machine.
const UNSYNCED_MAX: Duration = Duration::from_secs(1);
const UNSYNCED_SLACK: Duration = Duration::from_secs(1);

const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;
const PUBLISHERS: [(ProtocolVersion, QoS); 4] = [
    (V311, QoS::AtLeastOnce),
    (V5, QoS::AtLeastOnce),
    (V311, QoS::ExactlyOnce),
    (V5, QoS::ExactlyOnce),
];
const ALL: &str = "data/#";
const SHARED: &str = "$share/group/data/#";
const KEPT: &str = "data/+/kept/#";
const SUBSCRIBERS: [(&str, ProtocolVersion, QoS, &str, Presence); 6] = [
    ("at-least-once", V5, QoS::AtLeastOnce, ALL, Presence::Always),
    (
        "exactly-once",
        V311,
        QoS::ExactlyOnce,
        ALL,
        Presence::Always,
    ),
    (
        "exactly-once-5",
        V5,
        QoS::ExactlyOnce,
        ALL,
        Presence::Always,
    ),
    ("late", V311, QoS::AtLeastOnce, ALL, Presence::Late),
    ("member-1", V5, QoS::AtLeastOnce, SHARED, Presence::Always),
    ("member-2", V311, QoS::AtLeastOnce, SHARED, Presence::Always),
];
/// The subscribers before these have each message on their own.
const MEMBERS_FROM: usize = 4;

/// What is to be done.
pub(super) struct Plan {
    pub(super) durability: Durability,
    pub(super) kills: u32,
    pub(super) seconds: u64,
    pub(super) seed: u64,
    /// The power is cut in place of kills.
    pub(super) is_power_cut: bool,
}

/// How often the broker has died, and how it came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) random_kills: u32,
    pub(super) point_kills: u32,
    pub(super) power_cuts: u32,
    pub(super) restarts: Vec<Duration>,
    /// For each life, when its power was cut.
    cuts: Vec<Option<Duration>>,
}

impl Tally {
    const fn deaths(&self) -> u32 {
        self.random_kills + self.point_kills + self.power_cuts
    }
}

/// How the broker dies next.
enum Strike {
    /// So long after its start, ready or not.
    Early(Duration),
    /// So long after it was ready.
    Random(Duration),
    /// By itself, at a place in the store.
    Point(String),
    /// As by a power cut, so long after it was ready.
    Cut(Duration),
}

/// Runs a plan in a folder that is there for it.
pub(super) fn run(
    plan: &Plan,
    folder: &Path,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Report, String> {
    let mut random = Random::new(plan.seed);
    let disk = match plan.is_power_cut {
        true => Some(Disk::create(folder)?),
        false => None,
    };
    let data = disk.as_ref().map_or(folder, Disk::path);
    let broker = BrokerProcess::new(folder, data, plan.durability, &mut random)?;
    let is_durable = plan.durability != Durability::Memory;
    let lab = Lab::new(broker.address, is_durable);
    let mut conductor = Conductor {
        plan,
        lab: &lab,
        broker,
        disk,
        random,
        tally: Tally::default(),
        is_stopped,
    };
    let history = conductor.conduct()?;
    let mut faults = lab.take_faults();
    faults.extend(conductor.broker.errors());
    Ok(Report {
        durability: plan.durability,
        seed: plan.seed,
        time: lab.elapsed(),
        tally: conductor.tally,
        verdict: history.judge(),
        faults,
    })
}

struct Conductor<'r> {
    plan: &'r Plan,
    lab: &'r Lab,
    // Before the disk, so that it has ended when the disk goes.
    broker: BrokerProcess,
    disk: Option<Disk>,
    random: Random,
    tally: Tally,
    is_stopped: &'r dyn Fn() -> bool,
}

impl Conductor<'_> {
    /// Starts the clients, torments the broker, and collects what happened.
    fn conduct(&mut self) -> Result<History, String> {
        let lab = self.lab;
        let randoms = PUBLISHERS.map(|_| Random::new(self.random.below(u64::MAX)));
        scope(|scope| {
            let publishers = PUBLISHERS.into_iter().zip(randoms).enumerate();
            let publishers = publishers.map(|(index, ((version, qos), random))| {
                let publisher = Publisher::new(lab, index, version, qos, random);
                scope.spawn(|| publisher.run())
            });
            let publishers = publishers.collect();
            let subscribers = SUBSCRIBERS.map(|(client_id, version, qos, filter, presence)| {
                let subscriber = Subscriber::new(lab, client_id, version, qos, filter, presence);
                scope.spawn(|| subscriber.run())
            });
            let history = self.stages(publishers, subscribers.into());
            // Whatever has failed, the clients must not wait for more.
            lab.enter(Stage::Stop);
            history
        })
    }

    fn stages(
        &mut self,
        publishers: Vec<ScopedJoinHandle<'_, Vec<Publication>>>,
        subscribers: Vec<ScopedJoinHandle<'_, Vec<Delivery>>>,
    ) -> Result<History, String> {
        self.start(None)?;
        self.broker.wait_ready()?;
        let clients = PUBLISHERS.len() + SUBSCRIBERS.len();
        let lab = self.lab;
        self.wait("sessions", || lab.ready() == clients)?;
        if self.plan.is_power_cut {
            // Sessions that are not synced may be lost, and all later messages with them.
            self.rest(UNSYNCED_MAX + UNSYNCED_SLACK)?;
        }
        lab.enter(Stage::Publish);
        self.torment()?;
        lab.enter(Stage::Finish);
        self.wait("acknowledgements", || {
            publishers.iter().all(ScopedJoinHandle::is_finished)
        })?;
        lab.enter(Stage::Drain);
        // A session that is not durable may be made only now, so once is not enough.
        let begun = Instant::now();
        while !subscribers.iter().all(ScopedJoinHandle::is_finished) {
            self.publish_ends()
                .map_err(|error| format!("the last messages: {error}"))?;
            let next = Instant::now() + END_INTERVAL;
            let is_over = || begun.elapsed() < PATIENCE && Instant::now() >= next;
            self.wait("deliveries", || {
                is_over() || subscribers.iter().all(ScopedJoinHandle::is_finished)
            })?;
        }
        let (publishers, logs) = (join(publishers)?, join(subscribers)?);
        let mut history = History {
            publishers,
            consumers: consumers(logs),
            retained: Vec::new(),
            cuts: self.tally.cuts.clone(),
            unsynced_max: (self.plan.durability == Durability::Normal)
                .then_some(UNSYNCED_MAX + UNSYNCED_SLACK),
        };
        let presence = Presence::Retained(history.retained_topics());
        let reader = Subscriber::new(lab, "retained", V5, QoS::AtLeastOnce, KEPT, presence);
        history.retained = reader.run();
        Ok(history)
    }

    /// Ends and starts the broker again and again; it runs at the end.
    fn torment(&mut self) -> Result<(), String> {
        let end = self.lab.elapsed() + Duration::from_secs(self.plan.seconds);
        let mut strike = self.choose();
        while matches!(strike, Strike::Point(_)) {
            // It takes effect with a start.
            strike = self.choose();
        }
        loop {
            self.perform(&strike)?;
            self.show_progress();
            let is_over = self.tally.deaths() >= self.plan.kills || self.lab.elapsed() >= end;
            strike = self.choose();
            let crash_at = match &strike {
                Strike::Point(point) if !is_over => Some(point.as_str()),
                Strike::Point(_) | Strike::Early(_) | Strike::Random(_) | Strike::Cut(_) => None,
            };
            self.start(crash_at)?;
            if is_over || !matches!(strike, Strike::Early(_)) {
                let restart = self.broker.wait_ready()?;
                self.tally.restarts.extend(restart);
            }
            if is_over {
                return Ok(());
            }
        }
    }

    fn choose(&mut self) -> Strike {
        let random = &mut self.random;
        if self.plan.is_power_cut {
            // What is older than a second has to come into play where the rest may be lost.
            let longest = match self.plan.durability {
                Durability::Normal => 6_000,
                Durability::Memory | Durability::Full => 2_500,
            };
            return Strike::Cut(random.millis(300, longest));
        }
        let is_point = self.plan.durability != Durability::Memory && self.tally.deaths() % 2 == 1;
        if is_point {
            let places: Vec<_> = CrashPoint::places().collect();
            let index = self.tally.deaths() as usize / 2 % places.len();
            let place = places[index];
            // Syncs are rare with `normal`, and several commits in a row everywhere.
            let passes = match place {
                "before_sync" | "after_sync" if self.plan.durability == Durability::Normal => {
                    1 + random.below(2)
                }
                _ => 1 + random.below(COMMITS),
            };
            return Strike::Point(format!("{place}:{passes}"));
        }
        if random.below(EARLY_EVERY) == 0 {
            return Strike::Early(random.millis(0, 100));
        }
        Strike::Random(random.millis(10, 500))
    }

    fn perform(&mut self, strike: &Strike) -> Result<(), String> {
        match strike {
            Strike::Early(after) | Strike::Random(after) => {
                self.rest(*after)?;
                self.tally.random_kills += 1;
            }
            Strike::Point(_) => {
                let deadline = Instant::now() + POINT_TIMEOUT;
                while Instant::now() < deadline && !self.broker.has_ended()? {
                    self.rest(POLL_PAUSE)?;
                }
                match self.broker.has_ended()? {
                    true => self.tally.point_kills += 1,
                    false => self.tally.random_kills += 1,
                }
            }
            Strike::Cut(after) => {
                self.rest(*after)?;
                self.cut()?;
                self.tally.power_cuts += 1;
            }
        }
        self.broker.kill();
        Ok(())
    }

    /// Cuts the power.
    fn cut(&mut self) -> Result<(), String> {
        self.broker.freeze()?;
        let now = self.lab.elapsed();
        if let Some(cut) = self.tally.cuts.last_mut() {
            *cut = Some(now);
        }
        let disk = self.disk.as_ref().ok_or("there is no disk")?;
        disk.copy()?;
        self.broker.kill();
        disk.replace()
    }

    fn start(&mut self, crash_at: Option<&str>) -> Result<(), String> {
        self.lab.begin_life();
        self.tally.cuts.push(None);
        self.broker.start(crash_at)
    }

    /// Lets time pass.
    fn rest(&self, time: Duration) -> Result<(), String> {
        sleep(time);
        match (self.is_stopped)() {
            true => Err("interrupted".to_owned()),
            false => Ok(()),
        }
    }

    /// Waits for something that happens while the broker runs.
    fn wait(&mut self, what: &str, is_there: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !is_there() {
            if self.broker.has_ended()? {
                return Err("somebody else has killed the broker".to_owned());
            }
            if Instant::now() > deadline {
                let faults = self.lab.take_faults().join("; ");
                return Err(format!("{what} do not come; {faults}"));
            }
            self.rest(POLL_PAUSE)?;
        }
        Ok(())
    }

    /// Publishes the message with which each subscriber's queue ends.
    fn publish_ends(&self) -> std::io::Result<()> {
        let Some((mut connection, _)) = self.lab.connect(V5, "end") else {
            return Ok(());
        };
        for (packet_id, (client_id, ..)) in (1..).zip(SUBSCRIBERS) {
            let topic = TopicName::new(&Subscriber::end_topic(client_id)).map_err(broken)?;
            let message = Message {
                qos: QoS::AtLeastOnce,
                ..Message::new(topic, "end")
            };
            let mut out = Vec::new();
            put_publish(&mut out, V5, &message, packet_id, false);
            connection.send(&out)?;
            let answer = connection.receive(SILENT_ANSWER)?.unwrap_or_default();
            let Packet::Ack(_) = decode(&answer, V5)? else {
                return Err(broken("no PUBACK"));
            };
        }
        connection.disconnect();
        Ok(())
    }

    fn show_progress(&self) {
        Terminal.progress(format_args!(
            "{}: {} of {} deaths, {} s of {} s, {} messages acknowledged",
            self.plan.durability,
            self.tally.deaths(),
            self.plan.kills,
            self.lab.elapsed().as_secs(),
            self.plan.seconds,
            self.lab.acknowledged(),
        ));
    }
}

fn join<T>(threads: Vec<ScopedJoinHandle<'_, T>>) -> Result<Vec<T>, String> {
    let ends = threads.into_iter().map(ScopedJoinHandle::join);
    let ends: Result<_, _> = ends.collect();
    ends.map_err(|_| "a client has panicked".to_owned())
}

/// The logs of those who share messages belong together.
fn consumers(logs: Vec<Vec<Delivery>>) -> Vec<Consumer> {
    let mut consumers: Vec<Consumer> = Vec::new();
    for (index, (log, (name, ..))) in logs.into_iter().zip(SUBSCRIBERS).enumerate() {
        match consumers.last_mut() {
            Some(group) if index > MEMBERS_FROM => group.logs.push(log),
            _ => consumers.push(Consumer {
                name,
                logs: vec![log],
            }),
        }
    }
    consumers
}
