//! The only place that touches Cyclone DDS, and the only one with `unsafe`.
//!
//! Everything outside sees owned, safe values: a [`Participant`] keeps its domain alive, a
//! [`Reader`] or [`Writer`] its participant, and dropping them deletes the entities in that
//! order. Handles of Cyclone DDS are numbers that it looks up and checks, so a stale handle is an
//! error and not a dangling pointer; they may be used from any thread.

mod domain;
mod dynamic_type;
mod endpoint;
mod log;
mod waitset;

use std::ffi::{CStr, CString};

use cyclors::dds_entity_t;

pub use domain::DomainSettings;
pub(crate) use domain::Participant;
pub use endpoint::{EndpointSettings, HISTORY_MAX, WRITE_BLOCKING_MAX};
pub(crate) use endpoint::{Reader, Writer};
pub(crate) use waitset::WaitSet;

/// A call into the DDS stack that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DdsError {
    /// Something that the stack does not do.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried.
        what: String,
        /// The stack's word for why it failed.
        reason: String,
    },
    /// A reliable writer's peers did not take what was sent before within the time allowed.
    #[error("the peers do not keep up")]
    Timeout,
    /// The domain is in use in this process with other settings.
    #[error("the DDS domain {0} is already in use by another gateway with other settings")]
    Conflict(u32),
}

impl DdsError {
    fn new(what: impl Into<String>, code: i32) -> Self {
        Self::Failed {
            what: what.into(),
            reason: reason(code),
        }
    }
}

fn reason(code: i32) -> String {
    // SAFETY: the function maps any number to a string constant.
    let text = unsafe { cyclors::dds_strretcode(code.saturating_neg()) };
    if text.is_null() {
        return code.to_string();
    }
    // SAFETY: it is not null, hence a string constant with a terminating null.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// The result of a call that returns an error as a negative number.
fn check(code: i32, what: &str) -> Result<i32, DdsError> {
    if code < 0 {
        return Err(DdsError::new(what, code));
    }
    Ok(code)
}

fn c_string(text: &str) -> Result<CString, DdsError> {
    CString::new(text).map_err(|_| DdsError::Failed {
        what: format!("{text:?}"),
        reason: "a name must not have a null character".to_owned(),
    })
}

/// An entity that is deleted, with all that belongs to it, when it is dropped.
#[derive(Debug)]
struct Entity(dds_entity_t);

impl Entity {
    /// Takes over what a `dds_create_` function returned.
    fn new(handle: dds_entity_t, what: &str) -> Result<Self, DdsError> {
        check(handle, what).map(Self)
    }
}

impl Drop for Entity {
    fn drop(&mut self) {
        // SAFETY: the handle is looked up by the stack; one that is gone already is refused.
        let code = unsafe { cyclors::dds_delete(self.0) };
        if code < 0 {
            tracing::debug!(reason = reason(code), "a DDS entity was gone already");
        }
    }
}
