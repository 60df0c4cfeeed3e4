//! What outlives a connection: sessions and wills.

use tests::client::{Message, Stage};
use tests::wire::Version;

pub(super) fn a_will_follows_an_unclean_end_only(stage: &Stage) {
    let mut heir = stage.connect("heir");
    heir.subscribe("will/#", 2);
    for qos in 0..=2 {
        let will = Message::new("will/orderly", "wrong").qos(qos);
        stage.connect_with_will("orderly", will).leave();
        let will = Message::new(format!("will/lost/{qos}"), "right").qos(qos);
        drop(stage.connect_with_will("lost", will.clone()));
        heir.expect(&will);
    }
    let will = Message::new("will/kept", "right").retain(true);
    drop(stage.connect_with_will("lost", will.clone()));
    heir.expect(&will.clone().retain(false));
    let mut late = stage.connect("late");
    // Those before were not to be retained.
    late.subscribe("will/#", 1);
    late.expect(&will);
    late.leave();
    heir.leave();
}

pub(super) fn a_session_waits_for_its_client(stage: &Stage) {
    const COUNT: usize = 50;
    let mut publisher = stage.connect("publisher");
    let mut first = stage.resume("durable");
    assert!(!first.session_present);
    first.subscribe_all(&["d/+", "d/+/#"], 2);
    first.leave();
    // MQTT 3.1 does not say it.
    let is_said = stage.version() != Version::V31;
    for qos in 1..=2 {
        let messages: Vec<_> = (0..COUNT)
            .map(|number| Message::new(format!("d/{}", number % 3), number.to_string()).qos(qos))
            .collect();
        publisher.publish_all(&messages);
        let mut again = stage.resume("durable");
        assert_eq!(again.session_present, is_said);
        again.expect_all(&messages);
        // The subscriptions are there without being made again.
        let live = Message::new("d/live", "x").qos(qos);
        publisher.publish(&live);
        again.expect(&live);
        again.leave();
    }
    // Those of QoS 2 may come later, because clients hold them back until they are released.
    let mixed: Vec<_> = (0..COUNT)
        .map(|number| Message::new("d/a", number.to_string()).qos(1 + u8::from(number % 2 == 1)))
        .collect();
    publisher.publish_all(&mixed);
    let mut last = stage.resume("durable");
    assert_eq!(last.session_present, is_said);
    let mut found: Vec<_> = mixed.iter().map(|_| last.receive()).collect();
    found.sort_by_key(|it| it.qos);
    let mut expected = mixed;
    expected.sort_by_key(|it| it.qos);
    assert_eq!(found, expected);
    last.leave();
    publisher.leave();
}

pub(super) fn a_clean_start_ends_a_session(stage: &Stage) {
    let mut publisher = stage.connect("publisher");
    let mut first = stage.resume("forgotten");
    first.subscribe("forgotten/#", 1);
    first.leave();
    publisher.publish(&Message::new("forgotten/a", "nobody gets this"));
    stage.connect("forgotten").leave();
    publisher.publish(&Message::new("forgotten/a", "nor this"));
    let mut again = stage.resume("forgotten");
    assert!(!again.session_present);
    again.subscribe("forgotten/end", 1);
    let end = Message::new("forgotten/end", "end");
    publisher.publish(&end);
    again.expect(&end);
    again.leave();
    publisher.leave();
}

pub(super) fn a_second_connection_takes_the_session_over(stage: &Stage) {
    let mut publisher = stage.connect("publisher");
    let mut first = stage.resume("same");
    first.subscribe("same/#", 1);
    let message = Message::new("same/a", "1");
    publisher.publish(&message);
    first.expect(&message);
    let mut second = stage.resume("same");
    assert_eq!(second.session_present, stage.version() != Version::V31);
    let taken_over = (stage.version() == Version::V5).then_some(0x8e);
    assert_eq!(first.ended(), taken_over);
    let message = Message::new("same/a", "2");
    publisher.publish(&message);
    second.expect(&message);
    second.leave();
    publisher.leave();
}
