//! A client and the server's state machines over a link that loses what is under way whenever it
//! is cut, with a store that is behind and a server that is killed. There is no clock: a test is
//! a list of steps.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "these are tests, also outside their functions"
)]

mod client;
mod server;
mod store;
mod world;

use mqtt::{ProtocolVersion, QoS};
use proptest::collection::vec;
use proptest::prelude::*;

use world::{Settings, Step, World};

fn settings() -> impl Strategy<Value = Settings> {
    let version = prop_oneof![Just(ProtocolVersion::V311), Just(ProtocolVersion::V5)];
    let windows = (1..5_u16, 1..5_u16);
    // Packet Identifiers come round after 65,535.
    let first = prop_oneof![Just(1), Just(65_530)];
    let all = (version, windows, first, any::<bool>());
    all.prop_map(|(version, windows, first_sequence, has_lanes)| {
        let (receive_maximum, inflight_messages_max) = windows;
        Settings {
            version,
            receive_maximum,
            inflight_messages_max,
            first_sequence,
            has_lanes,
        }
    })
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        1 => Just(QoS::AtMostOnce),
        2 => Just(QoS::AtLeastOnce),
        3 => Just(QoS::ExactlyOnce),
    ]
}

/// Steps with a way for the link to go and, with `crashes`, for the server too.
fn steps(crashes: bool) -> impl Strategy<Value = Vec<Step>> {
    let count = 0..4_usize;
    let step = prop_oneof![
        3 => (0..3_u8, qos()).prop_map(|(topic, qos)| Step::ClientPublish { topic, qos }),
        3 => (0..3_u8, qos()).prop_map(|(topic, qos)| Step::ServerPublish { topic, qos }),
        6 => count.clone().prop_map(Step::MoveUp),
        6 => count.clone().prop_map(Step::MoveDown),
        5 => count.clone().prop_map(Step::ClientAnswer),
        4 => count.clone().prop_map(Step::Commit),
        3 => Just(Step::LoadPage),
        2 => (count.clone(), count).prop_map(|(up, down)| Step::Cut { up, down }),
        3 => (1..5_u16).prop_map(|receive_maximum| Step::Connect { receive_maximum }),
        if crashes { 1 } else { 0 } => Just(Step::Crash),
    ];
    vec(step, 1..150)
}

fn check(settings: Settings, steps: &[Step]) {
    let mut world = World::new(settings);
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_is_lost_or_repeated_over_a_link_that_is_cut(
        settings in settings(),
        steps in steps(false),
    ) {
        check(settings, &steps);
    }

    #[test]
    fn nothing_acknowledged_is_lost_when_the_server_is_killed(
        settings in settings(),
        steps in steps(true),
    ) {
        check(settings, &steps);
    }
}
