//! What the daemon says when something is refused or ends.

use tests::client::{Ability, Message, Stage, Subscribe, Subscription};
use tests::wire::Version;

pub(super) fn a_filter_with_too_many_levels_is_refused(stage: &Stage) {
    let mut client = stage.connect("client");
    let filters = ["good/#".to_owned(), "a/".repeat(70), "good/too".to_owned()];
    let codes = client.try_subscribe(Subscribe {
        subscriptions: filters
            .map(|filter| Subscription {
                filter,
                qos: 1,
                ..Subscription::default()
            })
            .into(),
        identifier: None,
    });
    let is_5 = stage.version() == Version::V5;
    let refused = if is_5 { 0x8f } else { 0x80 };
    assert_eq!(codes, [1, refused, 1]);
    let message = Message::new("good/too", "x");
    client.publish(&message);
    client.expect(&message);
    client.leave();
}

pub(super) fn acknowledgements_say_what_became_of_a_message(stage: &Stage) {
    let mut client = stage.connect("client");
    client.subscribe("somebody/#", 2);
    // Success, no matching subscribers, not authorized.
    for (topic, code) in [("somebody/a", 0), ("nobody/a", 0x10), ("$SYS/x", 0x87)] {
        for qos in 1..=2 {
            let message = Message::new(topic, "x").qos(qos);
            let shown = client.publish(&message);
            if qos == 1 && stage.has(Ability::PubackReason) {
                assert_eq!(shown, Some(code), "{topic}");
            }
            if qos == 2 && stage.has(Ability::PubrecReason) {
                // A PUBREC that does not refuse is followed by a PUBCOMP.
                let expected = if code >= 0x80 { code } else { 0 };
                assert_eq!(shown, Some(expected), "{topic}");
            }
            if code == 0 {
                client.expect(&message);
            }
        }
    }
    client.leave();
}

pub(super) fn the_daemon_says_farewell(stage: &Stage) {
    let clients = [stage.connect("one"), stage.resume("other")];
    stage.stop_daemon();
    for client in clients {
        let shutting_down = (stage.version() == Version::V5).then_some(0x8b);
        assert_eq!(client.ended(), shutting_down);
    }
}
