//! Another client with the bridge's Client Identifier: pure. The hub serves the one that has connected
//! last, so the two take the session from each other again and again.

use mqtt::{ProtocolVersion, ReasonCode};

use crate::hub::HubError;

/// Connections in a row that a hub closed early and without a word, from which on there may be such
/// a client.
const CLOSED_MIN: u32 = 3;

/// What speaks for such a client at one hub.
#[derive(Debug, Default)]
pub(crate) struct Rival {
    /// Connections in a row that the hub closed early and without a word.
    closed: u32,
}

impl Rival {
    /// A connection of this version and Client Identifier has ended, `early` or not: why, with what
    /// is known or may be of such a client.
    pub(crate) fn explain(
        &mut self,
        error: &HubError,
        early: bool,
        version: ProtocolVersion,
        client_id: &str,
    ) -> String {
        // MQTT 5 has a word for everything.
        let is_suspect = early && !version.is_v5() && error.is_silent();
        self.closed = if is_suspect { self.closed + 1 } else { 0 };
        if is_taken_over(error) {
            format!("{error}: another client connects with the client id `{client_id}`")
        } else if self.closed >= CLOSED_MIN {
            let closed = self.closed;
            format!(
                "{error}, {closed} times in a row soon after it had accepted it: perhaps another \
                 client connects with the client id `{client_id}`"
            )
        } else {
            error.to_string()
        }
    }
}

const fn is_taken_over(error: &HubError) -> bool {
    matches!(
        error,
        HubError::Disconnected {
            reason: ReasonCode::SessionTakenOver,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const PERHAPS: &str = "perhaps another client connects with the client id `edge`";

    fn explain(rival: &mut Rival, error: &HubError, early: bool) -> String {
        rival.explain(error, early, ProtocolVersion::V311, "edge")
    }

    #[test]
    fn a_hub_that_closes_early_again_and_again_may_serve_another() {
        let mut rival = Rival::default();
        let reset = HubError::Io(io::ErrorKind::ConnectionReset.into());
        for _ in 0..2 {
            for error in [&HubError::Closed, &reset] {
                assert_eq!(explain(&mut rival, error, true), error.to_string());
            }
            let said = explain(&mut rival, &HubError::Closed, true);
            assert!(
                said.contains("3 times in a row") && said.ends_with(PERHAPS),
                "{said}"
            );
            // One that lasted, or was lost otherwise, says something else.
            let said = explain(&mut rival, &HubError::Closed, false);
            assert_eq!(said, "the hub closed the connection");
        }
        for _ in 0..2 {
            explain(&mut rival, &HubError::Closed, true);
        }
        explain(&mut rival, &HubError::Silent, true);
        let said = explain(&mut rival, &HubError::Closed, true);
        assert_eq!(said, "the hub closed the connection");
    }

    #[test]
    fn mqtt_5_says_so_or_it_is_something_else() {
        let mut rival = Rival::default();
        for _ in 0..9 {
            let said = rival.explain(&HubError::Closed, true, ProtocolVersion::V5, "edge");
            assert_eq!(said, "the hub closed the connection");
        }
        let error = HubError::Disconnected {
            reason: ReasonCode::SessionTakenOver,
            text: "session taken over (0x8E)".to_owned(),
        };
        assert_eq!(
            rival.explain(&error, false, ProtocolVersion::V5, "edge"),
            "the hub ended the connection: session taken over (0x8E): another client connects \
             with the client id `edge`"
        );
    }
}
