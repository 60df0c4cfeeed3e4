//! Numbered messages that cross a bridge at QoS 1 and 2 at once, while something happens to it.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, Repeats, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::{until, until_every};

/// How often counters are looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Publishers on one side of a bridge and subscribers on the other, one of each for each QoS.
pub(crate) struct Crossing {
    count: u64,
    publishers: Option<[Publisher; 2]>,
    subscribers: [Subscriber; 2],
}

impl Crossing {
    /// Subscribes at one port and begins to publish at another, below `line/1` and `line/2`.
    #[track_caller]
    pub(crate) fn start(from: u16, to: u16, count: u64, pause: Duration) -> Self {
        let mut crossing = Self::subscribe(to, count);
        crossing.publish(from, pause);
        crossing
    }

    /// Only subscribes.
    #[track_caller]
    pub(crate) fn subscribe(port: u16, count: u64) -> Self {
        Self::subscribe_with(port, count, [1, 2])
    }

    /// Only subscribes, with QoS 0.
    #[track_caller]
    pub(crate) fn watch(port: u16, count: u64) -> Self {
        Self::subscribe_with(port, count, [0, 0])
    }

    #[track_caller]
    fn subscribe_with(port: u16, count: u64, granted: [u8; 2]) -> Self {
        let subscribers = [(1, granted[0]), (2, granted[1])].map(|(qos, granted)| {
            let client_id = format!("subscriber-{qos}");
            Subscriber::start_with(port, &client_id, &format!("line/{qos}/#"), granted)
        });
        Self {
            count,
            publishers: None,
            subscribers,
        }
    }

    /// Begins to publish.
    pub(crate) fn publish(&mut self, port: u16, pause: Duration) {
        let publishers = [1, 2].map(|qos| {
            let stream = Stream::new(&format!("line/{qos}"), qos, self.count).paced(pause);
            Publisher::start(port, &format!("publisher-{qos}"), stream)
        });
        self.publishers = Some(publishers);
    }

    /// Waits until so many of each QoS are published.
    #[track_caller]
    pub(crate) fn wait_published(&self, count: u64) {
        for publisher in self.publishers.iter().flatten() {
            publisher.wait(count);
        }
    }

    /// How many are published of the QoS that has fewer and of the one that has more.
    pub(crate) fn published(&self) -> [u64; 2] {
        let mut done = [0; 2];
        for (done, publisher) in done.iter_mut().zip(self.publishers.iter().flatten()) {
            *done = publisher.done();
        }
        done.sort_unstable();
        done
    }

    /// Waits until so many more of each QoS have come.
    #[track_caller]
    pub(crate) fn wait_more(&self, count: usize) {
        let before = self.subscribers.each_ref().map(Subscriber::count);
        for (subscriber, before) in self.subscribers.iter().zip(before) {
            until("more comes", || subscriber.count() >= before + count);
        }
    }

    /// Waits until the subscribers have connected so often.
    #[track_caller]
    pub(crate) fn wait_connected(&self, times: usize) {
        for subscriber in &self.subscribers {
            until("it is subscribed", || subscriber.connections() >= times);
        }
    }

    /// The same; true as soon as all of a QoS are published.
    #[track_caller]
    pub(crate) fn wait_more_or_published(&self, count: usize) -> bool {
        let before = self.subscribers.each_ref().map(Subscriber::count);
        let mut is_published = false;
        until("more comes", || {
            let mut both = self.subscribers.iter().zip(before);
            let has_come = both.all(|(it, before)| it.count() >= before + count);
            is_published = self.published()[1] >= self.count;
            has_come || is_published
        });
        is_published
    }

    /// Kills a daemon on the way twice, and then checks what has come.
    #[track_caller]
    pub(crate) fn finish_over_kills(&self, daemon: &mut Daemon) {
        const KILLS: usize = 2;
        for _ in 0..KILLS {
            self.wait_more(300);
            daemon.kill();
            daemon.restart();
        }
        // The connection of the publisher or the subscriber is lost too.
        self.finish(2 * KILLS);
    }

    /// Waits until everything has come, and checks it: at QoS 1 a topic may go back once for each
    /// lost connection on the way, at QoS 2 never.
    #[track_caller]
    pub(crate) fn finish(&self, connections_max: usize) {
        let at_qos_1 = Repeats {
            steps_max: connections_max,
            messages_max: 4_096,
        };
        self.finish_with([at_qos_1, NO_REPEATS]);
        for subscriber in &self.subscribers {
            assert_eq!(subscriber.lost_sessions(), 0);
        }
    }

    /// Waits until the last messages have come, and checks for each QoS that none is missing and that
    /// no more than this is repeated.
    #[track_caller]
    pub(crate) fn finish_with(&self, allowed: [Repeats; 2]) {
        self.wait_published(self.count);
        for ((qos, subscriber), repeats) in (1..).zip(&self.subscribers).zip(allowed) {
            let what = format!("QoS {qos}");
            until_every(INTERVAL, &format!("the last of {what} has come"), || {
                // The numbers go round four topics.
                let last = self.count - 3..=self.count;
                last.rev()
                    .all(|number| subscriber.has(|it| it.number() == Some(number)))
            });
            let numbers = numbers(subscriber);
            assert_complete(&what, &numbers, 1..=self.count, repeats);
        }
    }
}

/// The numbers that came, with their topics.
pub(crate) fn numbers(subscriber: &Subscriber) -> Vec<(String, u64)> {
    let received = subscriber.received().into_iter();
    let numbers = received.map(|it| (it.number().unwrap(), it.topic));
    numbers.map(|(number, topic)| (topic, number)).collect()
}
