//! What came of it, in figures.

use super::plant::SOURCES;
use super::screen::amount;
use super::stage::{COMMANDED, Stage};
use super::watch::{Arrived, Outbox, Spell};
use crate::terminal::{Ink, Terminal, grouped};

/// What the edge said of its outbox around the kill, and what came when the uplink was back.
pub(super) struct Findings {
    pub(super) before_kill: Outbox,
    pub(super) after_kill: Outbox,
    pub(super) drain: Option<Spell>,
}

/// Prints the verdict; an error if anything was lost, came out of order or still waits.
pub(super) fn pronounce(stage: &mut Stage, findings: &Findings) -> Result<(), String> {
    let most = stage.screen.most();
    let curve = stage.screen.curve();
    let mut lines =
        vec!["\n   source      sent  arrived   lost  repeated  out of order".to_owned()];
    let mut bad = 0;
    for (index, source) in SOURCES.iter().enumerate() {
        let arrived = stage.hub_watch.arrived(source);
        let lost = stage.missing(index);
        bad += lost + arrived.out_of_order;
        lines.push(row(source, stage.plant.sent(index), lost, arrived));
    }
    let (commands, lost) = stage.commands();
    bad += lost;
    let arrived = stage.edge_watch.arrived(COMMANDED);
    lines.push(row("command", commands, lost, arrived));
    let (before, after) = (findings.before_kill.messages, findings.after_kill.messages);
    lines.push(format!("\n   outbox, from the start on\n   {curve}\n"));
    lines.push(format!(
        "   most that waited    {}",
        amount(most).trim_start()
    ));
    lines.push(format!(
        "   around the SIGKILL  {} messages before, {} after",
        grouped(before),
        grouped(after)
    ));
    lines.push(format!(
        "   drained             {}",
        drained(findings.drain)
    ));
    lines.iter().for_each(|line| stage.screen.line(line));
    if bad > 0 {
        return Err("messages were lost or came out of order".to_owned());
    }
    let waiting = stage.outbox().messages;
    if most.messages == 0 || waiting > 0 {
        return Err(format!(
            "the outbox held at most {} messages, and holds {waiting}",
            most.messages
        ));
    }
    let verdict = "Nothing was lost, to neither the cut nor the kill.";
    stage.screen.title(&Terminal.inked(Ink::Green, verdict));
    Ok(())
}

fn row(name: &str, sent: u64, lost: u64, arrived: Arrived) -> String {
    format!(
        "   {name:<8} {:>7}  {:>7} {lost:>6}  {:>8}  {:>12}",
        grouped(sent),
        grouped(arrived.count),
        arrived.repeated,
        arrived.out_of_order
    )
}

fn drained(drain: Option<Spell>) -> String {
    let Some(drain) = drain else {
        return "nothing".to_owned();
    };
    let length = drain.length();
    let per_second = u128::from(drain.count) * 1_000 / length.as_millis().max(1);
    format!(
        "{} messages in {:.1} s, {}/s",
        grouped(drain.count),
        length.as_secs_f32(),
        grouped(u64::try_from(per_second).unwrap_or(u64::MAX))
    )
}
