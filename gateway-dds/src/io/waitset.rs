//! Waiting for any of several readers.

use std::sync::Arc;

use super::{DdsError, Entity, Participant, Reader, check};

/// What the waitset reports when it was woken instead of a reader's index.
const WOKEN: isize = isize::MAX;

/// Waits until a reader has samples or something to say. May be woken from any thread.
#[derive(Debug)]
pub(crate) struct WaitSet {
    entity: Entity,
    capacity: usize,
    _participant: Arc<Participant>,
}

impl WaitSet {
    /// A waitset of these readers, which are known by their position from now on.
    pub(crate) fn new(
        participant: &Arc<Participant>,
        readers: &[Reader],
    ) -> Result<Self, DdsError> {
        let what = "the DDS readers cannot be waited for";
        // SAFETY: the participant exists.
        let handle = unsafe { cyclors::dds_create_waitset(participant.handle()) };
        let entity = Entity::new(handle, what)?;
        // SAFETY: both are the same existing waitset; this is how it can be woken.
        let code = unsafe { cyclors::dds_waitset_attach(entity.0, entity.0, WOKEN) };
        check(code, what)?;
        for (index, reader) in (0..).zip(readers) {
            for attached in reader.wait_handles() {
                // SAFETY: both entities exist; the last argument is only a number to the stack.
                let code = unsafe { cyclors::dds_waitset_attach(entity.0, attached, index) };
                check(code, what)?;
            }
        }
        Ok(Self {
            entity,
            capacity: readers.len() * 2 + 1,
            _participant: Arc::clone(participant),
        })
    }

    /// Waits and returns which readers are worth a look; none once the waitset was woken.
    ///
    /// # Errors
    /// The waitset is gone.
    pub(crate) fn wait(&self) -> Result<Option<Vec<usize>>, DdsError> {
        let mut ready = vec![0_isize; self.capacity];
        // SAFETY: the array has room for as many as the call is told.
        let code = unsafe {
            cyclors::dds_waitset_wait(self.entity.0, ready.as_mut_ptr(), ready.len(), i64::MAX)
        };
        let count = check(code, "waiting for DDS samples failed")?;
        ready.truncate(usize::try_from(count).unwrap_or(0));
        if ready.contains(&WOKEN) {
            return Ok(None);
        }
        let ready = ready.into_iter();
        let mut indexes: Vec<usize> = ready
            .filter_map(|index| usize::try_from(index).ok())
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        Ok(Some(indexes))
    }

    /// Ends this and every further wait.
    pub(crate) fn wake(&self) {
        // SAFETY: the handle is looked up by the stack.
        unsafe { cyclors::dds_waitset_set_trigger(self.entity.0, true) };
    }
}
