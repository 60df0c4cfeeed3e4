//! Starting, stopping and sharing. In a process of its own because threads are counted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, also outside their functions"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::testing::FakeBroker;
use gateway::{Gateway, LinkState, Status};
use gateway_dds::{Config, DdsGateway};
use support::{free_domain, run, until};

fn gateway(domain: u32, more: &str) -> DdsGateway {
    let text = format!(
        r#"
        domain = {domain}
        interface = "lo"
        idl = "struct S {{ @key long x; }};"
        to_mqtt = [{{ dds_topic = "A", type = "S" }}]
        from_mqtt = [{{ filter = "b", dds_topic = "B", type = "S" }}]
        {more}
        "#
    );
    let config: Config = toml::from_str(&text).unwrap();
    DdsGateway::new("life", config).unwrap()
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Waits until there are no more threads and files than before; the system may take a moment to
/// forget a thread that has ended.
fn nothing_is_left(before: (usize, usize)) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let after = (entries("/proc/self/task"), entries("/proc/self/fd"));
        if after.0 <= before.0 && after.1 <= before.1 {
            return;
        }
        assert!(Instant::now() < deadline, "{before:?} -> {after:?}");
        std::thread::yield_now();
    }
}

// One test, so that no other one has threads meanwhile.
#[test]
fn a_gateway_leaves_nothing_behind() {
    let domain = free_domain();
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    for _ in 0..20 {
        let gateway = gateway(domain, "");
        let (broker, status) = (Arc::new(FakeBroker::default()), Arc::new(Status::default()));
        let start = Instant::now();
        let mut opened = start;
        let mut stopped = start;
        run(gateway.run(broker.client(), Arc::clone(&status)), async {
            until("up", || status.link() == LinkState::Up).await;
            opened = Instant::now();
            broker.deliver("b", r#"{"x": 1}"#);
            until("acknowledged", || broker.acknowledged().len() == 1).await;
            stopped = Instant::now();
        });
        let (opening, closing) = (opened - start, stopped.elapsed());
        println!("opened in {opening:?}, closed in {closing:?}");
        assert!(closing < Duration::from_secs(2), "{closing:?}");
        nothing_is_left(before);
    }
    sharing(domain);
    nothing_is_left(before);
    let broken = gateway(domain, "").run(
        Arc::new(FakeBroker::default()).client(),
        Arc::new(Status::default()),
    );
    drop(broken);
    nowhere(domain);
}

/// Two gateways of one domain share it; one with other settings has a fault.
fn sharing(domain: u32) {
    let statuses: Vec<_> = (0..3).map(|_| Arc::new(Status::default())).collect();
    let client = || Arc::new(FakeBroker::default()).client();
    let first = gateway(domain, "").run(client(), Arc::clone(&statuses[0]));
    let second = gateway(domain, "").run(client(), Arc::clone(&statuses[1]));
    let other = gateway(domain, "sample_bytes_max = 4096");
    let third = other.run(client(), Arc::clone(&statuses[2]));
    run(first, async {
        until("first up", || statuses[0].link() == LinkState::Up).await;
        tokio::select! {
            fault = second => panic!("{fault}"),
            () = until("second up", || statuses[1].link() == LinkState::Up) => {}
        }
        let fault = third.await;
        assert!(fault.0.contains("already in use"), "{fault}");
        assert_eq!(statuses[2].link(), LinkState::Down(fault.0));
    });
    // With the others gone the settings may change.
    let status = Arc::new(Status::default());
    run(other.run(client(), Arc::clone(&status)), async {
        until("third up", || status.link() == LinkState::Up).await;
    });
}

/// An interface that does not exist is a fault that names it.
fn nowhere(domain: u32) {
    let text = format!(
        "domain = {domain}\ninterface = \"nowhere0\"\nidl = \"struct S {{ long x; }};\"\n\
         to_mqtt = [{{ dds_topic = \"T\", type = \"S\" }}]"
    );
    let config: Config = toml::from_str(&text).unwrap();
    let gateway = DdsGateway::new("life", config).unwrap();
    let status = Arc::new(Status::default());
    let future = gateway.run(Arc::new(FakeBroker::default()).client(), status);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let fault = runtime.block_on(future);
    assert!(fault.0.contains("nowhere0"), "{fault}");
}
