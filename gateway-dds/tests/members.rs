//! The members of types, and what follows from them, with a peer in this process.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, also outside their functions"
)]

mod demo;
mod support;

use std::sync::Arc;
use std::time::Duration;

use demo::{assert_same, gateway, reading, settings, structure};
use gateway::testing::FakeBroker;
use gateway::{DropReason, Gateway, LinkState, Status};
use gateway_dds::peer::{Durability, EndpointSettings, Peer};
use serde_json::{Value, json};
use support::{free_domain, run, until};

fn rich(id: i64) -> Value {
    json!({
        "id": id, "mode": "ON", "point": {"x": -3, "y": 0.25},
        "points": [{"x": 1, "y": 1.5}, {"x": 2, "y": 2.5}], "modes": ["ON", "OFF"],
        "raw": [0, 128, 255], "grid": [[1, 2], [3, 4]], "names": [["a"], [], ["b", "cc"]],
        "c": "\u{e9}", "b": true, "big": 9_007_199_254_740_993_i64, "small": 200, "f": 0.1,
        "bounded": "12345", "history": ["OFF", "ON"],
    })
}

/// What is written is there for readers that come later.
fn lasting() -> EndpointSettings {
    EndpointSettings {
        durability: Durability::TransientLocal,
        ..EndpointSettings::default()
    }
}

#[test]
fn every_kind_of_member_crosses_in_both_directions() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Rich", type = "Demo::Rich", topic = "${type}/${id}/${mode}/${f}",
            reliability = "best_effort" }]
        from_mqtt = [{ filter = "in", dds_topic = "RichToo", type = "Demo::Rich" }]
    "#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("up", || status.link() == LinkState::Up).await;
        let peer = Peer::open(&settings(domain)).unwrap();
        let defaults = EndpointSettings::default();
        let writer = peer
            .writer("Rich", &structure("Demo::Rich"), &defaults)
            .unwrap();
        let reader = peer
            .reader("RichToo", &structure("Demo::Rich"), &defaults)
            .unwrap();
        until("a match", || writer.matched_readers() == 1).await;
        writer.write(&rich(-5)).unwrap();
        until("published", || broker.published() == 1).await;
        let message = broker.take_published().remove(0);
        assert_eq!(message.topic.as_str(), "Demo::Rich/-5/ON/0.1");
        assert_eq!(message.qos as u8, 0);
        assert_eq!(
            serde_json::from_slice::<Value>(&message.payload).unwrap(),
            rich(-5)
        );
        broker.deliver("in", rich(7).to_string());
        let mut samples = Vec::new();
        until("received", || {
            samples.extend(reader.take().unwrap());
            !samples.is_empty()
        })
        .await;
        assert_eq!(serde_json::from_str::<Value>(&samples[0]).unwrap(), rich(7));
    });
}

#[test]
fn a_topic_that_cannot_be_published_to_costs_the_sample_only() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Readings", type = "Demo::Reading", topic = "dds/${sensor}",
            durability = "transient_local" }]
    "#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    let peer = Peer::open(&settings(domain)).unwrap();
    let writer = peer
        .writer("Readings", &structure("Demo::Reading"), &lasting())
        .unwrap();
    for sensor in ["#", "good", "a+b"] {
        let mut value = reading(1);
        value["sensor"] = json!(sensor);
        writer.write(&value).unwrap();
    }
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("dropped", || {
            status.counters.dropped(DropReason::Malformed) == 2
        })
        .await;
        until("published", || broker.published() == 1).await;
    });
    assert_eq!(broker.take_published()[0].topic.as_str(), "dds/good");
}

#[test]
fn instances_are_told_apart_by_keys_of_every_kind() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Keyed", type = "Demo::Keyed", durability = "transient_local" }]
    "#;
    let gateway = gateway(domain, rules);
    let peer = Peer::open(&settings(domain)).unwrap();
    let writer = peer
        .writer("Keyed", &structure("Demo::Keyed"), &lasting())
        .unwrap();
    let first = json!({
        "part": {"a": 1, "b": 1}, "whole": {"a": 1, "b": "x"}, "id": [1, 2], "flag": true,
        "mode": "ON", "d": 0.5, "x": 1,
    });
    let mut expected = vec![first.clone()];
    let keys = [
        ("/part/a", json!(2)),
        ("/whole/a", json!(2)),
        ("/whole/b", json!("y")),
        ("/id/1", json!(3)),
        ("/flag", json!(false)),
        ("/mode", json!("OFF")),
        ("/d", json!(0.75)),
    ];
    for (place, other) in keys {
        let mut value = first.clone();
        *value.pointer_mut(place).unwrap() = other;
        expected.push(value);
    }
    for value in &mut expected {
        writer.write(value).unwrap();
        // Neither is part of the key, so this replaces what was written before.
        value["part"]["b"] = json!(9);
        value["x"] = json!(10);
        writer.write(value).unwrap();
    }
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("all instances", || broker.published() >= expected.len()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    let published = broker.take_published();
    let values = published
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).unwrap());
    let mut values: Vec<Value> = values.collect();
    values.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_same(&values, &expected);
}
