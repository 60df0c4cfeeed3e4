//! Sessions over a restart of the daemon, and when many clients come at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use mqtt::{QoS, ReasonCode};
use persistence::{Options, Store};

use crate::exchange::tests::{
    attach, attach_with, claim, exchange, lose, message, qos, received, subscribe, will,
};
use crate::exchange::{Exchange, Refusal};
use crate::registry::Claim;

const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon dies, and another one begins with its store.
fn crash(exchange: &Exchange, directory: &std::path::Path) -> Exchange {
    exchange.store.close().unwrap();
    let (store, recovered) = Store::open(directory, Options::default()).unwrap();
    let next = self::exchange(store);
    for session in recovered.sessions {
        next.recover_session(session);
    }
    next.recover_wills(recovered.wills);
    next
}

/// The wills that a client is told, who is told too what has its identifier as the topic.
fn told(exchange: &Exchange, client_id: &str) -> Vec<String> {
    let link = attach(exchange, client_id, false, 60).link;
    let end = message(client_id, "end", QoS::AtLeastOnce, false);
    exchange.publish(end, None, Refusal::Silence).unwrap();
    let (start, mut wills) = (Instant::now(), Vec::new());
    while wills.pop_if(|last| last == "end").is_none() {
        assert!(start.elapsed() < PATIENCE, "{wills:?}");
        let found = received(exchange, &link).into_iter();
        wills.extend(found.map(|(payload, ..)| payload));
        std::thread::yield_now();
    }
    wills.sort();
    wills
}

#[test]
fn a_session_that_has_ended_takes_no_memory_although_publishers_still_know_it() {
    let exchange = exchange(Store::disabled());
    let large: &str = "x".repeat(100_000).leak();
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let link = attach(&exchange, "c", true, 60).link;
        subscribe(&exchange, &link, "t", qos(quality));
        for _ in 0..5 {
            let message = message("t", large, quality, false);
            exchange.publish(message, None, Refusal::Silence).unwrap();
        }
        assert!(exchange.memory.waiting() > 500_000);
        // Another one under its name.
        attach(&exchange, "c", true, 60);
        assert_eq!(exchange.memory.waiting(), 0);
        assert_eq!(link.lock().session.memory_bytes(), 0);
    }
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]; 3.1.1 [MQTT-3.1.2-8]
#[test]
fn a_crash_loses_no_will_of_a_durable_session() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let before = exchange(store);
    for watcher in ["first", "second"] {
        let link = attach(&before, watcher, false, 60).link;
        subscribe(&before, &link, "will", qos(QoS::AtLeastOnce));
        subscribe(&before, &link, watcher, qos(QoS::AtLeastOnce));
    }
    let connect = |client_id, clean, payload, delay| {
        attach_with(&before, client_id, clean, 60, Some(&will(payload, delay)))
    };
    connect("at once", true, "at once", 0);
    connect("away", true, "away", 60);
    connect("back", true, "back", 60);
    // The delay of this one runs already.
    lose(&before, connect("lost", true, "lost", 60));
    // Taken over: the session goes on, or ends; the crash comes before the earlier connection.
    connect("goes on", true, "goes on, before", 60);
    connect("goes on", false, "goes on", 0);
    connect("ends", true, "ends", 60);
    attach(&before, "ends", true, 60);
    // Deleted, published, and of a session that does not survive.
    let left = connect("left", true, "left", 0).will.unwrap();
    before.forget_will(&left);
    attach_with(&before, "none", true, 0, Some(&will("none", 0)));
    lose(&before, connect("published", true, "published", 0));

    let after = crash(&before, directory.path());
    let wills = ["at once", "ends", "goes on", "published"];
    assert_eq!(told(&after, "first"), wills);
    assert!(attach(&after, "back", false, 60).session_present);
    attach(&after, "lost", true, 60);
    let last = crash(&after, directory.path());
    // Nothing is repeated. What waited goes on waiting, unless its session has ended.
    assert_eq!(
        told(&last, "second"),
        [&wills[..3], &["lost"], &wills[3..]].concat()
    );
    let (store, recovered) = {
        last.store.close().unwrap();
        Store::open(directory.path(), Options::default()).unwrap()
    };
    let [away] = &recovered.wills[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!(away.will.message.payload, "away");
    assert!(away.due.is_some());
    store.close().unwrap();
}

#[test]
fn clients_that_come_at_once_begin_no_session_too_many() {
    const THREADS: usize = 8;
    const CLIENTS: usize = 500;
    let mut exchange = exchange(Store::disabled());
    exchange.bounds.sessions_max = CLIENTS + 1;
    attach(&exchange, "known", true, 60);
    let (barrier, admitted) = (Barrier::new(THREADS), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (exchange, barrier, admitted) = (&exchange, &barrier, &admitted);
            scope.spawn(move || {
                barrier.wait();
                let ids = (0..CLIENTS).map(|it| format!("{thread}/{it}"));
                let count = ids.filter(|it| exchange.admit(claim(it)).is_ok()).count();
                admitted.fetch_add(count, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(admitted.into_inner(), CLIENTS);
    assert_eq!(exchange.registry.links().len(), CLIENTS + 1);
    let refused = exchange.admit(claim("one too many"));
    assert_eq!(refused.map(|_| ()), Err(ReasonCode::QuotaExceeded));
    assert!(
        exchange
            .admit(claim("known"))
            .is_ok_and(|it| it.session_present)
    );
}

#[test]
fn a_session_that_expires_late_takes_no_other_one_with_it() {
    let exchange = exchange(Store::disabled());
    let old = attach(&exchange, "c", true, 60);
    let link = Arc::clone(&old.link);
    lose(&exchange, old);
    link.lock().expires_at = Some(exchange.now());
    let new = attach(&exchange, "c", false, 60);
    assert!(!new.session_present);
    // A sweep that has seen the old one just before.
    exchange.settle(&link, exchange.now());
    assert!(attach(&exchange, "c", false, 60).session_present);
}

#[test]
fn a_sweep_tells_when_the_next_connection_is_silent_for_too_long() {
    let exchange = exchange(Store::disabled());
    assert_eq!(exchange.sweep(), None);
    let attach = |client_id, keep_alive_millis| {
        exchange.attach(Claim {
            keep_alive_millis,
            ..claim(client_id)
        })
    };
    attach("promises nothing", None);
    assert_eq!(exchange.sweep(), None);
    attach("late", Some(90_000));
    let early = attach("early", Some(60_000));
    let begun = early.link.last_packet();
    assert_eq!(
        exchange.sweep(),
        Some(begun.after(Duration::from_millis(60_001)))
    );
}
