//! The story that the demonstration tells, act by act.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Demo;
use super::broker::BrokerProcess;
use super::hub::HubWatch;
use super::plant::{Plant, SOURCES};
use super::uplink::Uplink;
use crate::folder::Folder;
use crate::terminal::Terminal;

/// Names of its temporary folders begin with this.
const FOLDER_PREFIX: &str = "tidegate-demo-";
const LINE_PAUSE: Duration = Duration::from_millis(500);
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Many times what the store takes to commit.
const COMMIT_PAUSE: Duration = Duration::from_millis(250);
/// How long connecting, and emptying the outbox, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything on stage.
struct Stage {
    edge: BrokerProcess,
    _hub: BrokerProcess,
    uplink: Uplink,
    watch: HubWatch,
    edge_watch: HubWatch,
    plant: Plant,
    started: Instant,
    // Last, so that the processes are gone when their files go.
    _folder: Folder,
}

pub(super) async fn tell(demo: &Demo) -> Result<(), String> {
    Terminal.line("Tidegate demo: a plant speaks ZeroMQ, NNG and DDS to an edge Tidegate, which");
    Terminal.line("forwards every reading to a hub over an uplink. All of it runs on loopback.");
    Terminal.line("");
    let mut stage = Stage::set(demo).await?;
    let act = Duration::from_secs(demo.act_seconds.into());
    stage.plant.set_running(true);
    stage
        .act(
            "1  The uplink is up: readings arrive at the hub as they are taken.",
            act,
        )
        .await;
    stage.uplink.set_up(false);
    stage
        .act(
            "2  The uplink is cut: readings wait in the edge's store.",
            act,
        )
        .await;
    // What a brokerless peer sends while nobody listens is lost by its protocol, so the plant
    // rests while the edge is down.
    stage.plant.set_running(false);
    stage.wait_taken().await?;
    Terminal
        .line("\n3  The edge is killed with SIGKILL and started again; the uplink is still cut.");
    stage.edge.kill_and_restart().await?;
    stage.act_lines(LINE_PAUSE * 2).await;
    stage.uplink.set_up(true);
    stage
        .act("4  The uplink is back: the store drains, in order.", act)
        .await;
    stage.wait_drained().await?;
    stage.verdict()
}

impl Stage {
    async fn set(demo: &Demo) -> Result<Self, String> {
        let folder = Folder::create(&std::env::temp_dir(), FOLDER_PREFIX)
            .map_err(|error| format!("no temporary folder: {error}"))?;
        let plant = Plant::open(demo.rate).await?;
        let hub = BrokerProcess::start("hub", folder.path(), "").await?;
        let uplink = Uplink::open(hub.address())
            .await
            .map_err(|error| error.to_string())?;
        let configuration = format!(
            "{}\nbridges.mqtt.hub {{\n  server = \"mqtt-tcp://{}\"\n  backoff_max = 500ms\n  \
             forwards = [{{ local_topic = \"plant/#\" }}]\n}}\n",
            plant.configuration(),
            uplink.address()
        );
        let edge = BrokerProcess::start("edge", folder.path(), &configuration).await?;
        let watch = HubWatch::start(hub.address())?;
        let edge_watch = HubWatch::start(edge.address())?;
        let started = Instant::now();
        let stage = Self {
            edge,
            _hub: hub,
            uplink,
            watch,
            edge_watch,
            plant,
            started,
            _folder: folder,
        };
        stage.wait_connected().await?;
        Ok(stage)
    }

    /// Waits until a reading of every source has come through.
    async fn wait_connected(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for source in SOURCES {
            let nothing = |watch: &HubWatch| watch.arrived(source).numbers.is_empty();
            while nothing(&self.watch) || nothing(&self.edge_watch) {
                if Instant::now() > deadline {
                    return Err(format!("no reading from {source} reaches the hub"));
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn act(&self, title: &str, length: Duration) {
        Terminal.line(format!("\n{title}"));
        self.act_lines(length).await;
    }

    async fn act_lines(&self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            sleep(LINE_PAUSE).await;
            self.line();
        }
    }

    /// One line: what was sent, what has arrived, what waits.
    fn line(&self) {
        let mut line = format!("   {:5.1} s", self.started.elapsed().as_secs_f32());
        let mut waiting = 0;
        let mut last = String::new();
        for (index, source) in SOURCES.iter().enumerate() {
            let arrived = self.watch.arrived(source);
            let (sent, count) = (self.plant.sent(index), arrived.count());
            waiting += sent.saturating_sub(count);
            line += &format!("   {source} {count:>5} of {sent:<5}");
            if index == 0 {
                last = arrived.last;
            }
        }
        Terminal.line(format!("{line}   waiting {waiting:<5}  {last}"));
    }

    /// Waits until the edge has taken in everything that was sent, and written it.
    async fn wait_taken(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for (index, source) in SOURCES.iter().enumerate() {
            while self.edge_watch.arrived(source).count() < self.plant.sent(index) {
                if Instant::now() > deadline {
                    return Err(format!("readings from {source} do not reach the edge"));
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        sleep(COMMIT_PAUSE).await;
        Ok(())
    }

    async fn wait_drained(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while (0..SOURCES.len()).any(|index| self.missing(index) > 0) {
            if Instant::now() > deadline {
                self.line();
                return Err("readings are missing at the hub".to_owned());
            }
            sleep(PROBE_PAUSE).await;
        }
        Ok(())
    }

    /// Readings of this source that have not arrived at the hub.
    fn missing(&self, index: usize) -> u64 {
        self.plant
            .sent(index)
            .saturating_sub(self.watch.arrived(SOURCES[index]).count())
    }

    fn verdict(&self) -> Result<(), String> {
        Terminal.line("\n   source    sent  arrived   lost  repeated  out of order");
        let mut bad = 0;
        for (index, source) in SOURCES.iter().enumerate() {
            let arrived = self.watch.arrived(source);
            let (sent, lost) = (self.plant.sent(index), self.missing(index));
            bad += lost + arrived.out_of_order;
            Terminal.line(format!(
                "   {source:<6} {sent:>7}  {:>7} {lost:>6}  {:>8}  {:>12}",
                arrived.count(),
                arrived.repeated,
                arrived.out_of_order
            ));
        }
        if bad > 0 {
            return Err("readings were lost or came out of order".to_owned());
        }
        Terminal.line("\nNothing was lost: neither to the cut uplink nor to the kill.");
        Ok(())
    }
}
