//! A DDS participant of one's own, for demonstrations and tests: the gateway's own layer over the
//! DDS stack, with JSON in and out.
//!
//! ```no_run
//! use gateway_dds::peer::{DomainSettings, EndpointSettings, Peer};
//! use gateway_dds::idl::Idl;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let idl = Idl::parse("struct Reading { @key string sensor; double value; };")?;
//! let reading = idl.find("Reading").ok_or("the type is missing")?;
//! let settings = DomainSettings { domain: 7, interface: Some("lo".into()), ..Default::default() };
//! let peer = Peer::open(&settings)?;
//! let writer = peer.writer("Readings", reading, &EndpointSettings::default())?;
//! writer.write(&serde_json::json!({ "sensor": "a", "value": 21.5 }))?;
//! # Ok(())
//! # }
//! ```
//!
//! A peer in the process of a gateway on the same domain needs the same [`DomainSettings`].

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use crate::config::{Durability, Reliability};
pub use crate::io::{DdsError, DomainSettings, EndpointSettings, HISTORY_MAX, WRITE_BLOCKING_MAX};

use crate::cdr::{self, ReadError, WriteError};
use crate::io::{Participant, Reader, Writer};
use crate::type_tree::Structure;

/// A participant.
#[derive(Clone, Debug)]
pub struct Peer {
    participant: Arc<Participant>,
}

/// Sends samples of one topic.
#[derive(Debug)]
pub struct PeerWriter {
    structure: Arc<Structure>,
    writer: Writer,
}

/// Receives the samples of one topic.
#[derive(Debug)]
pub struct PeerReader {
    structure: Arc<Structure>,
    reader: Reader,
}

/// A sample that cannot be sent or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The JSON is not a value of the type.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What came is not a sample of the type.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The DDS stack failed.
    #[error(transparent)]
    Dds(#[from] DdsError),
}

impl Peer {
    /// Joins a domain. Takes some milliseconds.
    ///
    /// # Errors
    /// The DDS stack refuses the settings, or the domain has others in this process.
    pub fn open(settings: &DomainSettings) -> Result<Self, DdsError> {
        Participant::open(settings).map(|participant| Self { participant })
    }

    /// Starts to send a topic.
    ///
    /// # Errors
    /// The DDS stack refuses the name, the type or the settings.
    pub fn writer(
        &self,
        dds_topic: &str,
        structure: &Arc<Structure>,
        settings: &EndpointSettings,
    ) -> Result<PeerWriter, DdsError> {
        let writer = Writer::open(&self.participant, dds_topic, structure, settings)?;
        let structure = Arc::clone(structure);
        Ok(PeerWriter { structure, writer })
    }

    /// Starts to receive a topic.
    ///
    /// # Errors
    /// The DDS stack refuses the name, the type or the settings.
    pub fn reader(
        &self,
        dds_topic: &str,
        structure: &Arc<Structure>,
        settings: &EndpointSettings,
    ) -> Result<PeerReader, DdsError> {
        let reader = Reader::open(&self.participant, dds_topic, structure, settings)?;
        let structure = Arc::clone(structure);
        Ok(PeerReader { structure, reader })
    }
}

impl PeerWriter {
    /// Sends a sample. Waits up to 100 ms if the writer is reliable and its readers do not keep
    /// up.
    ///
    /// # Errors
    /// The JSON is not a value of the type, or the readers did not keep up.
    pub fn write(&self, json: &Value) -> Result<(), PeerError> {
        let sample = cdr::write(&self.structure, self.writer.encoding(), json)?;
        Ok(self.writer.write(&sample)?)
    }

    /// How many readers the writer is matched with now; what is written before there is one is
    /// lost unless the writer is transient local.
    #[must_use]
    pub fn matched_readers(&self) -> usize {
        self.writer.matched_readers()
    }

    /// Waits until every matched reliable reader has acknowledged everything; false if `timeout`
    /// passed first.
    #[must_use]
    pub fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        self.writer.wait_for_acknowledgments(timeout)
    }
}

impl PeerReader {
    /// Takes up to 64 samples that have come, as JSON texts; does not wait.
    ///
    /// # Errors
    /// A sample is not of the type; the others of the batch are lost then.
    pub fn take(&self) -> Result<Vec<String>, PeerError> {
        let taken = self.reader.take()?;
        let samples = taken.samples.iter();
        samples
            .map(|sample| Ok(cdr::read(&self.structure, sample)?.json))
            .collect()
    }
}
