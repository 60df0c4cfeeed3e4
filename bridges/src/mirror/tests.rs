use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().copied().map(filter).collect()
}

/// Clients want this, with QoS 1 each.
fn all(texts: &[&str]) -> Wanted {
    Wanted {
        is_all: true,
        filters: change(texts, Some(QoS::AtLeastOnce)).filters,
    }
}

fn change(texts: &[&str], qos: Option<QoS>) -> Wanted {
    let filters = filters(texts).into_iter();
    Wanted {
        is_all: false,
        filters: filters.map(|it| (it, qos)).collect(),
    }
}

/// With a rule that is noted.
fn mirror(filters_max: usize, hubs: usize, mirrored: &[&str]) -> Mirror {
    let rules = filters(&["rule/#"]);
    let properties = Properties::default();
    let mirrored = [rules.clone(), filters(mirrored)].concat();
    Mirror::new(Some(filters_max), properties, rules, hubs, mirrored)
}

fn next(mirror: &mut Mirror, packet_id: u16) -> Option<Request> {
    mirror.next(packet_id, 1_000, |_| None)
}

fn make(texts: &[&str], qos: QoS) -> Option<Request> {
    let filters = filters(texts).into_iter();
    Some(Request::Make(filters.map(|it| (it, qos)).collect()))
}

fn end(texts: &[&str]) -> Option<Request> {
    Some(Request::End(filters(texts)))
}

/// Has the hub agree to everything; what it was asked for.
fn settle(mirror: &mut Mirror) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some(request) = next(mirror, 1) {
        assert!(mirror.answered(1, &[1; FILTERS_PER_REQUEST]));
        requests.push(request);
    }
    requests
}

fn begun(text: &str) -> Remark {
    Remark::Begun(filter(text))
}

fn gone(text: &str) -> Remark {
    Remark::Gone(filter(text))
}

#[test]
fn the_hub_is_asked_for_what_is_new_and_to_end_what_has_gone() {
    let mut mirror = mirror(10, 1, &[]);
    mirror.connected(0, false);
    assert!(mirror.is_behind(), "nothing is known yet");
    assert_eq!(next(&mut mirror, 1), None);
    mirror.want(all(&["a", "b/#", "rule/a"]));
    assert!(mirror.is_behind());
    assert_eq!(next(&mut mirror, 7), make(&["a", "b/#"], QoS::AtLeastOnce));
    assert!(!mirror.is_behind());
    assert!(!mirror.answered(8, &[1, 1]), "no request of its own");
    assert!(mirror.answered(7, &[1, 1]));
    assert_eq!(mirror.take_remarks(), [begun("a"), begun("b/#")]);
    assert_eq!(next(&mut mirror, 8), None);

    // A higher QoS is asked for, and a lower one too.
    for qos in [QoS::ExactlyOnce, QoS::AtMostOnce] {
        mirror.want(change(&["a"], Some(qos)));
        assert_eq!(settle(&mut mirror), make(&["a"], qos).as_slice());
    }
    mirror.take_remarks();
    mirror.want(change(&["a"], None));
    assert_eq!(next(&mut mirror, 9), end(&["a"]));
    assert_eq!(mirror.take_remarks(), [], "it may still be there");
    assert!(mirror.answered(9, &[]));
    assert_eq!(mirror.take_remarks(), [gone("a")]);

    // What is new comes before what goes: nothing is missed in between.
    mirror.want(all(&["b/c"]));
    let requests = [make(&["b/c"], QoS::AtLeastOnce), end(&["b/#"])];
    assert_eq!(settle(&mut mirror), requests.map(Option::unwrap));
}

#[test]
fn what_changes_while_the_hub_has_not_answered_is_asked_for_when_it_has() {
    let mut mirror = mirror(10, 1, &[]);
    mirror.connected(0, false);
    mirror.want(all(&["a"]));
    assert_eq!(next(&mut mirror, 1), make(&["a"], QoS::AtLeastOnce));
    mirror.want(change(&["a"], None));
    assert_eq!(next(&mut mirror, 2), None);
    mirror.answered(1, &[1]);
    assert_eq!(next(&mut mirror, 2), end(&["a"]));
    mirror.want(change(&["a"], Some(QoS::AtMostOnce)));
    assert_eq!(next(&mut mirror, 3), None);
    mirror.answered(2, &[]);
    assert_eq!(next(&mut mirror, 3), make(&["a"], QoS::AtMostOnce));
}

#[test]
fn a_session_that_has_persisted_keeps_what_is_wanted_and_loses_what_is_not() {
    let mut mirror = mirror(10, 1, &["a", "old"]);
    mirror.connected(0, true);
    mirror.want(all(&["a", "b"]));
    let requests = [make(&["a", "b"], QoS::AtLeastOnce), end(&["old"])];
    assert_eq!(settle(&mut mirror), requests.map(Option::unwrap));
    assert_eq!(mirror.take_remarks(), [begun("a"), begun("b"), gone("old")]);

    // One is asked for when the connection is lost.
    mirror.want(change(&["c"], Some(QoS::AtLeastOnce)));
    next(&mut mirror, 1).unwrap();
    mirror.want(change(&["b", "c"], None));
    mirror.connected(0, true);
    let requests = [make(&["a"], QoS::AtLeastOnce), end(&["b", "c"])];
    assert_eq!(settle(&mut mirror), requests.map(Option::unwrap));

    // The hub has forgotten everything.
    mirror.take_remarks();
    mirror.want(change(&["a"], None));
    mirror.connected(0, false);
    assert_eq!(next(&mut mirror, 1), None);
    assert_eq!(mirror.take_remarks(), [gone("a")]);
}

#[test]
fn a_bridge_that_is_not_transparent_any_more_ends_what_it_had() {
    let properties = Properties::default();
    let mut mirror = Mirror::new(None, properties, Vec::new(), 1, filters(&["a"]));
    assert!(!mirror.is_on() && !mirror.is_behind());
    mirror.connected(0, true);
    assert_eq!(settle(&mut mirror), end(&["a"]).as_slice());
    assert_eq!(mirror.take_remarks(), [gone("a")]);
}

#[test]
fn the_filter_of_a_rule_that_was_taken_out_is_ended() {
    for filters_max in [None, Some(10)] {
        let before = filters(&["c/#", "e"]);
        let rules = filters(&["d/#", "e"]);
        let mut mirror = Mirror::new(filters_max, Properties::default(), rules, 1, before);
        assert_eq!(mirror.take_remarks(), [begun("d/#")], "`e` is noted");
        mirror.connected(0, true);
        if filters_max.is_some() {
            mirror.want(all(&["d/a"]));
        }
        assert!(!mirror.is_behind(), "nothing waits for it");
        assert_eq!(settle(&mut mirror), end(&["c/#"]).as_slice());
        assert_eq!(mirror.take_remarks(), [gone("c/#")]);
    }
    // A client wants it.
    let mut mirror = mirror(10, 1, &["c/#"]);
    mirror.connected(0, true);
    mirror.want(all(&["c/#"]));
    assert_eq!(
        settle(&mut mirror),
        make(&["c/#"], QoS::AtLeastOnce).as_slice()
    );
}

#[test]
fn each_hub_has_filters_of_its_own() {
    let mut mirror = mirror(10, 2, &[]);
    mirror.connected(0, false);
    mirror.want(all(&["a"]));
    settle(&mut mirror);
    mirror.connected(1, false);
    assert_eq!(
        settle(&mut mirror),
        make(&["a"], QoS::AtLeastOnce).as_slice()
    );
    mirror.take_remarks();
    mirror.want(change(&["a"], None));
    assert_eq!(settle(&mut mirror), end(&["a"]).as_slice());
    assert_eq!(mirror.take_remarks(), [], "the other hub has it");
    mirror.connected(0, true);
    assert_eq!(settle(&mut mirror), end(&["a"]).as_slice());
    assert_eq!(mirror.take_remarks(), [gone("a")]);
}

#[test]
fn requests_are_small_and_wait_for_their_answers() {
    let mut mirror = mirror(1_000, 1, &[]);
    mirror.connected(0, false);
    let texts: Vec<String> = (0..100).map(|it| format!("t/{it:02}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    mirror.want(all(&texts));
    let mut made = 0;
    for packet_id in 1..=8 {
        match next(&mut mirror, packet_id).unwrap() {
            Request::Make(filters) => made += filters.len(),
            Request::End(_) => panic!("nothing has gone"),
        }
    }
    assert_eq!(made, 64);
    assert_eq!(next(&mut mirror, 9), None);
    assert!(mirror.is_behind());
    mirror.answered(3, &[1; 8]);
    assert!(next(&mut mirror, 9).is_some());
}

#[test]
fn requests_fit_into_what_the_hub_accepts() {
    let mut mirror = mirror(1_000, 1, &[]);
    mirror.connected(0, false);
    let long = "x".repeat(100);
    mirror.want(all(&["aaaa", "bbbb", "cccc", &long]));
    let bytes_max = IDENTIFIER_BYTES + REQUEST_BYTES + 2 * (4 + FILTER_BYTES);
    let mut ask = |packet_id| mirror.next(packet_id, bytes_max, |_| None);
    assert_eq!(ask(1), make(&["aaaa", "bbbb"], QoS::AtLeastOnce));
    assert_eq!(ask(2), make(&["cccc"], QoS::AtLeastOnce));
    assert_eq!(ask(3), None);
    let refused = Remark::Refused(filter(&long), ReasonCode::PacketTooLarge);
    assert_eq!(mirror.take_remarks().pop(), Some(refused));
}

#[test]
fn what_the_hub_refuses_is_said_once_and_not_asked_for_again_on_this_connection() {
    let mut mirror = mirror(10, 1, &[]);
    mirror.connected(0, false);
    mirror.want(all(&["a", "b", "c/#"]));
    let reason = ReasonCode::WildcardSubscriptionsNotSupported;
    let check = |it: &TopicFilter| it.has_wildcard().then_some(reason);
    let made = mirror.next(1, 1_000, check);
    assert_eq!(made, make(&["a", "b"], QoS::AtLeastOnce));
    mirror.answered(1, &[ReasonCode::NotAuthorized as u8, 1]);
    let refusals = |mirror: &mut Mirror| {
        let remarks = mirror.take_remarks();
        let refusals = remarks.into_iter();
        let refusals = refusals.filter(|it| matches!(it, Remark::Refused(..)));
        refusals.collect::<Vec<_>>()
    };
    let expected = [
        Remark::Refused(filter("c/#"), reason),
        Remark::Refused(filter("a"), ReasonCode::NotAuthorized),
    ];
    assert_eq!(refusals(&mut mirror), expected);
    mirror.want(change(&["a"], Some(QoS::ExactlyOnce)));
    assert_eq!(next(&mut mirror, 2), None);
    // It may agree on the next one.
    mirror.connected(0, true);
    let refused = mirror.next(3, 1_000, check);
    assert_eq!(refused.map(|_| mirror.answered(3, &[0x87, 1])), Some(true));
    assert_eq!(refusals(&mut mirror), []);
    // Who asks anew is told anew.
    mirror.want(change(&["a"], None));
    mirror.want(change(&["a"], Some(QoS::AtLeastOnce)));
    assert_eq!(next(&mut mirror, 4), make(&["a"], QoS::AtLeastOnce));
    mirror.answered(4, &[0x87]);
    assert_eq!(refusals(&mut mirror).len(), 1);
}

#[test]
fn what_finds_no_room_is_left_out_until_another_has_gone() {
    let mut mirror = mirror(2, 1, &[]);
    mirror.connected(0, false);
    mirror.want(all(&["b", "c", "d", "e"]));
    assert_eq!(
        settle(&mut mirror),
        make(&["b", "c"], QoS::AtLeastOnce).as_slice()
    );
    let remarks = [begun("b"), begun("c"), Remark::Full(filter("d"))];
    assert_eq!(mirror.take_remarks(), remarks);
    // Who is there stays, and may change; others are not told again.
    mirror.want(change(&["a", "f"], Some(QoS::AtLeastOnce)));
    mirror.want(change(&["b"], Some(QoS::ExactlyOnce)));
    assert_eq!(
        settle(&mut mirror),
        make(&["b"], QoS::ExactlyOnce).as_slice()
    );
    assert_eq!(mirror.take_remarks(), [begun("b")]);
    mirror.want(change(&["c"], None));
    let requests = [end(&["c"]), make(&["a"], QoS::AtLeastOnce)];
    assert_eq!(settle(&mut mirror), requests.map(Option::unwrap));
    // A hub that keeps them has no more.
    mirror.connected(0, true);
    let asked = settle(&mut mirror);
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[test]
fn a_hub_without_room_is_asked_again_when_it_may_have_some() {
    let mut mirror = mirror(10, 1, &[]);
    mirror.connected(0, false);
    mirror.want(all(&["a", "b"]));
    next(&mut mirror, 1).unwrap();
    mirror.answered(1, &[1, ReasonCode::QuotaExceeded as u8]);
    let refused = Remark::Refused(filter("b"), ReasonCode::QuotaExceeded);
    assert_eq!(mirror.take_remarks().pop(), Some(refused));
    assert_eq!(next(&mut mirror, 2), None);
    assert!(!mirror.is_behind());
    mirror.want(change(&["a"], None));
    let requests = [end(&["a"]), make(&["b"], QoS::AtLeastOnce)];
    assert_eq!(settle(&mut mirror), requests.map(Option::unwrap));
}

#[test]
fn a_bridge_that_is_removed_ends_the_filters_of_clients_and_of_rules() {
    let mut mirror = mirror(10, 2, &["old"]);
    mirror.connected(0, true);
    mirror.want(all(&["a", "b"]));
    assert_eq!(next(&mut mirror, 7), make(&["a", "b"], QoS::AtLeastOnce));
    let _told = mirror.take_remarks();
    mirror.end_all();
    assert_eq!(next(&mut mirror, 8), end(&["old", "rule/#"]));
    assert!(mirror.answered(8, &[0, 0]));
    // What is asked for is ended once it is there.
    assert_eq!(next(&mut mirror, 9), None);
    assert!(!mirror.is_settled());
    assert!(mirror.answered(7, &[1, 1]));
    assert_eq!(next(&mut mirror, 9), end(&["a", "b"]));
    assert!(!mirror.is_settled());
    assert!(mirror.answered(9, &[0, 0]));
    assert!(mirror.is_settled());
    // The other hub may have the others.
    let gone = ["a", "b"].map(|it| Remark::Gone(filter(it)));
    assert_eq!(mirror.take_remarks(), gone);
}
