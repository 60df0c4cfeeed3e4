//! How long the disk takes to say that something is on it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Writes that are measured.
const WRITES: usize = 200;
/// A slow disk is known well enough after this time.
const TIME_MAX: Duration = Duration::from_secs(3);
const PAGE_BYTES: usize = 4096;
/// Pages of the file. They are written again and again, as those of a log are.
const PAGES: usize = 16;
/// No medium that keeps what it has without power answers as fast as this.
const PLAUSIBLE_MIN: Duration = Duration::from_micros(50);

/// How long a page takes from its write until the disk says that it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushLatency {
    /// Writes that were measured.
    pub writes: usize,
    /// Half of them took at most this long.
    pub p50: Duration,
    /// 99 of 100 took at most this long.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// The kind of file system, as the kernel calls it, if it says so.
    pub file_system: Option<String>,
}

impl FlushLatency {
    /// Measures with a temporary file in this directory, which is gone afterwards.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn measure(directory: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        let page = [0x5a; PAGE_BYTES];
        let start = Instant::now();
        let mut times = Vec::with_capacity(WRITES);
        while times.is_empty() || times.len() < WRITES && start.elapsed() < TIME_MAX {
            let offset = times.len() % PAGES * PAGE_BYTES;
            let begin = Instant::now();
            file.write_all_at(&page, offset as u64)?;
            file.sync_data()?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        let quantile = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
        Ok(Self {
            writes: times.len(),
            p50: quantile(50),
            p99: quantile(99),
            max: quantile(100),
            file_system: file_system(directory),
        })
    }

    /// Whether the disk can have written before it answered.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        self.p50 >= PLAUSIBLE_MIN
    }
}

/// The kind of the file system that a directory is on, from the kernel's list of mounts.
fn file_system(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = mounts.lines().filter_map(mount);
    let around = mounts.filter(|(point, _)| directory.starts_with(point));
    // Of two mounts on one place the later one is seen.
    let innermost = around.max_by_key(|(point, _)| point.components().count());
    innermost.map(|(_, kind)| kind.to_owned())
}

/// Mount point and kind of a line of mountinfo: the fifth field, and the first behind the hyphen.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (fields, kind) = line.split_once(" - ")?;
    let point = fields.split(' ').nth(4)?;
    Some((unescaped(point), kind.split(' ').next()?))
}

/// Spaces and the like stand there as a backslash with three octal digits.
fn unescaped(point: &str) -> PathBuf {
    let mut parts = point.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => text.extend([&*char::from(code).to_string(), rest]),
            _ => text.extend(["\\", part]),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_kind() {
        let line = "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/root rw";
        assert_eq!(mount(line), Some(("/mnt/a b".into(), "ext4")));
        assert_eq!(mount("36 35"), None);
    }

    #[test]
    fn the_measurement_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let latency = FlushLatency::measure(directory.path()).unwrap();
        assert!(latency.writes > 0);
        assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max);
        assert!(latency.file_system.is_some());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
