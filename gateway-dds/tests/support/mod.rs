//! A domain that nobody else uses, and running a gateway beside a scenario.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A domain from 1 to 230 that differs between tests and, most likely, between processes.
pub(crate) fn free_domain() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let micros = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros();
    let start = std::process::id().wrapping_mul(31).wrapping_add(micros);
    NEXT.compare_exchange(0, start % 230 + 1, Ordering::Relaxed, Ordering::Relaxed)
        .ok();
    NEXT.fetch_add(1, Ordering::Relaxed) % 230 + 1
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
