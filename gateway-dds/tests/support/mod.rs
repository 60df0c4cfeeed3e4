//! A domain that nobody else uses, and running a gateway beside a scenario.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The UDP port of the first domain, and from one to the next.
const PORT_BASE: u32 = 7_400;
const PORT_STEP: u32 = 250;

/// A domain from 1 to 230 that no other test has, also in other processes, as long as this one
/// lives: each has the TCP port with the number of its UDP port.
pub(crate) fn free_domain() -> u32 {
    static TAKEN: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
    let start = std::process::id();
    let mut domains = (0..230).map(|it| (start + it) % 230 + 1);
    let taken = domains.find_map(|domain| {
        let port = u16::try_from(PORT_BASE + PORT_STEP * domain).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some((domain, listener))
    });
    let (domain, listener) = taken.unwrap();
    TAKEN.lock().unwrap().push(listener);
    domain
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a gateway and a scenario beside each other until the scenario ends; then the gateway is
/// dropped.
pub(crate) fn run(gateway: gateway::RunFuture, scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::select! {
            fault = gateway => panic!("the gateway stopped: {fault}"),
            () = scenario => {}
        }
    });
}
