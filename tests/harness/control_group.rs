//! Control groups of Linux, as containers and services are in: here one that has little memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process, thread};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A group inside the one that the test is in. It is removed when this is dropped, before which its
/// processes have to end.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// A group whose processes may have so many bytes of memory together; the system ends one of
    /// them when they need more. None if the system does not let the test make one.
    #[must_use]
    pub fn with_memory(bytes: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        groups.lines().find_map(|line| {
            let (parent, limit) = parent(line)?;
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("tidegate-test-{}-{number}", process::id());
            let folder = parent.join(name);
            fs::create_dir(&folder).ok()?;
            let made = Self { folder };
            fs::write(made.folder.join(limit), bytes.to_string()).ok()?;
            Some(made)
        })
    }

    /// The file that takes the identifiers of processes which are to be in it.
    pub(crate) fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.folder);
        assert!(removed.is_ok() || thread::panicking(), "{removed:?}");
    }
}

/// Where a group is that may limit memory, and the file for the limit inside, from a line of
/// `/proc/self/cgroup`: of either version, of which a system may have both.
fn parent(line: &str) -> Option<(PathBuf, &'static str)> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, limit) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|it| it == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let parent = Path::new(root).join(path.trim_start_matches('/'));
    Some((parent, limit))
}
