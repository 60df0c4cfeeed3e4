//! What a run has shown, for people and for programs.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use super::course::{Attendance, Course};
use super::histogram::Histogram;
use super::plan::Load;
use super::tally::Tally;
use crate::cli::words;
use crate::terminal::grouped;

/// The shares of 1,000 values that are told, by their names.
const SHARES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];
const MICRO: f64 = 1e3;

/// The outcome of a run.
pub(super) struct Report {
    command: &'static str,
    clients: u32,
    attendance: Attendance,
    tally: Tally,
    /// Seconds from the first to the last message; where there are publishers, of the load.
    seconds: f64,
    /// Seconds until the last client was connected.
    connecting: f64,
    /// Seconds of processor time of this process.
    cpu: f64,
    /// Deliveries that did not come, if they were awaited.
    missing: Option<u64>,
    publishes: bool,
    is_acknowledged: bool,
    subscribes: bool,
}

impl Report {
    pub(super) fn new(course: &Course) -> Self {
        let (plan, tally, attendance) = (&course.plan, course.total(), course.attendance());
        let missing = plan.has_round_trips().then(|| {
            let expected = tally.counts.published * u64::from(plan.deliveries());
            expected.saturating_sub(tally.counts.received)
        });
        let command = match plan.load {
            Load::Connections => "conn",
            Load::Publish(_) => "pub",
            Load::Subscribe(_) => "sub",
            Load::RoundTrips { .. } => "rtt",
        };
        let (mut first, mut last) = tally.span.unwrap_or_default();
        if plan.publishing().is_some() {
            // A broker that takes nothing for a while is not fast.
            first = course.load_began_at();
            last = last.max(course.finish_began_at());
        }
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            command,
            clients: plan.total(),
            seconds: seconds(last.saturating_sub(first)),
            connecting: seconds(attendance.connected_at.saturating_sub(course.began_at)),
            cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            missing,
            publishes: plan.publishing().is_some(),
            is_acknowledged: plan.publishing().is_some_and(|it| it.qos.is_acknowledged()),
            subscribes: matches!(plan.load, Load::Subscribe(_)) || missing.is_some(),
            attendance,
            tally,
        }
    }

    /// Whether everybody could do what they should, or why not.
    pub(super) fn outcome(&self) -> Result<(), String> {
        let it = &self.attendance;
        if let Some((explanation, _)) = it.faults.iter().max_by_key(|(_, count)| **count) {
            let (broken, clients) = (it.failed + it.lost, self.clients);
            return Err(match it.connected {
                0 => explanation.clone(),
                _ => format!("{broken} of {clients} clients: {explanation}"),
            });
        }
        if let Some(reason) = &self.tally.refusal {
            let refused = self.tally.counts.refused;
            return Err(format!(
                "{refused} messages were refused: {}",
                words(reason)
            ));
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Value {
        let (it, counts) = (&self.attendance, self.tally.counts);
        json!({
            "command": self.command,
            "clients": self.clients,
            "connected": it.connected,
            "failed": it.failed,
            "lost": it.lost,
            "faults": it.faults,
            "connecting_seconds": self.connecting,
            "connected_per_second": rate(it.connected.into(), self.connecting),
            "connect_us": times(&self.tally.connect),
            "seconds": self.seconds,
            "published": counts.published,
            "published_per_second": rate(counts.published, self.seconds),
            "acknowledged": counts.acknowledged,
            "refused": counts.refused,
            "acknowledgement_us": times(&self.tally.acknowledgement),
            "received": counts.received,
            "received_bytes": counts.received_bytes,
            "received_per_second": rate(counts.received, self.seconds),
            "missing": self.missing,
            "delivery_us": times(&self.tally.delivery),
            "cpu_seconds": self.cpu,
        })
    }

    pub(super) fn to_lines(&self) -> impl Iterator<Item = String> {
        let (it, counts) = (&self.attendance, self.tally.counts);
        let mut rows = vec![(
            "clients",
            format!(
                "{} connected in {:.2} s ({}/s), {} failed, {} lost",
                grouped(it.connected.into()),
                self.connecting,
                per_second(it.connected.into(), self.connecting),
                grouped(it.failed.into()),
                grouped(it.lost.into()),
            ),
        )];
        let moved = |count: u64| {
            let rate = per_second(count, self.seconds);
            format!("{} in {:.2} s ({rate}/s)", grouped(count), self.seconds)
        };
        if self.publishes {
            rows.push(("published", moved(counts.published)));
        }
        if self.is_acknowledged {
            let (yes, no) = (grouped(counts.acknowledged), grouped(counts.refused));
            rows.push(("acknowledged", format!("{yes}, {no} refused")));
        }
        if self.subscribes {
            rows.push(("received", moved(counts.received)));
        }
        if let Some(missing) = self.missing {
            rows.push(("missing", grouped(missing)));
        }
        let latencies = [
            ("until CONNACK", &self.tally.connect),
            ("until acknowledged", &self.tally.acknowledgement),
            ("until delivered", &self.tally.delivery),
        ];
        let latencies = latencies.into_iter().filter(|(_, it)| it.count() > 0);
        rows.extend(latencies.map(|(name, it)| (name, percentiles(it))));
        rows.push(("processor here", self.processor()));
        let faults = it.faults.iter();
        rows.extend(faults.map(|(it, count)| ("fault", format!("{} x {it}", grouped(*count)))));
        rows.into_iter()
            .map(|(name, text)| format!("{name:<20}{text}"))
    }

    /// What this process itself has used, so that one can see whether it is what was measured.
    fn processor(&self) -> String {
        let messages = self.tally.counts.published + self.tally.counts.received;
        if messages == 0 {
            return format!("{:.2} s", self.cpu);
        }
        let each = self.cpu * 1e6 / messages as f64;
        format!("{:.2} s, {each:.2} us for each message", self.cpu)
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// How many in a second; 0 if no time has passed.
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

fn per_second(count: u64, seconds: f64) -> String {
    grouped(rate(count, seconds).round() as u64)
}

/// Microseconds.
fn times(histogram: &Histogram) -> Value {
    if histogram.count() == 0 {
        return Value::Null;
    }
    let micros = |nanos: u64| nanos as f64 / MICRO;
    let shares = SHARES.map(|(name, share)| {
        (
            name.replace('.', ""),
            micros(histogram.permille(share)).into(),
        )
    });
    let mut times: Map<String, Value> = shares.into_iter().collect();
    times.insert("max".to_owned(), micros(histogram.max()).into());
    times.insert("mean".to_owned(), micros(histogram.mean()).into());
    times.insert("count".to_owned(), histogram.count().into());
    Value::Object(times)
}

fn percentiles(histogram: &Histogram) -> String {
    let shares = SHARES.map(|(name, share)| format!("{name} {}", time(histogram.permille(share))));
    format!("{}, max {}", shares.join(", "), time(histogram.max()))
}

/// A time in a unit that suits it.
fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        ..1e6 => format!("{:.0} us", nanos / 1e3),
        ..1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        let times = [0, 999_400, 1_000_000, 12_345_678, 2_500_000_000].map(time);
        assert_eq!(times, ["0 us", "999 us", "1.00 ms", "12.35 ms", "2.50 s"]);
        assert_eq!(per_second(5, 0.0), "0");
    }
}
