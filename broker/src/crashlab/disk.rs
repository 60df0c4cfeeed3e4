//! A disk whose power can be cut: an ext4 image in a file, mounted over a loop device.
//!
//! What the file system holds back in memory is not in the file. So a copy of the file, made
//! while the broker stands still and the image is mounted, is the disk after a power cut.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Bytes of the image, most of which are never written.
const IMAGE_BYTES: u64 = 512 << 20;
/// The system writes nothing to a new image behind our back.
const FORMAT: [&str; 6] = [
    "-q",
    "-F",
    "-N",
    "1000",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0",
];
const COPIES_MAX: usize = 50;
/// Coarser than the clock that a file system takes its times from.
const TIME_GRAIN: Duration = Duration::from_millis(20);

/// What cannot be done without root and loop devices.
const UNABLE: &str = "no disk can be made here";

/// Begins this program again, with one more argument, where its mounts are its own: they go with
/// it even if it is killed. Returns only if that fails, with the reason.
pub(super) fn begin_again(argument: &str) -> String {
    let namespace = || {
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        unshare
    };
    if let Err(error) = run(namespace().arg("true")) {
        return format!("{UNABLE}: {error}");
    }
    let program = std::env::current_exe();
    program.map_or_else(
        |error| error.to_string(),
        |program| {
            let arguments = std::env::args_os().skip(1);
            let mut again = namespace();
            again.arg(program).args(arguments).arg(argument);
            again.exec().to_string()
        },
    )
}

/// A mounted image; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    copy: PathBuf,
    mount_point: PathBuf,
}

impl Disk {
    /// Makes and mounts an image in this folder. That takes root and loop devices.
    pub(super) fn create(folder: &Path) -> Result<Self, String> {
        Self::make(folder).map_err(|error| format!("{UNABLE}: {error}"))
    }

    fn make(folder: &Path) -> Result<Self, String> {
        let disk = Self {
            image: folder.join("disk.img"),
            copy: folder.join("disk.copy"),
            mount_point: folder.join("disk"),
        };
        let file = fs::File::create(&disk.image);
        file.and_then(|it| it.set_len(IMAGE_BYTES))
            .and_then(|()| fs::create_dir(&disk.mount_point))
            .map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(FORMAT).arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Copies what is on the disk, and only that. Nothing may write to it meanwhile but the
    /// system, which writes back what it held; then the copy is made again.
    pub(super) fn copy(&self) -> Result<(), String> {
        for _ in 0..COPIES_MAX {
            std::thread::sleep(TIME_GRAIN);
            let before = self.modified()?;
            let mut copy = Command::new("cp");
            copy.arg("--sparse=always").arg(&self.image).arg(&self.copy);
            run(&mut copy)?;
            if self.modified()? == before {
                return Ok(());
            }
        }
        Err("the image never rests".to_owned())
    }

    /// Goes on with the copy, at the same path. Nobody may use the disk.
    pub(super) fn replace(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount_point))?;
        fs::rename(&self.copy, &self.image).map_err(|error| error.to_string())?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop"]);
        run(mount.arg(&self.image).arg(&self.mount_point))
    }

    fn modified(&self) -> Result<SystemTime, String> {
        let metadata = fs::metadata(&self.image).and_then(|it| it.modified());
        metadata.map_err(|error| error.to_string())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It is not mounted if mounting failed. A lazy end works even where something is open.
        let mut umount = Command::new("umount");
        run(umount.arg("--lazy").arg(&self.mount_point)).ok();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{name}: {}",
        said.lines().next().unwrap_or("failed")
    ))
}
