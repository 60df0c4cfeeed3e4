//! Shared subscriptions.

use tests::client::{Client, Message, Stage};

const COUNT: usize = 100;
const FILTER: &str = "$share/group/shared/#";

/// The messages before this one.
#[track_caller]
fn before(client: &mut Client<'_>, end: &Message) -> Vec<Message> {
    let messages = std::iter::repeat_with(|| client.receive());
    messages.take_while(|it| it != end).collect()
}

fn number(message: &Message) -> usize {
    str::from_utf8(&message.payload.0).unwrap().parse().unwrap()
}

pub(super) fn each_message_goes_to_one_member(stage: &Stage) {
    let mut publisher = stage.connect("publisher");
    let kept = Message::new("shared/kept", "x").retain(true);
    publisher.publish(&kept);
    let mut members = [stage.connect("one"), stage.connect("other")];
    for member in &mut members {
        // Retained messages are not sent because of it.
        member.subscribe(FILTER, 1);
        member.subscribe("end", 1);
    }
    let mut outsider = stage.connect("outsider");
    outsider.subscribe("shared/+", 2);
    outsider.expect(&kept);
    for qos in 0..=2 {
        let messages = (0..COUNT).map(|number| Message::new("shared/a", number.to_string()));
        let messages: Vec<_> = messages.map(|it| it.qos(qos)).collect();
        publisher.publish_all(&messages);
        outsider.expect_all(&messages);
        let end = Message::new("end", "").qos(qos.min(1));
        publisher.publish(&end);
        let found = members.each_mut().map(|member| before(member, &end));
        let counts = found.each_ref().map(Vec::len);
        assert!(counts.iter().all(|it| *it > 0), "{counts:?}");
        assert!(
            found.iter().all(|it| it.is_sorted_by_key(number)),
            "{found:?}"
        );
        let mut all = found.concat();
        all.sort_by_key(number);
        let expected = messages.into_iter().map(|it| it.qos(qos.min(1)));
        assert_eq!(all, expected.collect::<Vec<_>>());
    }
    // Who leaves the group has no share any longer.
    let [mut one, mut other] = members;
    one.unsubscribe(FILTER);
    let messages = (0..COUNT).map(|number| Message::new("shared/b", number.to_string()));
    let messages: Vec<_> = messages.collect();
    publisher.publish_all(&messages);
    other.expect_all(&messages);
    outsider.expect_all(&messages);
    for client in [publisher, one, other, outsider] {
        client.leave();
    }
}
