//! How the program's allocator, jemalloc, gives memory back.
//!
//! Set here and not at build time, so that it holds however the program is built.

use tikv_jemalloc_ctl::{Access, AsName, Result};

/// How long memory that is free stays with the process, in milliseconds: it is used again at once
/// by a burst, and not by what comes after.
const DIRTY_DECAY_MILLIS: isize = 500;
/// What is free is given back for good, not only marked: the system should count it as free.
const MUZZY_DECAY_MILLIS: isize = 0;
/// Threads that give memory back. They sleep while there is none to give.
const BACKGROUND_THREADS: usize = 1;

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

#[cfg(test)]
mod tests {
    use super::*;

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
