//! What the daemon logs when somebody tries to fill its log.

use tests::daemon::Daemon;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

#[test]
fn a_client_that_misbehaves_in_a_loop_does_not_fill_the_log() {
    let mut daemon = Daemon::start("");
    let mut connections = 0;
    let port = daemon.port();
    let mut misbehave = || {
        let (mut client, _) =
            WireClient::connect(port, Version::V311, "loop", Kept::Nothing).unwrap();
        // A PUBACK for nothing, which is too short as well.
        client.send(&packet(0x40, &[0])).unwrap();
        while client.receive().is_ok_and(|it| it.is_some()) {}
        connections += 1;
    };
    for _ in 0..500 {
        misbehave();
    }
    let left_out = "WARN lines like the next were left out count=";
    until("a count is logged", || {
        misbehave();
        daemon.process().log().contains(left_out)
    });
    let log = daemon.process().log();
    for line in ["INFO client connected", "WARN a client broke the protocol"] {
        let lines = log.lines().filter(|it| it.contains(line)).count();
        assert!((1..connections).contains(&lines), "{line}: {lines}");
    }
}
