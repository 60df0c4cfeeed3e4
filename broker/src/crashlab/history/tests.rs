//! Made-up histories: each kind of broken promise is found, and nothing else is.

use super::*;

/// A topic of one publisher has every third number that is not divisible by 8.
const NUMBERS: [u64; 4] = [1, 4, 7, 10];
const RETAINED: u64 = 8;
/// The next number of the same retained topic.
const RETAINED_AGAIN: u64 = 8 + 8 * 200;

fn moment(life: usize, millis: u64) -> Moment {
    let at = Duration::from_millis(millis);
    Moment { life, at }
}

fn delivery(number: u64, qos: QoS) -> Delivery {
    let publisher = 0;
    Delivery {
        message: Some(Id { publisher, number }),
        qos,
        dup: false,
        is_mistaken: false,
        is_retained: false,
        packet_id: 1,
        connection: 1,
        at: moment(0, 100),
        settled_at: None,
    }
}

/// The same again on the next connection.
fn again(first: Delivery) -> Delivery {
    Delivery {
        dup: true,
        connection: first.connection + 1,
        at: moment(1, 200),
        ..first
    }
}

/// So many messages that were sent once and acknowledged.
fn published(count: u64) -> Vec<Publication> {
    let publication = Publication {
        sends: 1,
        acknowledged: Some(moment(0, 50)),
    };
    vec![publication; usize::try_from(count).unwrap()]
}

/// One publisher of messages up to number 10 of which only those in [`NUMBERS`] were sent, and one
/// subscriber.
fn history(log: Vec<Delivery>) -> History {
    let mut publications = published(10);
    for (number, publication) in (1..).zip(&mut publications) {
        if !NUMBERS.contains(&number) {
            *publication = Publication::default();
        }
    }
    History {
        publishers: vec![publications],
        consumers: vec![Consumer {
            name: "subscriber",
            logs: vec![log],
        }],
        ..History::default()
    }
}

fn delivered(qos: QoS) -> Vec<Delivery> {
    NUMBERS.map(|it| delivery(it, qos)).to_vec()
}

/// The verdict without what was counted only, and without words.
fn broken(history: &History) -> Verdict {
    Verdict {
        sent: 0,
        acknowledged: 0,
        delivered: 0,
        findings: Vec::new(),
        ..history.judge()
    }
}

#[test]
fn what_was_acknowledged_and_came_once_in_its_order_is_right() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let verdict = history(delivered(qos)).judge();
        let counts = (verdict.sent, verdict.acknowledged, verdict.delivered);
        assert_eq!(counts, (4, 4, 4));
        assert_eq!(broken(&history(delivered(qos))), Verdict::default());
        assert_eq!(verdict.findings, [] as [&str; 0]);
    }
}

#[test]
fn what_was_acknowledged_and_did_not_come_is_lost() {
    let mut history = history(delivered(QoS::AtLeastOnce));
    history.consumers[0].logs[0].remove(1);
    let lost = Verdict {
        lost: 1,
        ..Verdict::default()
    };
    assert_eq!(broken(&history), lost);
    assert!(history.judge().findings[0].contains("number: 4"));
    history.publishers[0][3].acknowledged = None;
    assert_eq!(broken(&history), Verdict::default(), "nobody was told");
}

#[test]
fn a_shared_subscription_loses_what_none_of_its_members_got() {
    let mut history = history(delivered(QoS::AtLeastOnce));
    let second = history.consumers[0].logs[0].split_off(2);
    history.consumers[0].logs.push(second);
    assert_eq!(broken(&history), Verdict::default());
    let lost = history.consumers[0].logs[1].pop().unwrap();
    assert_eq!(broken(&history).lost, 1);
    history.consumers[0].logs[0].insert(0, lost);
    assert_eq!(broken(&history), Verdict::default(), "a group has no order");
    history.consumers[0].logs[1].push(lost);
    let twice = Verdict {
        duplicated: 1,
        ..Verdict::default()
    };
    assert_eq!(broken(&history), twice, "two members have it");
}

#[test]
fn at_qos_2_every_repeat_is_one_too_many() {
    let mut history = history(delivered(QoS::ExactlyOnce));
    history.publishers[0][0].sends = 2;
    let repeat = again(history.consumers[0].logs[0][0]);
    history.consumers[0].logs[0].insert(1, repeat);
    let duplicated = Verdict {
        duplicated: 1,
        ..Verdict::default()
    };
    assert_eq!(broken(&history), duplicated);
}

#[test]
fn at_qos_1_a_repeat_needs_a_reason() {
    let first = delivery(1, QoS::AtLeastOnce);
    let needed = again(first);
    let duplicated = |first, repeat| {
        let mut log = delivered(QoS::AtLeastOnce);
        log.splice(..1, [first, repeat]);
        broken(&history(log)).duplicated
    };
    assert_eq!(duplicated(first, needed), 0, "a crash came in between");
    let same_connection = Delivery {
        connection: first.connection,
        ..needed
    };
    assert_eq!(duplicated(first, same_connection), 1);
    let not_flagged = Delivery {
        dup: false,
        ..needed
    };
    assert_eq!(duplicated(first, not_flagged), 1);
    let other_identifier = Delivery {
        packet_id: 2,
        ..needed
    };
    assert_eq!(duplicated(first, other_identifier), 1);
    let settled = |millis| Delivery {
        settled_at: Some(Duration::from_millis(millis)),
        ..first
    };
    assert_eq!(duplicated(settled(150), needed), 1, "it knew better");
    assert_eq!(duplicated(settled(250), needed), 0, "it learned it later");
}

#[test]
fn at_qos_1_what_is_published_twice_may_come_twice() {
    let mut history = history(delivered(QoS::AtLeastOnce));
    let first = history.consumers[0].logs[0][0];
    let other = Delivery {
        packet_id: 2,
        ..first
    };
    history.consumers[0].logs[0].insert(1, other);
    assert_eq!(broken(&history).duplicated, 1);
    history.publishers[0][0].sends = 2;
    assert_eq!(broken(&history), Verdict::default());
}

#[test]
fn what_comes_behind_a_later_one_is_reordered_unless_it_is_a_repeat() {
    let mut history = history(delivered(QoS::AtLeastOnce));
    let log = &mut history.consumers[0].logs[0];
    log.push(again(log[1]));
    assert_eq!(broken(&history), Verdict::default());
    history.consumers[0].logs[0].swap(0, 2);
    let reordered = Verdict {
        reordered: 2,
        ..Verdict::default()
    };
    assert_eq!(broken(&history), reordered, "numbers 4 and 1 behind 7");
}

#[test]
fn topics_have_no_order_among_each_other() {
    let log = [2, 1].map(|it| delivery(it, QoS::AtLeastOnce)).to_vec();
    let mut history = history(log);
    history.publishers[0] = published(2);
    assert_eq!(broken(&history), Verdict::default());
}

#[test]
fn what_nobody_sent_is_a_phantom() {
    let phantom = Verdict {
        phantom: 1,
        ..Verdict::default()
    };
    let made_up = Delivery {
        message: None,
        ..delivery(1, QoS::AtLeastOnce)
    };
    // Number 2 is known and was never sent, number 99 is not known.
    for delivery in [2, 99]
        .map(|it| delivery(it, QoS::AtLeastOnce))
        .into_iter()
        .chain([made_up])
    {
        let mut history = history(delivered(QoS::AtLeastOnce));
        history.consumers[0].logs[0].push(delivery);
        assert_eq!(broken(&history), phantom);
    }
}

#[test]
fn a_message_under_the_identifier_of_another_is_mistaken_and_not_lost() {
    let mut history = history(delivered(QoS::ExactlyOnce));
    history.consumers[0].logs[0][2].is_mistaken = true;
    let mistaken = Verdict {
        mistaken: 1,
        ..Verdict::default()
    };
    assert_eq!(broken(&history), mistaken);
}

/// Two messages to one retained topic, both acknowledged, and this one retained at the end.
fn retained(number: Option<u64>) -> History {
    let mut publications = published(RETAINED_AGAIN);
    for (number, publication) in (1..).zip(&mut publications) {
        if ![RETAINED, RETAINED_AGAIN].contains(&number) {
            *publication = Publication::default();
        }
    }
    let retained = number.map(|number| Delivery {
        is_retained: true,
        ..delivery(number, QoS::AtLeastOnce)
    });
    History {
        publishers: vec![publications],
        retained: retained.into_iter().collect(),
        ..History::default()
    }
}

#[test]
fn the_last_acknowledged_message_is_retained_or_a_later_one() {
    let wrong = Verdict {
        retained_wrong: 1,
        ..Verdict::default()
    };
    assert_eq!(broken(&retained(Some(RETAINED_AGAIN))), Verdict::default());
    assert_eq!(broken(&retained(Some(RETAINED))), wrong, "an older one");
    assert_eq!(broken(&retained(None)), wrong, "none");
    let last = usize::try_from(RETAINED_AGAIN).unwrap() - 1;
    for number in [RETAINED, RETAINED_AGAIN] {
        let mut history = retained(Some(number));
        history.publishers[0][last].acknowledged = None;
        assert_eq!(broken(&history), Verdict::default(), "it may be either");
    }
    let mut twice = retained(Some(RETAINED_AGAIN));
    twice.retained.push(twice.retained[0]);
    assert_eq!(broken(&twice), wrong, "a topic has one");
}

/// The power was cut in the first life.
fn cut(mut history: History, millis: u64) -> History {
    history.cuts = vec![Some(Duration::from_millis(millis)), None];
    history.unsynced_max = Some(Duration::from_millis(1_000));
    history
}

#[test]
fn a_power_cut_may_take_the_last_second_but_makes_no_hole() {
    let log = |count| {
        delivered(QoS::AtLeastOnce)
            .into_iter()
            .take(count)
            .collect()
    };
    let unsynced = Verdict {
        lost_unsynced: 2,
        unsynced_age_max: Duration::from_millis(950),
        ..Verdict::default()
    };
    let lost = Verdict {
        lost: 2,
        ..Verdict::default()
    };
    assert_eq!(broken(&cut(history(log(2)), 1_000)), unsynced);
    assert_eq!(broken(&cut(history(log(2)), 1_051)), lost, "it was older");
    let mut full = cut(history(log(2)), 1_000);
    full.unsynced_max = None;
    assert_eq!(broken(&full), lost, "that level has no last second");

    let mut hole = cut(history(delivered(QoS::AtLeastOnce)), 1_000);
    hole.consumers[0].logs[0].remove(1);
    assert_eq!(broken(&hole).lost, 0, "the rest came before the cut");
    hole.consumers[0].logs[0][2].at = moment(1, 2_000);
    assert_eq!(broken(&hole).lost, 1, "a later one was there after the cut");
}

#[test]
fn a_power_cut_may_repeat_what_came_in_the_last_second() {
    let mut log = delivered(QoS::ExactlyOnce);
    log.push(again(log[0]));
    assert_eq!(
        broken(&cut(history(log.clone()), 1_000)),
        Verdict::default()
    );
    assert_eq!(broken(&cut(history(log), 1_101)).duplicated, 1);
}

#[test]
fn a_message_is_recognised_whole() {
    let id = Id {
        publisher: 3,
        number: 61,
    };
    let message = id.message(QoS::AtLeastOnce).unwrap();
    let topic = message.topic.as_str();
    assert_eq!(Id::of(topic, &message.payload), Some(id));
    assert_eq!(Id::of("data/3/plain/0", &message.payload), None);
    let shorter = &message.payload[1..];
    assert_eq!(Id::of(topic, shorter), None);
    assert_eq!(Id::of(topic, b"3 61"), None);
    assert_eq!(Id::of(topic, b""), None);
}
