//! Enhanced authentication (§4.12): the exchange of AUTH packets, whatever the mechanism is.
//!
//! It runs twice: before CONNACK, where the caller reads the packets, and as re-authentication
//! on an accepted connection.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::packet::{Auth, Connect, Packet, Properties, Property};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// Steps of one exchange; a client that needs more is refused.
const STEPS_MAX: u32 = 16;

/// One run of a mechanism, such as SCRAM, for one client.
pub trait Mechanism: fmt::Debug + Send {
    /// Takes the client's Authentication Data, empty if it sent none.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What a mechanism makes of the client's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client has to answer this.
    Continue(Vec<u8>),
    /// The client is who it says it is; empty data is not sent.
    Success(Vec<u8>),
    /// It is not.
    Failure,
}

/// Begins a run of a mechanism.
pub type StartMechanism = Arc<dyn Fn() -> Box<dyn Mechanism> + Send + Sync>;

/// The mechanisms of a server by their Authentication Method.
#[derive(Clone, Default)]
pub struct Mechanisms(BTreeMap<String, StartMechanism>);

impl Mechanisms {
    /// Offers one more mechanism.
    pub fn insert(&mut self, method: &str, start: StartMechanism) {
        self.0.insert(method.to_owned(), start);
    }
}

impl fmt::Debug for Mechanisms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The authentication of one connection by the method that its CONNECT named.
pub struct Authentication {
    method: String,
    start: StartMechanism,
    running: Option<Box<dyn Mechanism>>,
    steps: u32,
    /// Bytes of the largest packet that the client accepts.
    packet_bytes_max: u32,
}

/// How far an exchange has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An AUTH packet was put into the output, and the client's is awaited.
    Continue,
    /// The client is who it says it is; this is the last data for it.
    Done(Vec<u8>),
}

impl Authentication {
    /// What a CONNECT asks for: none if it names no method. Its data are the first step.
    ///
    /// # Errors
    /// The method is not offered [MQTT-4.12.0-1], or there are data without a method.
    pub fn begin(
        connect: &Connect<'_>,
        mechanisms: &Mechanisms,
    ) -> Result<Option<Self>, ProtocolViolation> {
        let Some(method) = method(connect.properties) else {
            if data(connect.properties).is_some() {
                let detail = "authentication data without a method";
                return Err(ProtocolViolation::protocol(detail));
            }
            return Ok(None);
        };
        let refused = ProtocolViolation::new(
            ReasonCode::BadAuthenticationMethod,
            "the authentication method is not supported",
        );
        let start = Arc::clone(mechanisms.0.get(method).ok_or(refused)?);
        Ok(Some(Self {
            method: method.to_owned(),
            running: Some(start()),
            start,
            steps: 0,
            packet_bytes_max: connect.packet_bytes_max(),
        }))
    }

    /// Goes on with the data of CONNECT or of an AUTH packet; a question for the client is
    /// appended to `out` as AUTH.
    ///
    /// # Errors
    /// The client is refused.
    pub fn advance(
        &mut self,
        properties: Properties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, ProtocolViolation> {
        let Some(mechanism) = &mut self.running else {
            let detail = "AUTH goes on with an authentication that is over";
            return Err(ProtocolViolation::protocol(detail));
        };
        self.steps += 1;
        let failed = |detail| Err(ProtocolViolation::new(ReasonCode::NotAuthorized, detail));
        if self.steps > STEPS_MAX {
            return failed("the authentication takes too many steps");
        }
        match mechanism.step(data(properties).unwrap_or_default()) {
            Step::Continue(question) => {
                self.encode(ReasonCode::ContinueAuthentication, &question, out)?;
                Ok(Progress::Continue)
            }
            Step::Success(last) => {
                self.running = None;
                Ok(Progress::Done(last))
            }
            Step::Failure => failed("the authentication failed"),
        }
    }

    /// Takes the AUTH that a client sends before CONNACK.
    ///
    /// # Errors
    /// It is not the next step [MQTT-4.12.0-5], or the client is refused.
    pub fn on_auth(
        &mut self,
        auth: &Auth<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, ProtocolViolation> {
        self.check_method(auth)?;
        if auth.reason != ReasonCode::ContinueAuthentication {
            let detail = "AUTH does not continue the authentication";
            return Err(ProtocolViolation::protocol(detail));
        }
        self.advance(auth.properties, out)
    }

    /// Takes the AUTH that a client sends after CONNACK, and answers it [MQTT-4.12.1-1].
    pub(super) fn on_reauthentication(
        &mut self,
        auth: &Auth<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolViolation> {
        self.check_method(auth)?;
        match (auth.reason, &self.running) {
            (ReasonCode::ReAuthenticate, None) => {
                self.running = Some((self.start)());
                self.steps = 0;
            }
            (ReasonCode::ContinueAuthentication, Some(_)) => {}
            _ => return Err(ProtocolViolation::protocol("AUTH comes out of turn")),
        }
        if let Progress::Done(last) = self.advance(auth.properties, out)? {
            self.encode(ReasonCode::Success, &last, out)?;
        }
        Ok(())
    }

    fn check_method(&self, auth: &Auth<'_>) -> Result<(), ProtocolViolation> {
        match method(auth.properties) {
            Some(method) if method == self.method => Ok(()),
            Some(_) => Err(ProtocolViolation::new(
                ReasonCode::BadAuthenticationMethod,
                "AUTH has another method than CONNECT",
            )),
            None => Err(ProtocolViolation::protocol("AUTH without a method")),
        }
    }

    /// Appends the properties that CONNACK and AUTH carry [MQTT-4.12.0-5].
    pub(super) fn encode_properties(&self, data: &[u8], raw: &mut Vec<u8>) {
        Property::AuthenticationMethod(&self.method).encode(raw);
        if !data.is_empty() {
            Property::AuthenticationData(data).encode(raw);
        }
    }

    fn encode(
        &self,
        reason: ReasonCode,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolViolation> {
        let mut raw = Vec::new();
        self.encode_properties(data, &mut raw);
        let properties = Properties::trusted(&raw);
        let start = out.len();
        Packet::Auth(Auth { reason, properties }).encode(ProtocolVersion::V5, out);
        // [MQTT-3.1.2-24]
        if out.len() - start > self.packet_bytes_max as usize {
            out.truncate(start);
            let detail = "AUTH would be larger than the client accepts";
            return Err(ProtocolViolation::new(ReasonCode::PacketTooLarge, detail));
        }
        Ok(())
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Authentication");
        debug.field("method", &self.method);
        debug
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

fn method(properties: Properties<'_>) -> Option<&str> {
    properties.iter().find_map(|property| {
        if let Property::AuthenticationMethod(method) = property {
            Some(method)
        } else {
            None
        }
    })
}

fn data(properties: Properties<'_>) -> Option<&[u8]> {
    properties.iter().find_map(|property| {
        if let Property::AuthenticationData(data) = property {
            Some(data)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Frame;

    /// Asks once for "pass", and lets those in who know the word.
    #[derive(Debug)]
    struct Password {
        asked: bool,
    }

    impl Mechanism for Password {
        fn step(&mut self, data: &[u8]) -> Step {
            match (std::mem::replace(&mut self.asked, true), data) {
                (false, _) => Step::Continue(b"pass?".to_vec()),
                (true, b"pass") => Step::Success(b"welcome".to_vec()),
                (true, b"more") => Step::Continue(b"pass?".to_vec()),
                (true, _) => Step::Failure,
            }
        }
    }

    fn mechanisms() -> Mechanisms {
        let mut mechanisms = Mechanisms::default();
        mechanisms.insert("P", Arc::new(|| Box::new(Password { asked: false })));
        mechanisms
    }

    fn connect(raw: &[u8]) -> Connect<'_> {
        Connect {
            version: ProtocolVersion::V5,
            is_bridge: false,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::trusted(raw),
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
        }
    }

    fn properties(method: Option<&str>, data: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        if let Some(method) = method {
            Property::AuthenticationMethod(method).encode(&mut raw);
        }
        Property::AuthenticationData(data).encode(&mut raw);
        raw
    }

    fn auth(reason: ReasonCode, raw: &[u8]) -> Auth<'_> {
        let properties = Properties::trusted(raw);
        Auth { reason, properties }
    }

    fn sent(bytes: &[u8]) -> (ReasonCode, Vec<u8>) {
        let (frame, length) = Frame::split(bytes, 1_000).unwrap().unwrap();
        assert_eq!(length, bytes.len(), "one packet");
        let Ok(Packet::Auth(auth)) = Packet::decode(frame, ProtocolVersion::V5) else {
            panic!("no AUTH: {bytes:?}");
        };
        assert_eq!(method(auth.properties), Some("P"));
        let data = data(auth.properties).unwrap_or_default();
        (auth.reason, data.to_vec())
    }

    /// After the question that answers CONNECT.
    fn begun() -> Authentication {
        let raw = properties(Some("P"), b"");
        let connect = connect(&raw);
        let authentication = Authentication::begin(&connect, &mechanisms()).unwrap();
        let mut authentication = authentication.expect("a method is named");
        let mut out = Vec::new();
        let progress = authentication.advance(connect.properties, &mut out);
        assert_eq!(progress, Ok(Progress::Continue));
        let question = (ReasonCode::ContinueAuthentication, b"pass?".to_vec());
        assert_eq!(sent(&out), question);
        authentication
    }

    fn done() -> Authentication {
        let mut authentication = begun();
        let raw = properties(Some("P"), b"pass");
        let answer = auth(ReasonCode::ContinueAuthentication, &raw);
        let progress = authentication.on_auth(&answer, &mut Vec::new());
        assert_eq!(progress, Ok(Progress::Done(b"welcome".to_vec())));
        authentication
    }

    // Conforms: 5.0 [MQTT-4.12.0-2]
    // Conforms: 5.0 [MQTT-4.12.0-1]
    #[test]
    fn a_connect_is_authenticated_by_the_method_it_names() {
        done();
        let begin = |raw: &[u8]| {
            Authentication::begin(&connect(raw), &mechanisms())
                .map(|it| it.is_some())
                .map_err(|violation| violation.reason)
        };
        assert_eq!(begin(&[]), Ok(false));
        let unknown = properties(Some("X"), b"");
        assert_eq!(begin(&unknown), Err(ReasonCode::BadAuthenticationMethod));
        let no_method = properties(None, b"x");
        assert_eq!(begin(&no_method), Err(ReasonCode::ProtocolError));
    }

    #[test]
    fn what_is_not_the_next_step_is_refused() {
        let continues = ReasonCode::ContinueAuthentication;
        let table = [
            (
                Some("P"),
                continues,
                b"wrong".as_slice(),
                ReasonCode::NotAuthorized,
            ),
            (
                Some("X"),
                continues,
                b"pass",
                ReasonCode::BadAuthenticationMethod,
            ),
            (None, continues, b"pass", ReasonCode::ProtocolError),
            (
                Some("P"),
                ReasonCode::Success,
                b"pass",
                ReasonCode::ProtocolError,
            ),
            (
                Some("P"),
                ReasonCode::ReAuthenticate,
                b"pass",
                ReasonCode::ProtocolError,
            ),
        ];
        for (method, reason, data, expected) in table {
            let raw = properties(method, data);
            let error = begun().on_auth(&auth(reason, &raw), &mut Vec::new());
            assert_eq!(error.unwrap_err().reason, expected, "{method:?} {reason:?}");
        }
    }

    #[test]
    fn an_endless_exchange_ends() {
        let mut authentication = begun();
        let raw = properties(Some("P"), b"more");
        let more = auth(ReasonCode::ContinueAuthentication, &raw);
        let outcomes = (0..STEPS_MAX).map(|_| authentication.on_auth(&more, &mut Vec::new()));
        let last = outcomes.last().unwrap();
        assert_eq!(last.unwrap_err().reason, ReasonCode::NotAuthorized);
    }

    #[test]
    fn a_client_authenticates_again() {
        let mut authentication = done();
        let mut out = Vec::new();
        let raw = properties(Some("P"), b"");
        let again = auth(ReasonCode::ReAuthenticate, &raw);
        authentication
            .on_reauthentication(&again, &mut out)
            .unwrap();
        let question = (ReasonCode::ContinueAuthentication, b"pass?".to_vec());
        assert_eq!(sent(&out), question);
        // A second one must wait for the end of the first.
        let error = authentication.on_reauthentication(&again, &mut out);
        assert_eq!(error.unwrap_err().reason, ReasonCode::ProtocolError);
        out.clear();
        let raw = properties(Some("P"), b"pass");
        let answer = auth(ReasonCode::ContinueAuthentication, &raw);
        authentication
            .on_reauthentication(&answer, &mut out)
            .unwrap();
        assert_eq!(sent(&out), (ReasonCode::Success, b"welcome".to_vec()));
        let error = authentication.on_reauthentication(&answer, &mut out);
        assert_eq!(error.unwrap_err().reason, ReasonCode::ProtocolError);
    }
}
