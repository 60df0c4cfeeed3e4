//! Retained messages.

use tests::client::{Message, Stage};

pub(super) fn the_last_message_is_kept_until_it_is_cleared(stage: &Stage) {
    let (mut publisher, mut early) = (stage.connect("publisher"), stage.connect("early"));
    early.subscribe("r/#", 2);
    let old = [0, 1, 2].map(|qos| {
        Message::new(format!("r/{qos}"), "old")
            .qos(qos)
            .retain(true)
    });
    let new = [0, 1, 2].map(|qos| {
        Message::new(format!("r/{qos}"), "new")
            .qos(qos)
            .retain(true)
    });
    for message in old.iter().chain(&new) {
        publisher.publish(message);
        // Live messages do not carry the flag.
        early.expect(&message.clone().retain(false));
    }
    // What is not retained changes nothing.
    let passing = Message::new("r/0", "passing");
    publisher.publish(&passing);
    early.expect(&passing);
    for filter in ["r/#", "r/+"] {
        let mut late = stage.connect("late");
        late.subscribe(filter, 1);
        let mut found = [late.receive(), late.receive(), late.receive()];
        found.sort_by_key(|it| it.topic.clone());
        let expected = new.clone().map(|it| it.clone().qos(it.qos.min(1)));
        assert_eq!(found, expected);
        // With the flag again, as often as it subscribes.
        late.subscribe("r/2", 1);
        late.expect(&expected[2]);
        late.leave();
    }
    for message in new {
        let clear = Message::new(message.topic, "")
            .qos(message.qos)
            .retain(true);
        publisher.publish(&clear);
        early.expect(&clear.retain(false));
    }
    let mut last = stage.connect("last");
    last.subscribe("r/#", 2);
    let end = Message::new("r/end", "end");
    publisher.publish(&end);
    last.expect(&end);
    early.expect(&end);
    for client in [publisher, early, last] {
        client.leave();
    }
}
