//! The memory that messages under way may take, over all clients.
//!
//! Three quarters are for what waits for clients, one for packets that have not come to their end.
//! Neither waits for the other: what waits is dropped or left to the store long before its part is
//! full, and a packet that has begun needs nothing but the rest of its bytes.

use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{add, count, read};

/// Of the part that is left for what waits, one of so many parts is what one session may have.
const SHARE_PARTS: usize = 32;
/// Of the limit, one of so many parts is what each session may have in any case.
const LEAST_PARTS: usize = 4096;
/// Bytes by which what is in use has to change before it is counted: most sessions have less.
const STEP_BYTES: usize = 8 << 10;
/// Bytes of the largest packet that may begin at any time, and that are read at any time.
pub(crate) const SMALL_BYTES: usize = 4 << 10;
/// Bytes that room for packets is given in.
const UNIT_BYTES: usize = 1 << 10;
/// Of the machine's memory, or of what the process may use of it, one of so many parts is for
/// messages unless the configuration says so: the rest is for connections, retained messages,
/// the store, and other programs.
const DEFAULT_PARTS: u64 = 4;
/// What the limit is where the system tells nothing.
const DEFAULT_BYTES: u64 = 256 << 20;

/// The budget and what is in use.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    /// Bytes that wait for clients, in steps.
    waiting: AtomicUsize,
    incoming: Arc<Semaphore>,
    incoming_units: u32,
    /// Packets that had to wait for room.
    held: AtomicU64,
    /// For how many milliseconds they did, all together.
    held_millis: AtomicU64,
}

/// The bytes that one place has in use, as far as they are counted.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Memory>,
    counted: usize,
}

/// The room for one packet that has begun; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A packet that waits for room.
pub(crate) struct Waiting {
    permit: Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>,
    memory: Arc<Memory>,
    since: Instant,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Waiting");
        shown.field("since", &self.since).finish_non_exhaustive()
    }
}

impl Memory {
    /// With a limit in bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let units = (limit / 4 / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        Self {
            limit,
            waiting: AtomicUsize::new(0),
            incoming: Arc::new(Semaphore::new(units)),
            incoming_units: u32::try_from(units).unwrap_or(u32::MAX),
            held: AtomicU64::new(0),
            held_millis: AtomicU64::new(0),
        }
    }

    /// Bytes that may be in use.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that wait for clients, about.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that packets take which have begun.
    pub(crate) fn incoming(&self) -> usize {
        let left = self.incoming.available_permits();
        (self.incoming_units as usize).saturating_sub(left) * UNIT_BYTES
    }

    /// How many packets had to wait for room until now, and for how long all together.
    pub(crate) fn held(&self) -> (u64, Duration) {
        (
            read(&self.held),
            Duration::from_millis(read(&self.held_millis)),
        )
    }

    /// Bytes that one session may have waiting at this moment. The more there is altogether, the
    /// less it is: those that take nothing leave the others enough.
    pub(crate) fn share(&self) -> usize {
        let left = (self.limit / 4 * 3).saturating_sub(self.waiting());
        (left / SHARE_PARTS).max(self.limit / LEAST_PARTS)
    }

    /// True if packets wait for room.
    pub(crate) fn is_contended(&self) -> bool {
        // What is given back goes to those who wait first.
        self.incoming.available_permits() == 0
    }

    /// Bytes to read at once from a client that has not begun a packet.
    pub(crate) fn readable(&self) -> usize {
        (self.incoming.available_permits() * UNIT_BYTES).max(SMALL_BYTES)
    }

    /// Room for a packet of so many bytes, in the order of those who ask. One that is larger than
    /// all the room gets all of it.
    ///
    /// # Errors
    /// It has to wait.
    pub(crate) fn begin(self: &Arc<Self>, packet_bytes: usize) -> Result<Room, Waiting> {
        let units = u32::try_from(packet_bytes.div_ceil(UNIT_BYTES));
        let units = units.map_or(self.incoming_units, |it| it.min(self.incoming_units));
        if let Ok(permit) = Arc::clone(&self.incoming).try_acquire_many_owned(units) {
            return Ok(Room { _permit: permit });
        }
        count(&self.held);
        let permit = Arc::clone(&self.incoming).acquire_many_owned(units);
        Err(Waiting {
            permit: Box::pin(async { permit.await.ok() }),
            memory: Arc::clone(self),
            since: Instant::now(),
        })
    }

    /// The same, and waits for it.
    pub(crate) async fn room(self: &Arc<Self>, packet_bytes: usize) -> Option<Room> {
        match self.begin(packet_bytes) {
            Ok(room) => Some(room),
            Err(mut waiting) => poll_fn(|context| waiting.poll(context)).await,
        }
    }
}

impl Waiting {
    /// Ready when there is room. It is there once.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Room>> {
        let permit = ready!(self.permit.as_mut().poll(context));
        // Nobody closes the semaphore.
        Poll::Ready(permit.map(|it| Room { _permit: it }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let millis = usize::try_from(self.since.elapsed().as_millis());
        add(&self.memory.held_millis, millis.unwrap_or(usize::MAX));
    }
}

impl Account {
    pub(crate) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory, counted: 0 }
    }

    /// The budget that it belongs to.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// So many bytes are in use now. What changes little is not counted, so that places with little
    /// in them cost nothing.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let is_near = bytes.abs_diff(self.counted) < STEP_BYTES;
        if bytes == self.counted || is_near && bytes > 0 {
            return;
        }
        let waiting = &self.memory.waiting;
        if bytes > self.counted {
            waiting.fetch_add(bytes - self.counted, Ordering::Relaxed);
        } else {
            waiting.fetch_sub(self.counted - bytes, Ordering::Relaxed);
        }
        self.counted = bytes;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(0);
    }
}

/// A part of the machine's memory, or of what the process may use of it.
pub(crate) fn default_limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = groups.lines().flat_map(limit_files);
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let usable: Option<u64> = limits.chain(machine).min();
    usable.map_or(DEFAULT_BYTES, |bytes| bytes / DEFAULT_PARTS)
}

/// The machine's memory, from `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Where the limits of a control group are, and of those that it is in, from a line of
/// `/proc/self/cgroup`. In a container they may be at the root only.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, name) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|it| it == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups
        .map(|group| Path::new(root).join(group).join(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_not_counted_and_nothing_is_left() {
        let memory = Arc::new(Memory::new(64 << 20));
        let mut account = Account::new(Arc::clone(&memory));
        let mut settled = |bytes| {
            account.settle(bytes);
            memory.waiting()
        };
        assert_eq!(settled(STEP_BYTES - 1), 0);
        assert_eq!(settled(STEP_BYTES), STEP_BYTES);
        assert_eq!(settled(1), STEP_BYTES);
        assert_eq!(settled(3 * STEP_BYTES), 3 * STEP_BYTES);
        assert_eq!(settled(STEP_BYTES + 5), STEP_BYTES + 5);
        assert_eq!(settled(0), 0);
        assert_eq!(settled(100_000), 100_000);
        drop(account);
        assert_eq!(memory.waiting(), 0);
    }

    #[test]
    fn sessions_that_take_nothing_leave_the_others_a_share() {
        let memory = Arc::new(Memory::new(64 << 20));
        let mut accounts = Vec::new();
        let mut stick = |count| {
            for _ in 0..count {
                let mut account = Account::new(Arc::clone(&memory));
                account.settle(memory.share().min(1 << 20));
                accounts.push(account);
            }
            (memory.waiting(), memory.share())
        };
        let (waiting, share) = stick(100);
        assert!(waiting < 48 << 20, "{waiting}");
        assert!(share > 48 << 10, "{share}");
        let (waiting, share) = stick(1_000);
        assert!(waiting < 64 << 20, "{waiting}");
        assert_eq!(share, 16 << 10);
        drop(accounts);
        assert_eq!(memory.share(), 3 << 19);
    }

    #[tokio::test]
    async fn packets_begin_when_there_is_room_in_the_order_of_those_who_ask() {
        let memory = Arc::new(Memory::new(1 << 20));
        let begin = |bytes| memory.begin(bytes);
        let first = begin(200 << 10).unwrap();
        let mut large = begin(1 << 30).unwrap_err();
        assert_eq!(memory.readable(), 56 << 10);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(large.poll(&mut context).is_pending());
        let mut small = begin(1).unwrap_err();
        assert!(small.poll(&mut context).is_pending());
        assert_eq!(memory.readable(), SMALL_BYTES);
        assert_eq!(memory.incoming(), 256 << 10);
        drop(first);
        assert!(small.poll(&mut context).is_pending());
        let Poll::Ready(Some(room)) = large.poll(&mut context) else {
            panic!("no room");
        };
        drop((large, room));
        assert!(small.poll(&mut context).is_ready());
        drop(small);
        assert_eq!((memory.incoming(), memory.held().0), (0, 2));
    }

    #[test]
    fn limits_of_groups_are_looked_for_up_to_the_root() {
        let expect = |line, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(limit_files(line), expected);
        };
        expect(
            "0::/system.slice/tidegate.service",
            &[
                "/sys/fs/cgroup/system.slice/tidegate.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        );
        expect(
            "4:memory:/a",
            &[
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ],
        );
        expect("0::/", &["/sys/fs/cgroup/memory.max"]);
        assert!(limit_files("3:cpuset:/a").is_empty());
        assert_eq!(
            total("MemFree: 1 kB\nMemTotal:   24684000 kB\n"),
            Some(24_684_000 << 10)
        );
        assert!(default_limit() > 1 << 20);
    }
}
