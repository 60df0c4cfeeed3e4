//! Bridges that subscribe at the hub to what clients subscribe to here.

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Publish, Version, WireClient};

/// A hub whose log has a line `edge 1 a/b` for a subscription and `edge a/b` for its end.
fn hub() -> Hub {
    Hub::start_with("log_type subscribe\nlog_type unsubscribe")
}

fn transparent(hub: &Hub, more: &str) -> String {
    let port = hub.port();
    format!(
        r#"
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  transparent = true
  {more}
}}
"#
    )
}

fn client(port: u16, client_id: &str, kept: Kept) -> WireClient {
    WireClient::connect(port, Version::V5, client_id, kept)
        .unwrap()
        .0
}

/// How often the bridge has sent this, which is a line of the log.
fn times(hub: &Hub, line: &str) -> usize {
    let end = format!(": edge {line}");
    hub.log().lines().filter(|it| it.ends_with(&end)).count()
}

#[track_caller]
fn until_sent(hub: &Hub, line: &str, count: usize) {
    until(&format!("`{line}` was sent {count} times"), || {
        times(hub, line) >= count
    });
}

/// Publishes at a broker.
#[track_caller]
fn publish(port: u16, topic: &str, payload: &[u8]) {
    let mut client = client(port, "publisher", Kept::Nothing);
    client.publish_acknowledged(topic, payload).unwrap();
    client.disconnect().unwrap();
}

#[track_caller]
fn receive(client: &mut WireClient) -> Publish {
    let publish = client.receive_publish().unwrap();
    if publish.identifier > 0 {
        client.acknowledge(publish.identifier).unwrap();
    }
    publish
}

fn payloads(subscriber: &Subscriber) -> Vec<Vec<u8>> {
    let received = subscriber.received().into_iter();
    received.map(|it| it.payload).collect()
}

#[test]
fn the_hub_has_the_filters_of_clients_while_they_have_them() {
    let mut hub = hub();
    hub.stop();
    let daemon = Daemon::start(&transparent(&hub, ""));
    let mut early = client(daemon.port(), "early", Kept::Nothing);
    early.subscribe("plant/+/cmd", 1).unwrap();
    early.subscribe("$own/topic", 0).unwrap();
    hub.resume();
    until_sent(&hub, "1 plant/+/cmd", 1);
    publish(hub.port(), "plant/7/cmd", b"start");
    let publish_of_hub = receive(&mut early);
    assert_eq!(publish_of_hub.topic, "plant/7/cmd");
    assert_eq!(publish_of_hub.payload, b"start");

    // Several have one filter, with different QoS and in groups.
    let mut late = client(daemon.port(), "late", Kept::Nothing);
    late.subscribe("late", 0).unwrap();
    until_sent(&hub, "0 late", 1);
    early.subscribe("$share/group/late", 2).unwrap();
    until_sent(&hub, "2 late", 1);
    publish(hub.port(), "late", b"1");
    assert_eq!(receive(&mut late).payload, b"1");
    assert_eq!(receive(&mut early).payload, b"1");
    drop(early);
    until_sent(&hub, "0 late", 2);
    until_sent(&hub, "plant/+/cmd", 1);
    assert_eq!(times(&hub, "late"), 0, "{}", hub.log());

    // The hub begins anew.
    hub.stop();
    hub.resume();
    until_sent(&hub, "0 late", 3);
    publish(hub.port(), "late", b"2");
    assert_eq!(receive(&mut late).payload, b"2");
    late.unsubscribe("late").unwrap();
    until_sent(&hub, "late", 1);
    assert!(!hub.log().contains("$own"), "{}", hub.log());
}

#[test]
fn after_a_crash_the_hub_loses_the_filters_of_those_who_are_gone() {
    let hub = hub();
    let mut daemon = Daemon::start(&transparent(&hub, ""));
    let mut passing = client(daemon.port(), "passing", Kept::Nothing);
    passing.subscribe("passing", 1).unwrap();
    let mut sleeper = client(daemon.port(), "sleeper", Kept::Session);
    sleeper.subscribe("sleeper/#", 1).unwrap();
    sleeper.disconnect().unwrap();
    until_sent(&hub, "1 passing", 1);
    until_sent(&hub, "1 sleeper/#", 1);
    // It is in the store when something later is.
    publish(daemon.port(), "anything", b"");
    daemon.kill();
    publish(hub.port(), "sleeper/a", b"while it was down");
    daemon.restart();
    until_sent(&hub, "passing", 1);
    until_sent(&hub, "1 sleeper/#", 2);
    assert_eq!(times(&hub, "sleeper/#"), 0, "{}", hub.log());
    publish(hub.port(), "sleeper/b", b"later");
    let mut sleeper = client(daemon.port(), "sleeper", Kept::Session);
    let received = [(); 2].map(|()| receive(&mut sleeper).payload);
    assert_eq!(received, [&b"while it was down"[..], b"later"]);
    sleeper.disconnect().unwrap();

    // A bridge that is not transparent any more takes back what it has mirrored.
    let forwards = "forwards = [{ local_topic = \"up/#\" }]";
    let plain = transparent(&hub, forwards).replace("transparent = true", "");
    daemon.reload(&plain);
    until_sent(&hub, "sleeper/#", 1);
}

#[test]
fn the_hub_ends_what_no_rule_is_for_any_more() {
    let hub = hub();
    let config = |filters: &[&str]| {
        let rules = filters.iter();
        let rules = rules.map(|it| format!("{{ remote_topic = \"{it}\" }}"));
        let rules: Vec<_> = rules.collect();
        let rules = format!("subscription = [{}]", rules.join(", "));
        transparent(&hub, &rules).replace("transparent = true", "")
    };
    let mut daemon = Daemon::start(&config(&["c/#", "kept"]));
    until_sent(&hub, "1 kept", 1);
    daemon.reload(&config(&["d/#", "kept"]));
    until_sent(&hub, "c/#", 1);
    // The same over a restart.
    daemon.stop();
    daemon.reconfigure(&config(&["e/#", "kept"]));
    until_sent(&hub, "d/#", 1);
    let here = Subscriber::start(daemon.port(), "here", "#");
    for topic in ["c/a", "d/a", "kept", "e/a"] {
        publish(hub.port(), topic, b"");
    }
    until("the last is here", || here.has(|it| it.topic == "e/a"));
    let topics: Vec<_> = here.received().into_iter().map(|it| it.topic).collect();
    assert_eq!(topics, ["kept", "e/a"]);
    let ended = ["c/#", "d/#", "kept", "e/#"].map(|it| times(&hub, it));
    assert_eq!(ended, [1, 1, 0, 0], "{}", hub.log());
}

/// A bridge of both kinds: `plant/+` is a client's, `cmd/#` a rule's.
fn both(hub: &Hub) -> String {
    transparent(hub, "subscription = [{ remote_topic = \"cmd/#\" }]")
}

#[test]
fn a_bridge_that_is_removed_leaves_no_filter_at_the_hub() {
    let hub = hub();
    let mut daemon = Daemon::start(&both(&hub));
    let mut one = client(daemon.port(), "one", Kept::Nothing);
    // More than are asked for at a time.
    let filters: Vec<_> = (0..100).map(|it| format!("plant/{it}")).collect();
    for filter in &filters {
        one.subscribe(filter, 0).unwrap();
    }
    let is_there = |filter: &String| times(&hub, &format!("0 {filter}")) == 1;
    until("the hub has all", || filters.iter().all(is_there));
    until_sent(&hub, "1 cmd/#", 1);
    // It only pauses, and all stays.
    let paused = both(&hub).replace("transparent", "enable = false\n transparent");
    daemon.reload(&paused);
    daemon.reload(&both(&hub));
    until_sent(&hub, "1 cmd/#", 2);
    until("the hub has all again", || times(&hub, "0 plant/99") == 2);
    assert_eq!(times(&hub, "cmd/#"), 0, "{}", hub.log());

    let said = daemon.reload("");
    assert!(!said.contains("it may keep its subscriptions"), "{said}");
    until_sent(&hub, "cmd/#", 1);
    let is_gone = |filter: &String| times(&hub, filter) == 1;
    until("the hub has none", || filters.iter().all(is_gone));
    // It is nothing to a bridge of this name that comes later.
    daemon.reload(&transparent(&hub, "forwards = [{ local_topic = \"up\" }]"));
    until_sent(&hub, "0 plant/99", 3);
    assert_eq!(times(&hub, "cmd/#"), 1, "{}", hub.log());
}

#[test]
fn what_the_hub_could_not_be_told_when_a_bridge_was_removed_it_is_told_by_the_next_of_its_name() {
    let mut hub = hub();
    let mut daemon = Daemon::start(&both(&hub));
    let mut one = client(daemon.port(), "one", Kept::Nothing);
    one.subscribe("plant/+", 0).unwrap();
    until_sent(&hub, "0 plant/+", 1);
    until_sent(&hub, "1 cmd/#", 1);
    hub.stop();
    let said = daemon.reload("");
    assert!(said.contains("filters=2"), "{said}");
    one.unsubscribe("plant/+").unwrap();
    daemon.stop();
    daemon.restart();
    hub.resume();
    let plain = transparent(&hub, "forwards = [{ local_topic = \"up\" }]");
    daemon.reload(&plain.replace("transparent = true", ""));
    until_sent(&hub, "plant/+", 1);
    until_sent(&hub, "cmd/#", 1);
}

#[test]
fn what_goes_up_does_not_come_back_and_rules_go_before_filters() {
    for version in [4, 5] {
        let hub = hub();
        let more = format!(
            r#"
  proto_ver = {version}
  forwards = [{{ local_topic = "plant/#" }}]
  subscription = [{{ remote_topic = "cmd/#", local_topic = "plant/cmd/$1" }}]
"#
        );
        let daemon = Daemon::start(&transparent(&hub, &more));
        let here = Subscriber::start(daemon.port(), "here", "plant/#");
        let ruled = Subscriber::start(daemon.port(), "ruled", "cmd/x");
        let there = Subscriber::start(hub.port(), "there", "plant/#");
        until_sent(&hub, "1 plant/#", 1);
        publish(daemon.port(), "plant/a", b"up");
        until("it is at the hub", || there.count() == 1);
        publish(hub.port(), "cmd/x", b"rule");
        publish(hub.port(), "plant/b", b"down");
        for subscriber in [&here, &there] {
            until("it is here and there", || {
                subscriber.has(|it| it.payload == b"down")
            });
        }
        assert_eq!(payloads(&here), [&b"up"[..], b"rule", b"down"]);
        assert_eq!(ruled.count(), 0, "the rule gives it another topic");
        assert_eq!(payloads(&there), [&b"up"[..], b"down"]);
        assert_eq!(times(&hub, "1 cmd/#"), 1);
        assert_eq!(times(&hub, "1 cmd/x"), 0, "the rule brings it");
    }
}

#[test]
fn an_answer_comes_to_who_subscribes_and_asks_at_once() {
    const ROUNDS: usize = 100;
    let hub = hub();
    let more = "forwards = [{ local_topic = \"ask/#\" }]";
    let daemon = Daemon::start(&transparent(&hub, more));
    let mut answerer = client(hub.port(), "answerer", Kept::Nothing);
    answerer.subscribe("ask/#", 0).unwrap();
    let mut asker = client(daemon.port(), "asker", Kept::Nothing);
    for round in 0..ROUNDS {
        let answer = format!("answer/{round}");
        asker.subscribe(&answer, 0).unwrap();
        asker
            .publish_acknowledged(&format!("ask/{round}"), answer.as_bytes())
            .unwrap();
        let asked = answerer.receive_publish().unwrap();
        let topic = String::from_utf8(asked.payload).unwrap();
        answerer.publish_acknowledged(&topic, b"yes").unwrap();
        assert_eq!(asker.receive_publish().unwrap().topic, answer);
    }
}

#[test]
fn a_filter_that_the_hub_refuses_or_that_has_no_room_is_named_once() {
    let hub = hub();
    let mut daemon = Daemon::start(&transparent(&hub, "transparent_max_filters = 2"));
    let mut one = client(daemon.port(), "one", Kept::Nothing);
    for filter in ["a", "b", "c", "d"] {
        one.subscribe(filter, 0).unwrap();
    }
    let lines = |daemon: &mut Daemon| {
        let log = daemon.process().log();
        let lines = log.lines().filter(|it| it.contains("more filters than"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    until("it is said", || !lines(&mut daemon).is_empty());
    one.unsubscribe("a").unwrap();
    until_sent(&hub, "a", 1);
    until("another has its place", || {
        times(&hub, "0 c") + times(&hub, "0 d") == 1
    });
    let lines = lines(&mut daemon);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("filter=c"), "{lines:?}");
}
