//! The story that the demonstration tells, act by act.

use std::time::Duration;

use super::Demo;
use super::stage::Stage;
use super::verdict::{Findings, pronounce};
use crate::terminal::Terminal;
use crate::terminal::grouped;

/// How long the edge is dead, and how long it is back while the uplink is still cut.
const DEATH: Duration = Duration::from_secs(1);

pub(super) async fn tell(demo: &Demo) -> Result<(), String> {
    Terminal.line("Tidegate demo: a plant speaks ZeroMQ, NNG and DDS to an");
    Terminal.line("edge Tidegate, which forwards every reading to a hub over");
    Terminal.line("an uplink. All of it runs on loopback. How much waits in");
    Terminal.line("the outbox is what the edge says of its bridge, in $SYS.");
    let mut stage = Stage::set(demo).await?;
    stage.plant.set_running(true);
    stage
        .screen
        .title("1  The uplink is up: readings arrive at the hub as they are taken.");
    stage.show_for(demo.act()).await;

    stage.uplink.set_up(false);
    stage
        .screen
        .title("2  The uplink is cut: readings wait in the edge's outbox, a command at the hub.");
    stage.command().await?;
    stage.show_for(demo.act()).await;
    // What a brokerless peer sends while nobody listens is lost by its protocol, so the plant
    // rests while the edge is down.
    stage.plant.set_running(false);
    stage.wait_taken().await?;
    let before_kill = stage.outbox();

    stage
        .screen
        .title("3  The edge is killed with SIGKILL, and started again without its uplink.");
    stage.edge.kill().await?;
    stage.show_for(DEATH).await;
    stage.edge.start_again().await?;
    stage.wait_edge_says().await?;
    stage.show_for(DEATH).await;
    let after_kill = stage.outbox();

    stage.hub_watch.take_spell();
    stage.uplink.set_up(true);
    stage.screen.title(&title_of_drain(demo.uplink_rate()));
    stage.show_drain().await?;
    let drain = stage.hub_watch.take_spell();
    let findings = Findings {
        before_kill,
        after_kill,
        drain,
    };
    pronounce(&mut stage, &findings)
}

fn title_of_drain(uplink_rate: u32) -> String {
    let mut title = "4  The uplink is back: the outbox drains in order".to_owned();
    if uplink_rate > 0 {
        let rate = grouped(uplink_rate.into());
        title += &format!(
            ", first a second's worth of max_messages_per_second = {rate}, then at that rate"
        );
    }
    title + "."
}
