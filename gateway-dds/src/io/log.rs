//! What Cyclone DDS has to say, in the daemon's log.

use std::ffi::c_void;
use std::panic::catch_unwind;
use std::sync::{Mutex, Once, PoisonError};

use cyclors::{DDS_LC_ERROR, DDS_LC_FATAL, DDS_LC_WARNING, dds_log_data_t};

use crate::rate_limit::RateLimit;

/// Bytes of one line that are kept; malformed datagrams come with a dump.
const LINE_BYTES_MAX: usize = 400;

static INSTALL: Once = Once::new();
static LIMIT: Mutex<RateLimit> = Mutex::new(RateLimit::new());
static LAST_ERROR: Mutex<String> = Mutex::new(String::new());

/// Routes the stack's log to `tracing`, once for the process.
pub(super) fn install() {
    INSTALL.call_once(|| {
        // SAFETY: the callback matches the type, needs no argument and lives as long as the
        // process.
        unsafe { cyclors::dds_set_log_sink(Some(on_line), std::ptr::null_mut()) };
    });
}

/// Forgets the last error and returns it; empty if there was none.
pub(super) fn take_last_error() -> String {
    std::mem::take(&mut *LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Called by the stack, on any of its threads, for each line.
unsafe extern "C" fn on_line(_argument: *mut c_void, data: *const dds_log_data_t) {
    // SAFETY: the stack passes a valid pointer for the duration of the call, or null never.
    let Some(data) = (unsafe { data.as_ref() }) else {
        return;
    };
    if data.message.is_null() {
        return;
    }
    let size = data.size.min(LINE_BYTES_MAX);
    // SAFETY: `message` has `size` bytes and lives for the duration of the call.
    let bytes = unsafe { std::slice::from_raw_parts(data.message.cast::<u8>(), size) };
    // A panic must not unwind into C; a subscriber that panics costs a line.
    catch_unwind(|| line(data.priority, data.domid, bytes)).ok();
}

fn line(priority: u32, domain: u32, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if priority & (DDS_LC_FATAL | DDS_LC_ERROR) != 0 {
        let mut last = LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut last);
    }
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit();
    let Some(left_out) = admitted else {
        return;
    };
    if priority & (DDS_LC_FATAL | DDS_LC_ERROR) != 0 {
        tracing::error!(domain, left_out, "Cyclone DDS: {text}");
    } else if priority & DDS_LC_WARNING != 0 {
        tracing::warn!(domain, left_out, "Cyclone DDS: {text}");
    } else {
        tracing::debug!(domain, left_out, "Cyclone DDS: {text}");
    }
}
