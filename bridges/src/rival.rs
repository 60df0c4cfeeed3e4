//! Another client with the bridge's Client Identifier: pure. The hub serves the one that has connected
//! last, so the two take the session from each other again and again.

use std::time::Duration;

use mqtt::ReasonCode;

use crate::hub::HubError;

/// Connections in a row that a hub closed early and without a word, from which on there may be such
/// a client.
const CLOSED_MIN: u32 = 3;
/// It would be back within this time, if it pauses as bridges do.
const EARLY: Duration = Duration::from_secs(60);

/// What speaks for such a client at one hub.
#[derive(Debug, Default)]
pub(crate) struct Rival {
    /// Connections in a row that the hub closed early and without a word.
    closed: u32,
}

impl Rival {
    /// A connection with this Client Identifier has ended: why, with what is known or may be of such a
    /// client. It may be a message instead if one `is_sought`: then there are unacknowledged ones on
    /// their way each time.
    pub(crate) fn explain(
        &mut self,
        error: &HubError,
        lasted: Duration,
        client_id: &str,
        is_sought: bool,
    ) -> String {
        // In MQTT 5 the hub has to say so, and Mosquitto does not.
        let is_suspect = lasted < EARLY && error.is_silent();
        self.closed = if is_suspect { self.closed + 1 } else { 0 };
        if is_taken_over(error) {
            format!("{error}: another client connects with the client id `{client_id}`")
        } else if self.closed >= CLOSED_MIN {
            let closed = self.closed;
            let perhaps = if is_sought {
                "because of a message, which is being looked for".to_owned()
            } else {
                format!("another client connects with the client id `{client_id}`")
            };
            format!("{error}, {closed} times in a row, each within a minute: perhaps {perhaps}")
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

    fn explain(rival: &mut Rival, error: &HubError, is_early: bool) -> String {
        let lasted = Duration::from_secs(if is_early { 59 } else { 60 });
        rival.explain(error, lasted, "edge", false)
    }

    #[test]
    fn a_hub_that_may_not_stand_a_message_is_not_said_to_serve_another() {
        let mut rival = Rival::default();
        let lasted = Duration::from_secs(1);
        let mut explain = || rival.explain(&HubError::Closed, lasted, "edge", true);
        for _ in 1..CLOSED_MIN {
            assert_eq!(explain(), "the hub closed the connection");
        }
        assert_eq!(
            explain(),
            "the hub closed the connection, 3 times in a row, each within a minute: perhaps \
             because of a message, which is being looked for"
        );
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
                said.contains("3 times in a row, each within a minute: ")
                    && said.ends_with(PERHAPS),
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
    fn a_hub_that_says_so_is_believed() {
        let error = HubError::Disconnected {
            reason: ReasonCode::SessionTakenOver,
            text: "session taken over (0x8E)".to_owned(),
        };
        assert_eq!(
            explain(&mut Rival::default(), &error, false),
            "the hub ended the connection: session taken over (0x8E): another client connects \
             with the client id `edge`"
        );
    }
}
