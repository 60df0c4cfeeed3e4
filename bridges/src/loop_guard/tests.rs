use std::sync::atomic::AtomicBool;

use super::*;

fn guard(id: &str) -> LoopGuard {
    LoopGuard::new(BrokerId::new(id).unwrap(), 7, Guarding::Always)
}

fn published(guard: &LoopGuard) -> ForwardedProperties {
    let nothing = ForwardedProperties::default();
    guard.admit(&nothing, false).unwrap().properties
}

#[test]
fn a_message_is_taken_once_in_a_ring() {
    let [a, b, c] = ["a", "b", "c"].map(guard);
    let sent = published(&a);
    assert_eq!(sent.user_property("x-origin"), Some("a"));
    assert_eq!(sent.user_property("x-origin-seq"), Some("a:7:1"));
    let at_b = b.admit(&sent, true).unwrap().properties;
    assert_eq!(at_b.user_property("x-origin"), Some("a,b"));
    assert_eq!(at_b.user_property("x-origin-seq"), Some("a:7:1"));
    // By both ways, whichever is the faster.
    let at_c = c.admit(&at_b, true).unwrap().properties;
    assert_eq!(c.admit(&sent, true), Err(Repetition::Seen));
    assert_eq!(b.admit(&at_c, true), Err(Repetition::Returned));
    assert_eq!(a.admit(&at_c, true), Err(Repetition::Returned));
    // The next one is another.
    assert!(b.admit(&published(&a), true).is_ok());
}

#[test]
fn what_was_not_taken_may_come_again() {
    let [a, b] = ["a", "b"].map(guard);
    let sent = published(&a);
    let stamp = b.admit(&sent, true).unwrap().stamp.unwrap();
    assert_eq!(b.admit(&sent, true), Err(Repetition::Seen));
    b.forget(&stamp);
    assert!(b.admit(&sent, true).is_ok());
}

#[test]
fn what_clients_write_has_no_meaning() {
    let [a, b] = ["a", "b"].map(guard);
    let forged = ForwardedProperties::from_properties([
        Property::UserProperty("x-origin", "b"),
        Property::ContentType("text"),
        Property::UserProperty("x-origin-seq", "a:7:9"),
    ]);
    for number in 1..3 {
        let admitted = a.admit(&forged, false).unwrap();
        assert_eq!(admitted.stamp, None);
        let sent = admitted.properties;
        assert_eq!(sent.user_property("x-origin"), Some("a"));
        let name = format!("a:7:{number}");
        assert_eq!(sent.user_property("x-origin-seq"), Some(&*name));
        assert_eq!(sent.content_type(), Some("text"));
        assert_eq!(sent.iter().count(), 3);
        assert!(b.admit(&sent, true).is_ok());
    }
}

#[test]
fn what_a_bridge_brings_without_a_name_gets_one() {
    let [a, b] = ["a", "b"].map(guard);
    let nothing = ForwardedProperties::default();
    let admitted = a.admit(&nothing, true).unwrap();
    assert_eq!(admitted.stamp, None);
    let sent = admitted.properties;
    assert_eq!(sent.user_property("x-origin-seq"), Some("a:7:1"));
    assert!(b.admit(&sent, true).is_ok());
    // Renamed it is another message, but it has been there all the same.
    let renamed = without_stamp(&sent);
    assert!(b.admit(&renamed, true).is_ok());
    assert_eq!(a.admit(&renamed, true), Err(Repetition::Returned));
}

#[test]
fn the_guard_is_on_when_it_is_asked_for_and_allowed() {
    for (guarding, [before, met, asked]) in [
        (Guarding::Never, [false, false, false]),
        (Guarding::WhenAsked, [false, false, true]),
        (Guarding::WhenMet, [false, true, true]),
        (Guarding::Always, [true, true, true]),
    ] {
        let guard = LoopGuard::new(BrokerId::from_random(1), 1, guarding);
        assert_eq!(guard.is_on(), before);
        guard.meet(Announcement::Unguarded);
        assert_eq!(guard.is_on(), met);
        guard.meet(Announcement::Guarded);
        assert_eq!(guard.is_on(), asked);
        guard.meet(Announcement::Unguarded);
        assert_eq!(guard.is_on(), asked);
        guard.set_guarding(Guarding::Never);
        assert!(!guard.is_on());
        guard.set_guarding(Guarding::WhenAsked);
        assert!(guard.is_on(), "what had come is not forgotten");
    }
}

#[test]
fn a_copy_waits_until_the_first_is_taken_or_refused() {
    let [a, b] = ["a", "b"].map(guard);
    let sent = published(&a);
    let is_refused = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let turn = b.turn(&sent).unwrap();
        let stamp = b.admit(&sent, true).unwrap().stamp.unwrap();
        let copy = scope.spawn(|| {
            let _turn = b.turn(&sent).unwrap();
            (
                is_refused.load(Ordering::SeqCst),
                b.admit(&sent, true).is_ok(),
            )
        });
        std::thread::yield_now();
        is_refused.store(true, Ordering::SeqCst);
        b.forget(&stamp);
        drop(turn);
        assert_eq!(copy.join().unwrap(), (true, true));
    });
    assert!(b.turn(&ForwardedProperties::default()).is_none());
}

#[test]
fn what_a_restart_gives_back_is_not_taken() {
    let before = guard("a");
    let sent: Vec<_> = (0..10).map(|_| published(&before)).collect();
    let restarted = guard("b");
    // The first ten numbers but the third and the ninth.
    let run = "a:7".parse().unwrap();
    restarted.recover(&run, 0, &[0b1111_0110, 0b0000_0101]);
    for (number, sent) in (1..).zip(&sent) {
        let taken = restarted.admit(sent, true).is_ok();
        assert_eq!(taken, [3, 9].contains(&number), "{number}");
    }
}
