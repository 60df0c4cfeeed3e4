//! How the program's allocator, jemalloc, gives memory back.
//!
//! Set here and not at build time, so that it holds however the program is built.

use std::cell::Cell;

use tikv_jemalloc_ctl::{Access, AsName, Result};

/// How long memory that is free stays with the process, in milliseconds: it is used again at once
/// by a burst, and not by what comes after.
const DIRTY_DECAY_MILLIS: isize = 500;
/// What is free is given back for good, not only marked: the system should count it as free.
const MUZZY_DECAY_MILLIS: isize = 0;
/// Threads that give memory back. They sleep while there is none to give.
const BACKGROUND_THREADS: usize = 1;
/// Connections whose memory a thread frees before it lets go of all that it has freed.
const FLUSH_AFTER: u32 = 64;

thread_local! {
    /// Connections whose memory was freed by this thread since it let go of all.
    static FREED: Cell<u32> = const { Cell::new(0) };
}

/// To be called before other threads begin: each has an arena, whose terms are those at its
/// beginning.
///
/// # Errors
/// The allocator was built without this; the memory that is free is then given back late.
pub(crate) fn configure() -> Result<()> {
    for arena in ["arenas", "arena.0"] {
        let set = |name: &str, millis| format!("{arena}.{name}\0").name().write(millis);
        set("dirty_decay_ms", DIRTY_DECAY_MILLIS)?;
        set("muzzy_decay_ms", MUZZY_DECAY_MILLIS)?;
    }
    "max_background_threads\0"
        .name()
        .write(BACKGROUND_THREADS)?;
    "background_thread\0".name().write(true)
}

/// Notes that this thread has freed the memory of a connection, or of its actor.
pub(crate) fn note_freed() {
    FREED.set(FREED.get().saturating_add(1));
}

/// Lets go of what this thread has freed, if that is much; to be called when it has nothing to do.
///
/// Each thread keeps some of the pieces of each size that it has freed, for its next allocations.
/// They are few, but when the actors of many connections are given up at once, each of these
/// pieces is on a page of its own, and none of the pages can be given back.
pub(crate) fn flush_if_much_is_freed() {
    if FREED.get() < FLUSH_AFTER {
        return;
    }
    FREED.set(0);
    let name = "thread.tcache.enabled\0".name();
    if let Err(error) = name.write(false).and_then(|()| name.write(true)) {
        tracing::debug!(%error, "a thread keeps what it has freed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_is_let_go_of_and_kept_again_from_then_on() {
        for _ in 0..FLUSH_AFTER {
            flush_if_much_is_freed();
            note_freed();
        }
        assert_eq!(FREED.get(), FLUSH_AFTER);
        flush_if_much_is_freed();
        assert_eq!(FREED.get(), 0);
        let is_kept: bool = "thread.tcache.enabled\0".name().read().unwrap();
        assert!(is_kept);
    }

    #[test]
    fn every_arena_gives_memory_back_by_a_thread() {
        configure().unwrap();
        for (name, millis) in [
            ("arenas.dirty_decay_ms\0", 500),
            ("arenas.muzzy_decay_ms\0", 0),
            ("arena.0.dirty_decay_ms\0", 500),
            ("arena.0.muzzy_decay_ms\0", 0),
        ] {
            let set: isize = name.name().read().unwrap();
            assert_eq!(set, millis, "{name}");
        }
        let threads: usize = "max_background_threads\0".name().read().unwrap();
        let enabled: bool = "background_thread\0".name().read().unwrap();
        assert_eq!((threads, enabled), (1, true));
    }
}
