use super::*;

fn message(name: &str) -> Message {
    sized(name, 0)
}

/// A message with a payload of so many bytes.
fn sized(name: &str, bytes: usize) -> Message {
    Message::new(topic(name), vec![0; bytes])
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// Ends so many connections with messages of these topics on their way.
fn end(suspicion: &mut Suspicion, end: End, topics: &[&str], times: u32) {
    let messages: Vec<Message> = topics.iter().map(|it| message(it)).collect();
    for _ in 0..times {
        end_at(suspicion, end, &messages);
    }
}

fn end_at(suspicion: &mut Suspicion, end: End, messages: &[Message]) {
    suspicion.note_sent();
    suspicion.note_ended(end, messages.iter());
}

/// One in which a topic is withheld.
fn withholding(bad: &str) -> Suspicion {
    let mut suspicion = Suspicion::default();
    end(&mut suspicion, End::Closed, &["good", bad], FRUITLESS_MAX);
    assert!(suspicion.is_careful());
    end(&mut suspicion, End::Closed, &[bad], STRIKES - 1);
    assert_eq!(suspicion.verdict(&message(bad)), Verdict::Send);
    end(&mut suspicion, End::Closed, &[bad], 1);
    assert_eq!(suspicion.verdict(&message(bad)), Verdict::Withhold);
    assert!(suspicion.is_careful());
    suspicion
}

#[tokio::test(start_paused = true)]
async fn a_topic_at_which_the_hub_closes_is_condemned_if_it_takes_others() {
    let mut suspicion = withholding("bad");
    let (good, bad) = (message("good"), message("bad"));
    assert_eq!(suspicion.verdict(&good), Verdict::Send);
    suspicion.note_taken(&good);
    assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
    suspicion.conclude(false);
    assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    assert!(suspicion.is_careful());
    end(&mut suspicion, End::Closed, &["bad"], 1);
    assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
    for _ in 0..CALM {
        suspicion.note_taken(&good);
    }
    assert!(!suspicion.is_careful());
    tokio::time::advance(CONDEMNED_FOR).await;
    assert_eq!(suspicion.verdict(&bad), Verdict::Send);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_taken_after_all_is_not_at_fault() {
    let mut suspicion = withholding("bad");
    let (good, bad) = (message("good"), message("bad"));
    suspicion.note_taken(&good);
    suspicion.conclude(false);
    suspicion.note_taken(&bad);
    end(&mut suspicion, End::Closed, &["bad"], 1);
    assert_eq!(suspicion.verdict(&bad), Verdict::Send);
}

#[tokio::test(start_paused = true)]
async fn several_topics_are_found_one_by_one() {
    let mut suspicion = withholding("a");
    end(&mut suspicion, End::Closed, &["b"], STRIKES);
    for bad in ["a", "b"] {
        assert_eq!(suspicion.verdict(&message(bad)), Verdict::Withhold);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_takes_nothing_is_not_the_fault_of_a_topic() {
    let mut suspicion = withholding("bad");
    let bad = message("bad");
    for _ in 0..10 {
        suspicion.conclude(false);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
        end(&mut suspicion, End::Closed, &["bad"], 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
    }
    suspicion.note_taken(&bad);
    assert_eq!(suspicion.verdict(&bad), Verdict::Send);
}

#[tokio::test(start_paused = true)]
async fn where_there_are_no_others_those_count_that_the_hub_took_before() {
    let bad = message("bad");
    for (took_before, owes_nothing, expected) in [
        (false, true, Verdict::Withhold),
        (true, false, Verdict::Withhold),
        (true, true, Verdict::Condemn),
    ] {
        let mut suspicion = Suspicion::default();
        if took_before {
            suspicion.note_taken(&message("good"));
            end(&mut suspicion, End::Closed, &[], 1);
        }
        end(
            &mut suspicion,
            End::Closed,
            &["bad"],
            FRUITLESS_MAX + STRIKES,
        );
        for _ in 0..10 {
            assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
            suspicion.conclude(owes_nothing);
            end(&mut suspicion, End::Closed, &["bad"], 1);
            if expected == Verdict::Condemn {
                break;
            }
        }
        assert_eq!(suspicion.verdict(&bad), expected);
    }
}

/// Closes connections at a message, of which smaller ones were taken, until it is not sent.
fn find_guilty(suspicion: &mut Suspicion, guilty: &Message) {
    end_at(suspicion, End::Closed, &[]);
    for _ in 0..FRUITLESS_MAX + STRIKES {
        end_at(suspicion, End::Closed, std::slice::from_ref(guilty));
    }
    assert_eq!(suspicion.verdict(guilty), Verdict::Withhold);
    suspicion.conclude(true);
    assert_eq!(suspicion.verdict(guilty), Verdict::Send);
    end_at(suspicion, End::Closed, std::slice::from_ref(guilty));
}

#[tokio::test(start_paused = true)]
async fn a_size_that_the_hub_never_took_is_not_sent_and_what_is_smaller_is() {
    let mut suspicion = Suspicion::default();
    suspicion.note_taken(&sized("a", 10));
    find_guilty(&mut suspicion, &sized("a", 99));
    let too_large = Verdict::CondemnSize(100);
    assert_eq!(suspicion.verdict(&sized("a", 99)), too_large);
    assert_eq!(suspicion.verdict(&sized("a", 200)), too_large);
    assert_eq!(suspicion.verdict(&sized("a", 98)), Verdict::Send);
    // It may be the topic.
    assert_eq!(suspicion.verdict(&sized("b", 200)), Verdict::Send);
    suspicion.note_taken(&sized("a", 98));
    for name in ["a", "b"] {
        assert_eq!(suspicion.verdict(&sized(name, 99)), too_large);
        assert_eq!(suspicion.verdict(&sized(name, 98)), Verdict::Send);
    }
    tokio::time::advance(CONDEMNED_FOR).await;
    for name in ["a", "b"] {
        assert_eq!(suspicion.verdict(&sized(name, 99)), Verdict::Send);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_before_a_restart_shows_that_a_larger_one_is_too_large_and_nothing_else() {
    let resume = |hub: &str, record: &str| Suspicion::resume(hub.to_owned(), record);
    let record = resume("hub", "").note_taken(&sized("a", 10)).unwrap();
    for (hub, bytes, verdict) in [
        ("hub", 99, Verdict::CondemnSize(100)),
        ("hub", 11, Verdict::CondemnSize(12)),
        ("hub", 10, Verdict::Withhold),
        ("other", 99, Verdict::Withhold),
    ] {
        let mut suspicion = resume(hub, &record);
        let guilty = sized("b", bytes);
        find_guilty(&mut suspicion, &guilty);
        assert_eq!(suspicion.verdict(&guilty), verdict, "{hub} {bytes}");
        if verdict == Verdict::Withhold {
            find_guilty(&mut suspicion, &guilty);
            assert_eq!(suspicion.verdict(&guilty), verdict, "{hub} {bytes}");
        }
        suspicion.note_taken(&sized("b", 99));
        assert_eq!(suspicion.verdict(&guilty), Verdict::Send);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_takes_less_than_before_a_restart_loses_the_size_and_not_the_topic() {
    let record = Suspicion::default().note_taken(&sized("a", 1_000)).unwrap();
    let mut suspicion = Suspicion::resume(String::new(), &record);
    suspicion.note_taken(&sized("a", 10));
    find_guilty(&mut suspicion, &sized("a", 99));
    let too_large = Verdict::CondemnSize(100);
    assert_eq!(suspicion.verdict(&sized("a", 99)), too_large);
    assert_eq!(suspicion.verdict(&sized("a", 98)), Verdict::Send);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_may_be_too_large_and_is_not_is_condemned_only_if_the_hub_takes_others() {
    let record = Suspicion::default().note_taken(&sized("a", 10)).unwrap();
    let mut suspicion = Suspicion::resume(String::new(), &record);
    let (good, bad) = (sized("a", 10), sized("b", 5));
    find_guilty(&mut suspicion, &bad);
    suspicion.conclude(true);
    // It took others without it, but not for so long.
    suspicion.note_taken(&good);
    end_at(&mut suspicion, End::Closed, std::slice::from_ref(&bad));
    assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
    suspicion.note_taken(&good);
    suspicion.conclude(false);
    end_at(&mut suspicion, End::Closed, std::slice::from_ref(&bad));
    assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_taken_lifts_what_was_said_of_its_size() {
    for is_known in [false, true] {
        let mut suspicion = Suspicion::default();
        suspicion.note_taken(&sized("a", 10));
        find_guilty(&mut suspicion, &sized("a", 99));
        if is_known {
            suspicion.note_taken(&sized("a", 10));
        }
        suspicion.note_taken(&sized("b", 98));
        let still = suspicion.verdict(&sized("a", 99));
        assert_eq!(still, Verdict::CondemnSize(100));
        suspicion.note_taken(&sized("b", 99));
        assert_eq!(suspicion.verdict(&sized("a", 99)), Verdict::Send);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_which_smaller_messages_are_not_taken_either_is_condemned_itself() {
    let mut suspicion = Suspicion::default();
    suspicion.note_taken(&sized("b", 50));
    for (bytes, verdict) in [
        (99, Verdict::CondemnSize(100)),
        (70, Verdict::CondemnSize(71)),
        (10, Verdict::Condemn),
    ] {
        let guilty = sized("a", bytes);
        find_guilty(&mut suspicion, &guilty);
        assert_eq!(suspicion.verdict(&guilty), verdict);
        assert_eq!(suspicion.verdict(&sized("b", bytes)), Verdict::Send);
    }
}

#[test]
fn what_is_refused_before_the_end_is_not_so_because_of_its_size() {
    let mut suspicion = Suspicion::default();
    suspicion.note_taken(&sized("b", 50));
    let bad = sized("a", 99);
    for _ in 0..STRIKES {
        suspicion.note_refused(&bad.topic);
        end_at(&mut suspicion, End::Closed, std::slice::from_ref(&bad));
    }
    assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_takes_nothing_any_more_costs_one_topic() {
    let mut suspicion = Suspicion::default();
    suspicion.note_taken(&message("good"));
    end(&mut suspicion, End::Closed, &[], 1);
    for (bad, expected) in [("a", Verdict::Condemn), ("b", Verdict::Withhold)] {
        end(&mut suspicion, End::Closed, &[bad], FRUITLESS_MAX + STRIKES);
        for _ in 0..3 {
            suspicion.conclude(true);
            end(&mut suspicion, End::Closed, &[bad], 1);
        }
        assert_eq!(suspicion.verdict(&message(bad)), expected, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_without_a_topic_too_is_not_its_fault() {
    let bad = message("bad");
    for (how, topics) in [
        (End::Closed, &[][..]),
        (End::Closed, &["a", "b"]),
        (End::Lost, &["a"]),
    ] {
        let mut suspicion = withholding("bad");
        suspicion.note_taken(&message("good"));
        end(&mut suspicion, how, topics, 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send, "{topics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_fails_is_not_the_fault_of_a_topic() {
    let mut suspicion = Suspicion::default();
    end(&mut suspicion, End::Lost, &["a"], 100);
    end(&mut suspicion, End::Closed, &["a", "b"], 100);
    end(&mut suspicion, End::Closed, &[], 100);
    for _ in 0..100 {
        // It takes long to be carried.
        suspicion.note_sent();
        tokio::time::advance(SOON * 2).await;
        suspicion.note_ended(End::Closed, [&message("a")].into_iter());
    }
    assert_eq!(suspicion.verdict(&message("a")), Verdict::Send);
    for _ in 0..CALM {
        suspicion.note_taken(&message("b"));
    }
    assert!(!suspicion.is_careful());
    // The hub takes something now and then.
    for _ in 0..100 {
        end(&mut suspicion, End::Closed, &["a"], 1);
        suspicion.note_taken(&message("b"));
    }
    assert_eq!(suspicion.verdict(&message("a")), Verdict::Send);
}

#[test]
fn a_topic_that_is_refused_before_the_end_is_guilty_of_it() {
    let mut suspicion = Suspicion::default();
    let (good, bad) = (message("good"), message("bad"));
    suspicion.note_refused(&bad.topic);
    suspicion.note_taken(&good);
    end(&mut suspicion, End::Closed, &["good", "bad"], 1);
    assert!(suspicion.topics.is_empty());
    for _ in 0..STRIKES {
        suspicion.note_refused(&bad.topic);
        end(&mut suspicion, End::Closed, &["good", "bad"], 1);
    }
    assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
    assert_eq!(suspicion.verdict(&good), Verdict::Send);
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_room_is_withheld_for_a_time_and_never_condemned() {
    let mut suspicion = Suspicion::default();
    let (good, full) = (message("good"), message("full"));
    suspicion.note_no_room(&full.topic, false);
    assert_eq!(suspicion.verdict(&full), Verdict::Send);
    suspicion.note_no_room(&full.topic, true);
    for _ in 0..10 {
        assert_eq!(suspicion.verdict(&full), Verdict::Withhold);
        suspicion.note_taken(&good);
        suspicion.conclude(false);
        tokio::time::advance(WITHHELD_FOR).await;
        assert_eq!(suspicion.verdict(&full), Verdict::Send);
        // It is known.
        suspicion.note_no_room(&full.topic, false);
    }
    suspicion.note_taken(&full);
    assert_eq!(suspicion.verdict(&full), Verdict::Send);
}

#[test]
fn no_more_topics_are_remembered_than_allowed() {
    let mut suspicion = Suspicion::default();
    for number in 0..TOPICS_MAX + 10 {
        suspicion.note_no_room(&topic(&number.to_string()), true);
    }
    assert_eq!(suspicion.topics.len(), TOPICS_MAX);
    suspicion.note_refused(&topic("a"));
    end(&mut suspicion, End::Closed, &[], 1);
    assert_eq!(suspicion.topics.len(), TOPICS_MAX);
}
