//! What the demonstration shows: on a terminal a picture that is drawn again and again, elsewhere
//! lines.

use std::time::Duration;

use super::trend::Curve;
use super::watch::{BridgeReport, Outbox};
use crate::terminal::{Ink, Terminal, grouped};

/// Columns of a narrow terminal, less one: all lines of the picture fit.
const COLUMNS_MAX: usize = 59;
const BAR_WIDTH: u64 = 26;
const CURVE_WIDTH: usize = 46;
/// What lines begin with in the picture, and behind a title's first.
const MARGIN: &str = "   ";
const LABEL_WIDTH: usize = 12;

/// Where the story is told.
pub(super) struct Screen {
    is_live: bool,
    /// Lines of the picture, which stands at the end.
    drawn: usize,
    curve: Curve,
    /// The most that has waited.
    most: Outbox,
    /// What is expected to wait at most.
    full: u64,
}

/// How everything is at a moment.
pub(super) struct Moment {
    pub(super) elapsed: Duration,
    pub(super) is_uplink_up: bool,
    /// What the edge says; none while it is not there.
    pub(super) bridge: Option<BridgeReport>,
    /// Name, sent and arrived at the hub of each source.
    pub(super) sources: [(&'static str, u64, u64); 3],
    pub(super) command: &'static str,
}

impl Screen {
    /// `full` messages in the outbox fill the bar, unless more has waited.
    pub(super) fn new(full: u64) -> Self {
        Self {
            is_live: Terminal.is_live(),
            drawn: 0,
            curve: Curve::default(),
            most: Outbox::default(),
            full,
        }
    }

    /// Between two moments that are shown.
    pub(super) const fn pause(&self) -> Duration {
        Duration::from_millis(if self.is_live { 100 } else { 500 })
    }

    /// The most that has waited.
    pub(super) const fn most(&self) -> Outbox {
        self.most
    }

    /// How the outbox was from the beginning on.
    pub(super) fn curve(&self) -> String {
        self.curve.draw(CURVE_WIDTH, self.top())
    }

    /// What fills the bar.
    fn top(&self) -> u64 {
        self.full.max(self.most.messages)
    }

    /// Prints a line that stays.
    pub(super) fn line(&mut self, text: &str) {
        self.drawn = 0;
        Terminal.line(text);
    }

    pub(super) fn title(&mut self, text: &str) {
        self.line("");
        for line in folded(text) {
            self.line(&Terminal.inked(Ink::Bold, &line));
        }
    }

    /// Shows a moment in place of that before, if no line was printed in between.
    pub(super) fn show(&mut self, moment: &Moment) {
        if let Some(bridge) = &moment.bridge {
            if bridge.outbox.messages > self.most.messages {
                self.most = bridge.outbox;
            }
            self.curve.enter(bridge.outbox.messages);
        }
        if self.is_live {
            let lines = self.picture(moment);
            Terminal.redraw(self.drawn, &lines);
            self.drawn = lines.len();
        } else {
            Terminal.line(plain(moment));
        }
    }

    fn picture(&self, moment: &Moment) -> Vec<String> {
        let uplink = if moment.is_uplink_up {
            Terminal.inked(Ink::Green, "up ")
        } else {
            Terminal.inked(Ink::Red, "cut")
        };
        let state = match &moment.bridge {
            None => Terminal.inked(Ink::Red, "the edge is dead"),
            Some(it) if it.is_up() => {
                let rate = grouped(it.rate().unsigned_abs());
                format!("{}, {rate}/s to the hub", Terminal.inked(Ink::Green, "up"))
            }
            Some(it) => Terminal.inked(Ink::Red, &cut(&format!("down: {}", cause(&it.state)))),
        };
        let (outbox, amount) = match &moment.bridge {
            None => (
                Terminal.inked(Ink::Dim, "on the disk of the edge"),
                String::new(),
            ),
            Some(it) => {
                let bar = self.bar(it.outbox.messages, it.is_up());
                let amount = format!("{}  {}", amount(it.outbox), age(it.outbox.oldest));
                (format!("{bar}  {}", growth(it.growth())), amount)
            }
        };
        let seconds = moment.elapsed.as_secs_f32();
        let curve = Terminal.inked(Ink::Dim, &self.curve());
        let sent = moment.sources.map(|(name, sent, _)| (name, sent));
        let arrived = moment.sources.map(|(name, _, arrived)| (name, arrived));
        vec![
            format!("   uplink   {uplink}    {seconds:5.1} s"),
            format!("   bridge   {state}"),
            format!("   outbox   {outbox}"),
            format!("            {amount}"),
            format!("            {curve}"),
            format!("   sent     {}", counts(sent)),
            format!("   at hub   {}", counts(arrived)),
            format!("   command  {}", moment.command),
        ]
    }

    /// The outbox as a bar in eighths of a character.
    fn bar(&self, messages: u64, is_draining: bool) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let full = self.top().max(1);
        let eighths = (messages * BAR_WIDTH * 8).div_ceil(full).min(BAR_WIDTH * 8);
        let part = PARTS[usize::try_from(eighths % 8).unwrap_or_default()];
        let whole = usize::try_from(eighths / 8).unwrap_or_default();
        let filled = "█".repeat(whole) + part;
        let left = usize::try_from(BAR_WIDTH - eighths.div_ceil(8)).unwrap_or_default();
        let ink = if is_draining { Ink::Green } else { Ink::Yellow };
        let rest = Terminal.inked(Ink::Dim, &"·".repeat(left));
        Terminal.inked(ink, &filled) + &rest
    }
}

/// Messages and bytes, as people read them.
pub(super) fn amount(outbox: Outbox) -> String {
    let bytes = match outbox.bytes {
        bytes @ 0..1_000 => format!("{bytes} B"),
        bytes @ 1_000..10_000_000 => format!("{} kB", grouped(bytes / 1_000)),
        bytes => format!("{} MB", grouped(bytes / 1_000_000)),
    };
    format!("{:>7} messages {bytes:>8}", grouped(outbox.messages))
}

/// The last part of a state, which says why.
fn cause(state: &str) -> &str {
    state.rsplit_once(": ").map_or(state, |(_, cause)| cause)
}

/// How long the oldest message waits; nothing if none does.
fn age(seconds: u64) -> String {
    match seconds {
        0 => String::new(),
        _ => format!("oldest {} s", grouped(seconds)),
    }
}

fn growth(per_second: i64) -> String {
    let sign = match per_second {
        ..0 => "-",
        0 => " ",
        1.. => "+",
    };
    format!(
        "{:>7}/s",
        sign.to_owned() + &grouped(per_second.unsigned_abs())
    )
}

/// A text in lines that fit, cut between words. All but the first have a margin.
fn folded(text: &str) -> Vec<String> {
    let mut words = text.split(' ');
    let mut lines = vec![words.next().unwrap_or_default().to_owned()];
    for word in words {
        let columns = |text: &str| text.chars().count();
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= COLUMNS_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{MARGIN}{word}")),
        }
    }
    lines
}

/// As much of a text as fits behind a label.
fn cut(text: &str) -> String {
    let columns_max = COLUMNS_MAX - LABEL_WIDTH;
    if text.chars().count() <= columns_max {
        return text.to_owned();
    }
    let kept = text.chars().take(columns_max - 1);
    kept.chain(['…']).collect()
}

/// A count of each source.
fn counts(counts: [(&str, u64); 3]) -> String {
    let counts = counts.map(|(name, count)| format!("{name} {:>7}", grouped(count)));
    counts.join("   ")
}

fn sources(moment: &Moment) -> String {
    let sources = moment.sources.map(|(name, sent, arrived)| {
        let (arrived, sent) = (grouped(arrived), grouped(sent));
        format!("{name} {arrived:>6} of {sent:<6}")
    });
    sources.join("  ")
}

/// One line: the outbox, what was sent, what has arrived, and the bridge with its reason.
fn plain(moment: &Moment) -> String {
    let seconds = moment.elapsed.as_secs_f32();
    let uplink = if moment.is_uplink_up { "up " } else { "cut" };
    let (outbox, state) = match &moment.bridge {
        Some(it) => {
            let outbox = format!("{}  {}", amount(it.outbox), growth(it.growth()));
            (outbox, it.state.as_str())
        }
        None => (format!("{:>36}", "?"), "the edge is dead"),
    };
    format!(
        "   {seconds:5.1} s  uplink {uplink}  outbox {outbox}   {}  command {}  bridge {state}",
        sources(moment),
        moment.command
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without what makes it stand out.
    fn visible(line: &str) -> String {
        let mut parts = line.split("\x1b[");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
    }

    fn moment(bridge: Option<(&str, u64, u64)>) -> Moment {
        let report = |(state, messages, bytes): (&str, u64, u64)| {
            let mut report = BridgeReport::default();
            report.state = state.to_owned();
            report.outbox = Outbox {
                messages,
                bytes,
                oldest: 98_765,
            };
            report
        };
        Moment {
            elapsed: Duration::from_millis(123_456),
            is_uplink_up: false,
            bridge: bridge.map(report),
            sources: ["zmq", "nng", "dds"].map(|it| (it, 60_000, 59_999)),
            command: "waits at the hub",
        }
    }

    #[test]
    fn the_picture_keeps_its_height_and_fits_60_columns() {
        let mut screen = Screen::new(180_000);
        let down = "down: not connected to mqtt-tcp://127.0.0.1:35253: the server closed it";
        let long = "down: the hub closed the connection, 3 times in a row soon after it";
        let height = screen.picture(&moment(None)).len();
        for bridge in [
            None,
            Some((down, 180_000, 9_999_999)),
            Some((long, 180_000, 9_999_999)),
            Some(("up", 0, 0)),
            Some(("up", 1, 999)),
        ] {
            screen.most.messages = 180_000;
            let lines = screen.picture(&moment(bridge));
            assert_eq!(lines.len(), height);
            for line in lines.iter().map(|it| visible(it)) {
                assert!(line.chars().count() < 60, "{line}");
            }
        }
        (0..1_000).for_each(|it| screen.curve.enter(it));
        let curve = &screen.picture(&moment(None))[4];
        assert_eq!(visible(curve).chars().count(), 58);
        let lines = screen.picture(&moment(Some((down, 0, 0))));
        assert_eq!(visible(&lines[1]), "   bridge   down: the server closed it");
    }

    #[test]
    fn titles_are_folded_between_words() {
        let text = "4  The uplink is back: the outbox drains in order, first a second's worth of \
                    max_messages_per_second = 10,000, then at that rate.";
        let lines = folded(text);
        let expected = [
            "4  The uplink is back: the outbox drains in order, first a",
            "   second's worth of max_messages_per_second = 10,000, then",
            "   at that rate.",
        ];
        assert_eq!(lines, expected);
        assert!(lines.iter().all(|it| it.chars().count() < 60));
        assert_eq!(folded("short"), ["short"]);
    }

    #[test]
    fn the_bar_is_full_when_the_most_waits() {
        let mut screen = Screen::new(80);
        let filled = |screen: &Screen, messages| {
            let bar = visible(&screen.bar(messages, false));
            assert_eq!(bar.chars().count(), 26);
            bar.chars().filter(|it| *it != '·').count()
        };
        assert_eq!([0, 1, 40, 80].map(|it| filled(&screen, it)), [0, 1, 13, 26]);
        screen.most.messages = 160;
        assert_eq!([80, 160].map(|it| filled(&screen, it)), [13, 26]);
    }
}
