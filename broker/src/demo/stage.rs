//! Everything on stage: plant, edge, uplink, hub and those who watch.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Demo;
use super::broker::BrokerProcess;
use super::plant::{Plant, SOURCES};
use super::screen::{Moment, Screen};
use super::uplink::Uplink;
use super::watch::{Outbox, Watch};
use crate::folder::Folder;

/// Names of its temporary folders begin with this.
const FOLDER_PREFIX: &str = "tidegate-demo-";
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Many times what the store takes to commit, and more than one interval of `$SYS`.
const COMMIT_PAUSE: Duration = Duration::from_millis(500);
/// How long connecting may take, and how long nothing may move while the outbox drains.
const PATIENCE: Duration = Duration::from_secs(60);
/// The second level of the command's topic.
pub(super) const COMMANDED: &str = "boiler";

pub(super) struct Stage {
    pub(super) edge: BrokerProcess,
    _hub: BrokerProcess,
    pub(super) uplink: Uplink,
    pub(super) hub_watch: Watch,
    pub(super) edge_watch: Watch,
    pub(super) plant: Plant,
    pub(super) screen: Screen,
    started: Instant,
    /// Whether the command was published at the hub.
    is_commanded: bool,
    // Last, so that the processes are gone when their files go.
    _folder: Folder,
}

impl Stage {
    pub(super) async fn set(demo: &Demo) -> Result<Self, String> {
        let folder = Folder::create(&std::env::temp_dir(), FOLDER_PREFIX)
            .map_err(|error| format!("no temporary folder: {error}"))?;
        let plant = Plant::open(demo.rate).await?;
        let hub = BrokerProcess::start("hub", folder.path(), "").await?;
        let uplink = Uplink::open(hub.address())
            .await
            .map_err(|error| error.to_string())?;
        let configuration = format!(
            "{}\nsys_topics.interval = 200ms\nbridges.mqtt.hub {{\n  server = \"mqtt-tcp://{}\"\n  \
             backoff_max = 500ms\n  max_messages_per_second = {}\n  \
             forwards = [{{ local_topic = \"plant/#\" }}]\n  \
             subscription = [{{ remote_topic = \"cmd/#\" }}]\n}}\n",
            plant.configuration(),
            uplink.address(),
            demo.uplink_rate()
        );
        let edge = BrokerProcess::start("edge", folder.path(), &configuration).await?;
        let hub_watch = Watch::start(hub.address())?;
        let edge_watch = Watch::start(edge.address())?;
        let full = u64::from(demo.rate()) * demo.act().as_secs();
        let stage = Self {
            edge,
            _hub: hub,
            uplink,
            hub_watch,
            edge_watch,
            plant,
            screen: Screen::new(full),
            started: Instant::now(),
            is_commanded: false,
            _folder: folder,
        };
        stage.wait_connected().await?;
        Ok(stage)
    }

    /// Waits until a reading of every source, and a command, have come through.
    async fn wait_connected(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for source in SOURCES {
            let has_begun = |watch: &Watch| watch.arrived(source).has_begun;
            while !has_begun(&self.hub_watch) || !has_begun(&self.edge_watch) {
                if Instant::now() > deadline {
                    return Err(format!("no reading from {source} reaches the hub"));
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        while !self.edge_watch.arrived(COMMANDED).has_begun {
            if Instant::now() > deadline {
                return Err("no command reaches the edge".to_owned());
            }
            self.publish_command(0).await?;
            sleep(PROBE_PAUSE).await;
        }
        self.wait_edge_says().await
    }

    /// Waits until the edge has said how its bridge is. Then it has all our subscriptions.
    pub(super) async fn wait_edge_says(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.edge_watch.bridge().is_none() {
            if Instant::now() > deadline {
                return Err("the edge does not say how its bridge is".to_owned());
            }
            sleep(PROBE_PAUSE).await;
        }
        Ok(())
    }

    async fn publish_command(&self, number: u64) -> Result<(), String> {
        let payload = json!({ "number": number, "setpoint": 70 });
        let topic = format!("cmd/{COMMANDED}");
        self.hub_watch.publish(&topic, payload.to_string()).await
    }

    /// Publishes the command at the hub.
    pub(super) async fn command(&mut self) -> Result<(), String> {
        self.is_commanded = true;
        self.publish_command(1).await
    }

    /// Commands that were published, and of those the ones that have not arrived at the edge.
    pub(super) fn commands(&self) -> (u64, u64) {
        let sent = u64::from(self.is_commanded);
        (
            sent,
            sent - self.edge_watch.arrived(COMMANDED).count.min(sent),
        )
    }

    /// What waits, as the edge says it.
    pub(super) fn outbox(&self) -> Outbox {
        let bridge = self.edge_watch.bridge();
        bridge.map_or_else(Outbox::default, |it| it.outbox)
    }

    /// Readings of this source that have not arrived at the hub.
    pub(super) fn missing(&self, index: usize) -> u64 {
        let sent = self.plant.sent(index);
        sent.saturating_sub(self.hub_watch.arrived(SOURCES[index]).count)
    }

    /// Shows how everything is at this moment.
    fn show(&mut self) {
        let index = [0, 1, 2];
        let moment = Moment {
            elapsed: self.started.elapsed(),
            is_uplink_up: self.uplink.is_up(),
            bridge: self.edge_watch.bridge(),
            sources: index.map(|it| {
                let arrived = self.hub_watch.arrived(SOURCES[it]).count;
                (SOURCES[it], self.plant.sent(it), arrived)
            }),
            command: match self.commands() {
                (0, _) => "not sent yet",
                (_, 0) => "is at the edge",
                (_, _) => "waits at the hub",
            },
        };
        self.screen.show(&moment);
    }

    /// Shows it for so long.
    pub(super) async fn show_for(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            sleep(self.screen.pause()).await;
            self.show();
        }
    }

    /// Waits until the edge has taken in everything that was sent, has written it and says so.
    pub(super) async fn wait_taken(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        for (index, source) in SOURCES.iter().enumerate() {
            while self.edge_watch.arrived(source).count < self.plant.sent(index) {
                if Instant::now() > deadline {
                    return Err(format!("readings from {source} do not reach the edge"));
                }
                sleep(PROBE_PAUSE).await;
            }
        }
        self.show_for(COMMIT_PAUSE).await;
        Ok(())
    }

    /// Shows it until everything has arrived and nothing waits.
    pub(super) async fn show_drain(&mut self) -> Result<(), String> {
        let mut last = None;
        let mut deadline = Instant::now();
        loop {
            sleep(self.screen.pause()).await;
            self.show();
            let missing: u64 = (0..SOURCES.len()).map(|it| self.missing(it)).sum();
            let (_, commands_missing) = self.commands();
            let left = (missing, commands_missing, self.outbox().messages);
            if left == (0, 0, 0) {
                return Ok(());
            }
            if last != Some(left) {
                (last, deadline) = (Some(left), Instant::now() + PATIENCE);
            } else if Instant::now() > deadline {
                let (missing, commands, waiting) = left;
                return Err(format!(
                    "nothing moves: {missing} readings and {commands} commands are missing, and \
                     {waiting} messages wait"
                ));
            }
        }
    }
}
