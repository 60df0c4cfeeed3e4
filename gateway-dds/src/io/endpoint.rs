//! Readers and writers of one topic. Samples cross this boundary as bytes with their
//! encapsulation header.

use std::ffi::{CString, c_char, c_void};
use std::mem::zeroed;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use cyclors::{dds_qos_t, dds_sample_info_t, ddsi_serdata, ddsi_sertype, ddsrt_iovec_t};

use super::{DdsError, Entity, Participant, c_string, check, dynamic_type};
use crate::cdr::Encoding;
use crate::config::{Durability, Reliability};
use crate::type_tree::Structure;

/// Samples that a reader keeps, all instances together, until they are taken. A reliable writer
/// waits for a reader that is full; of a best effort one the newest samples are lost.
pub const HISTORY_MAX: u32 = 16_384;
/// Samples that are taken at once.
const BATCH: usize = 64;
/// How long a reliable write waits for peers that do not keep up.
pub const WRITE_BLOCKING_MAX: Duration = Duration::from_millis(100);

/// The QoS of a reader or writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Whether lost samples are sent again.
    pub reliability: Reliability,
    /// Whether late joiners get what was written before.
    pub durability: Durability,
    /// Samples kept of each instance, 1 to [`HISTORY_MAX`]; none keeps all, within limits.
    pub history_depth: Option<u32>,
    /// Partitions to be in; none is the default partition.
    pub partitions: Vec<String>,
}

/// A QoS object of the stack.
struct Qos(*mut dds_qos_t);

impl Drop for Qos {
    fn drop(&mut self) {
        // SAFETY: the object came from the stack, is ours and is freed once.
        unsafe { cyclors::dds_delete_qos(self.0) };
    }
}

impl Qos {
    /// What readers and writers have in common.
    fn new(settings: &EndpointSettings) -> Result<Self, DdsError> {
        let names = settings.partitions.iter();
        let names: Vec<CString> = names.map(|name| c_string(name)).collect::<Result<_, _>>()?;
        let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let reliability = match settings.reliability {
            Reliability::Reliable => cyclors::dds_reliability_kind_DDS_RELIABILITY_RELIABLE,
            Reliability::BestEffort => cyclors::dds_reliability_kind_DDS_RELIABILITY_BEST_EFFORT,
        };
        let durability = match settings.durability {
            Durability::Volatile => cyclors::dds_durability_kind_DDS_DURABILITY_VOLATILE,
            Durability::TransientLocal => {
                cyclors::dds_durability_kind_DDS_DURABILITY_TRANSIENT_LOCAL
            }
        };
        let (history, depth) = match settings.history_depth {
            Some(depth) => (cyclors::dds_history_kind_DDS_HISTORY_KEEP_LAST, depth),
            None => (cyclors::dds_history_kind_DDS_HISTORY_KEEP_ALL, 1),
        };
        let depth = depth.clamp(1, HISTORY_MAX) as i32;
        let blocking = WRITE_BLOCKING_MAX.as_nanos() as i64;
        // SAFETY: the object is created first and ours; the partitions' names outlive the call
        // that copies them.
        unsafe {
            let qos = Self(cyclors::dds_create_qos());
            cyclors::dds_qset_reliability(qos.0, reliability, blocking);
            cyclors::dds_qset_durability(qos.0, durability);
            cyclors::dds_qset_history(qos.0, history, depth);
            // A participant does not hear itself: that is what ends a loop through both rules.
            cyclors::dds_qset_ignorelocal(
                qos.0,
                cyclors::dds_ignorelocal_kind_DDS_IGNORELOCAL_PARTICIPANT,
            );
            if !names.is_empty() {
                cyclors::dds_qset_partition(qos.0, names.len() as u32, names.as_mut_ptr());
            }
            Ok(qos)
        }
    }

    fn limit_reader(&self) {
        let max = HISTORY_MAX as i32;
        // SAFETY: the object is valid.
        unsafe { cyclors::dds_qset_resource_limits(self.0, max, -1, max) };
    }

    fn set_writer(&self, settings: &EndpointSettings, structure: &Structure) {
        let representation = match Encoding::of(structure) {
            Encoding::Xcdr1 => cyclors::DDS_DATA_REPRESENTATION_XCDR1,
            Encoding::Xcdr2 => cyclors::DDS_DATA_REPRESENTATION_XCDR2,
        } as i16;
        // Late joiners get the newest sample of each instance unless more is asked for.
        let depth = settings.history_depth.unwrap_or(1).clamp(1, HISTORY_MAX) as i32;
        let history = cyclors::dds_history_kind_DDS_HISTORY_KEEP_LAST;
        // SAFETY: the object is valid, the one representation is copied.
        unsafe {
            cyclors::dds_qset_data_representation(self.0, 1, &raw const representation);
            cyclors::dds_qset_durability_service(self.0, 0, history, depth, -1, -1, -1);
        }
    }
}

/// Receives the samples of one topic.
#[derive(Debug)]
pub(crate) struct Reader {
    // Dropped in this order.
    condition: Entity,
    entity: Entity,
    _topic: Entity,
    _participant: Arc<Participant>,
    topic_name: String,
    reliability: Reliability,
}

/// What a reader had.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The samples in the order in which they came.
    pub(crate) samples: Vec<Vec<u8>>,
    /// Notices without data: an instance was disposed of or has no writer any more.
    pub(crate) notices: usize,
}

impl Reader {
    /// Starts to receive a topic.
    ///
    /// # Errors
    /// The stack refuses the type, the name or the settings, or has the topic with another type.
    pub(crate) fn open(
        participant: &Arc<Participant>,
        topic: &str,
        structure: &Structure,
        settings: &EndpointSettings,
    ) -> Result<Self, DdsError> {
        let topic_entity = dynamic_type::create_topic(participant, topic, structure)?;
        let qos = Qos::new(settings)?;
        qos.limit_reader();
        let what = format!("the DDS reader of `{topic}` cannot be created");
        // SAFETY: participant and topic exist, the QoS is copied, there is no listener.
        let handle = unsafe {
            cyclors::dds_create_reader(participant.handle(), topic_entity.0, qos.0, ptr::null())
        };
        let entity = Entity::new(handle, &what)?;
        let mut mask = 1 << cyclors::dds_status_id_DDS_SAMPLE_LOST_STATUS_ID
            | 1 << cyclors::dds_status_id_DDS_REQUESTED_INCOMPATIBLE_QOS_STATUS_ID;
        if settings.reliability == Reliability::BestEffort {
            // A reliable reader is given what it rejected again, until it has room.
            mask |= 1 << cyclors::dds_status_id_DDS_SAMPLE_REJECTED_STATUS_ID;
        }
        // SAFETY: the reader exists.
        let code = unsafe { cyclors::dds_set_status_mask(entity.0, mask) };
        check(code, &what)?;
        // SAFETY: the reader exists.
        let handle = unsafe { cyclors::dds_create_readcondition(entity.0, cyclors::DDS_ANY_STATE) };
        Ok(Self {
            condition: Entity::new(handle, &what)?,
            entity,
            _topic: topic_entity,
            _participant: Arc::clone(participant),
            topic_name: topic.to_owned(),
            reliability: settings.reliability,
        })
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.topic_name
    }

    pub(super) const fn wait_handles(&self) -> [i32; 2] {
        [self.condition.0, self.entity.0]
    }

    /// Takes up to 64 samples and notices; both are empty if there is nothing.
    ///
    /// # Errors
    /// The reader is gone.
    pub(crate) fn take(&self) -> Result<Taken, DdsError> {
        let mut serialized: [*mut ddsi_serdata; BATCH] = [ptr::null_mut(); BATCH];
        // SAFETY: sample infos are plain numbers, for which zero is a value.
        let mut infos: [dds_sample_info_t; BATCH] = unsafe { zeroed() };
        // SAFETY: both arrays have room for as many as the call is told.
        let code = unsafe {
            cyclors::dds_takecdr(
                self.entity.0,
                serialized.as_mut_ptr(),
                BATCH as u32,
                infos.as_mut_ptr(),
                cyclors::DDS_ANY_STATE,
            )
        };
        let count = check(code, "taking DDS samples failed")?;
        let count = usize::try_from(count).unwrap_or(0);
        let mut taken = Taken::default();
        for (&data, info) in serialized.iter().zip(&infos).take(count) {
            if info.valid_data {
                // SAFETY: the first `count` are valid, and ours until they are released below.
                taken.samples.push(unsafe { copy_bytes(data) });
            } else {
                taken.notices += 1;
            }
            // SAFETY: as above; the reference is given back once.
            unsafe { cyclors::ddsi_serdata_unref(data) };
        }
        Ok(taken)
    }

    /// What went wrong since the last call, in words for the log.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        // SAFETY: plain numbers, for which zero is a value.
        let mut lost: cyclors::dds_sample_lost_status_t = unsafe { zeroed() };
        // SAFETY: as above.
        let mut rejected: cyclors::dds_sample_rejected_status_t = unsafe { zeroed() };
        // SAFETY: as above.
        let mut policy: cyclors::dds_requested_incompatible_qos_status_t = unsafe { zeroed() };
        let reader = self.entity.0;
        // SAFETY: the reader exists and the status objects are ours.
        let codes = unsafe {
            [
                cyclors::dds_get_sample_lost_status(reader, &raw mut lost),
                cyclors::dds_get_requested_incompatible_qos_status(reader, &raw mut policy),
                cyclors::dds_get_sample_rejected_status(reader, &raw mut rejected),
            ]
        };
        let is_lossy = self.reliability == Reliability::BestEffort;
        if codes[2] == 0 && is_lossy && rejected.total_count_change > 0 {
            let count = rejected.total_count_change;
            troubles.push(format!(
                "{count} samples were lost: {HISTORY_MAX} are waiting"
            ));
        }
        if codes[0] == 0 && lost.total_count_change > 0 {
            troubles.push(format!("{} samples were lost", lost.total_count_change));
        }
        if codes[1] == 0 && policy.total_count_change > 0 {
            let id = policy.last_policy_id;
            troubles.push(format!(
                "a writer does not match because of its QoS: {}",
                policy_name(id)
            ));
        }
        troubles
    }
}

/// The QoS policy with this number in the DDS specification.
fn policy_name(id: u32) -> &'static str {
    match id {
        2 => "durability",
        3 => "presentation",
        4 => "deadline",
        5 => "latency budget",
        6 => "ownership",
        8 => "liveliness",
        11 => "reliability",
        12 => "destination order",
        23 => "data representation",
        _ => "another policy",
    }
}

/// Copies a serialized sample, its encapsulation header included.
///
/// # Safety
/// `data` is a serialized sample to which the caller has a reference.
unsafe fn copy_bytes(data: *const ddsi_serdata) -> Vec<u8> {
    // SAFETY: the caller vouches for `data`; the stack makes the bytes readable until they are
    // given back, which happens before this function ends.
    unsafe {
        let size = cyclors::ddsi_serdata_size(data) as usize;
        let mut bytes: ddsrt_iovec_t = zeroed();
        let reference = cyclors::ddsi_serdata_to_ser_ref(data, 0, size, &raw mut bytes);
        let copy = if bytes.iov_base.is_null() {
            Vec::new()
        } else {
            std::slice::from_raw_parts(bytes.iov_base.cast::<u8>(), bytes.iov_len).to_vec()
        };
        cyclors::ddsi_serdata_to_ser_unref(reference, &raw const bytes);
        copy
    }
}

/// Sends the samples of one topic.
#[derive(Debug)]
pub(crate) struct Writer {
    // Dropped in this order.
    entity: Entity,
    _topic: Entity,
    _participant: Arc<Participant>,
    encoding: Encoding,
}

impl Writer {
    /// Starts to send a topic.
    ///
    /// # Errors
    /// The stack refuses the type, the name or the settings, or has the topic with another type.
    pub(crate) fn open(
        participant: &Arc<Participant>,
        topic: &str,
        structure: &Structure,
        settings: &EndpointSettings,
    ) -> Result<Self, DdsError> {
        let topic_entity = dynamic_type::create_topic(participant, topic, structure)?;
        let qos = Qos::new(settings)?;
        qos.set_writer(settings, structure);
        // SAFETY: participant and topic exist, the QoS is copied, there is no listener.
        let handle = unsafe {
            cyclors::dds_create_writer(participant.handle(), topic_entity.0, qos.0, ptr::null())
        };
        let what = format!("the DDS writer of `{topic}` cannot be created");
        Ok(Self {
            entity: Entity::new(handle, &what)?,
            _topic: topic_entity,
            _participant: Arc::clone(participant),
            encoding: Encoding::of(structure),
        })
    }

    /// How samples must be laid out.
    pub(crate) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sends a sample, its encapsulation header included. Waits up to [`WRITE_BLOCKING_MAX`] if
    /// the writer is reliable and its peers do not keep up.
    ///
    /// # Errors
    /// The peers did not keep up, or the bytes are not a sample of the type.
    pub(crate) fn write(&self, sample: &[u8]) -> Result<(), DdsError> {
        let what = "writing a DDS sample failed";
        let mut sertype: *const ddsi_sertype = ptr::null();
        // SAFETY: the writer exists; its type stays valid as long as it does.
        let code = unsafe { cyclors::dds_get_entity_sertype(self.entity.0, &raw mut sertype) };
        check(code, what)?;
        let bytes = ddsrt_iovec_t {
            iov_base: sample.as_ptr().cast::<c_void>().cast_mut(),
            iov_len: sample.len(),
        };
        // SAFETY: the one piece has the length that is stated and is only read and copied.
        let data = unsafe {
            cyclors::ddsi_serdata_from_ser_iov(
                sertype,
                cyclors::ddsi_serdata_kind_SDK_DATA,
                1,
                &raw const bytes,
                sample.len(),
            )
        };
        if data.is_null() {
            return Err(DdsError::Failed {
                what: what.to_owned(),
                reason: "the bytes are not a sample of the type".to_owned(),
            });
        }
        // SAFETY: the sample is of the writer's type; its reference passes to the call.
        let code = unsafe { cyclors::dds_writecdr(self.entity.0, data) };
        if code == cyclors::DDS_RETCODE_TIMEOUT {
            return Err(DdsError::Timeout);
        }
        check(code, what).map(|_| ())
    }

    /// How many readers the writer is matched with now.
    pub(crate) fn matched_readers(&self) -> usize {
        // SAFETY: plain numbers, for which zero is a value.
        let mut status: cyclors::dds_publication_matched_status_t = unsafe { zeroed() };
        // SAFETY: the writer exists and the status object is ours.
        let code =
            unsafe { cyclors::dds_get_publication_matched_status(self.entity.0, &raw mut status) };
        if code < 0 {
            0
        } else {
            status.current_count as usize
        }
    }

    /// Waits until every matched reliable reader has acknowledged everything; false if `timeout`
    /// passed first.
    pub(crate) fn wait_for_acknowledgments(&self, timeout: Duration) -> bool {
        let nanos = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        // SAFETY: the writer exists.
        unsafe { cyclors::dds_wait_for_acks(self.entity.0, nanos) == 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::idl::Idl;
    use crate::io::DomainSettings;

    #[test]
    fn qos_that_does_not_match_is_told() {
        let settings = DomainSettings {
            domain: std::process::id() % 230 + 1,
            interface: Some("lo".to_owned()),
            ..DomainSettings::default()
        };
        let idl = Idl::parse("struct S { long x; };").unwrap();
        let structure = idl.find("S").unwrap();
        let best_effort = EndpointSettings {
            reliability: Reliability::BestEffort,
            ..EndpointSettings::default()
        };
        let (here, there) = (Participant::open(&settings), Participant::open(&settings));
        let (here, there) = (here.unwrap(), there.unwrap());
        let writer = Writer::open(&there, "T", structure, &best_effort).unwrap();
        let reader = Reader::open(&here, "T", structure, &EndpointSettings::default()).unwrap();
        let start = Instant::now();
        let mut troubles = reader.troubles();
        while troubles.is_empty() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
            troubles = reader.troubles();
        }
        assert_eq!(
            troubles,
            ["a writer does not match because of its QoS: reliability"]
        );
        assert_eq!(writer.matched_readers(), 0);
        assert!(reader.troubles().is_empty());
        // What is not a sample of the type is refused by the stack.
        assert!(matches!(
            writer.write(&[0, 1, 0, 0, 1]),
            Err(DdsError::Failed { .. })
        ));
    }

    #[test]
    fn a_full_best_effort_reader_tells_what_it_lost() {
        let settings = DomainSettings {
            domain: (std::process::id() + 1) % 230 + 1,
            interface: Some("lo".to_owned()),
            ..DomainSettings::default()
        };
        let idl = Idl::parse("struct S { long x; };").unwrap();
        let structure = idl.find("S").unwrap();
        let best_effort = EndpointSettings {
            reliability: Reliability::BestEffort,
            ..EndpointSettings::default()
        };
        let (here, there) = (Participant::open(&settings), Participant::open(&settings));
        let (here, there) = (here.unwrap(), there.unwrap());
        let reader = Reader::open(&here, "T", structure, &best_effort).unwrap();
        let writer = Writer::open(&there, "T", structure, &best_effort).unwrap();
        let start = Instant::now();
        while writer.matched_readers() == 0 && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        for _ in 0..HISTORY_MAX + 10 {
            writer.write(&[0, 1, 0, 0, 7, 0, 0, 0]).unwrap();
        }
        assert_eq!(
            reader.troubles(),
            ["10 samples were lost: 16384 are waiting"]
        );
        let mut count = 0;
        loop {
            let taken = reader.take().unwrap();
            if taken.samples.is_empty() {
                break;
            }
            assert!(
                taken
                    .samples
                    .iter()
                    .all(|sample| sample == &[0, 1, 0, 0, 7, 0, 0, 0])
            );
            count += taken.samples.len();
        }
        assert_eq!(count, HISTORY_MAX as usize);
    }
}
