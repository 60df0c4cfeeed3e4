//! CONNECT and CONNACK (§3.1, §3.2).

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient};

#[test]
fn every_version_is_let_in() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client = WireClient::connect(daemon.port(), version, "c", Kept::Nothing);
        assert!(!client.unwrap().1, "{version:?}: there was no session");
    }
}
