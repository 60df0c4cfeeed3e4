//! The system calls of a child process fail, by a library that is preloaded into it.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// `errno.h` of Linux.
pub const EIO: u64 = 5;
/// The same.
pub const ENOSPC: u64 = 28;
/// The same.
pub const EROFS: u64 = 30;

/// A fault that strikes from a call on.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What happens, as `shim.c` numbers it.
    pub kind: u64,
    /// An error or a time, as the kind is.
    pub value: u64,
    /// Which calls are counted, and may fail, as `shim.c` numbers them.
    pub calls: u64,
    /// The first call is 1.
    pub first: u64,
    /// The last call.
    pub last: u64,
}

/// The compiled library.
#[derive(Debug)]
pub struct Shim {
    folder: TempDir,
}

impl Shim {
    /// Compiles it.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("shim.c");
        fs::write(&source, include_str!("shim.c")).unwrap();
        let mut compile = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compile.args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ]);
        compile.arg(folder.path().join("shim.so")).arg(source);
        compile.args(["-ldl", "-lpthread"]);
        assert!(compile.status().unwrap().success(), "the shim compiles");
        Self { folder }
    }

    /// Lets a command fail as `control` says.
    pub fn preload(&self, command: &mut Command, control: &Control) {
        command.env("LD_PRELOAD", self.folder.path().join("shim.so"));
        command.env("FAULT_DIRECTORY", &control.directory);
        command.env("FAULT_CONTROL", &control.path);
        if let Some(disk) = &control.disk {
            command.env("FAULT_DISK", disk);
        }
    }
}

/// What is to fail in one process, from outside of it.
#[derive(Debug)]
pub struct Control {
    directory: PathBuf,
    disk: Option<PathBuf>,
    path: PathBuf,
    file: File,
}

impl Control {
    /// Nothing fails until [`Control::set`]. With `disk`, that directory has what is synced.
    ///
    /// # Panics
    /// The folder cannot be written.
    #[must_use]
    pub fn new(folder: &Path, directory: PathBuf, disk: Option<PathBuf>) -> Self {
        let path = folder.join("control");
        fs::write(&path, [0; 64]).unwrap();
        let file = File::options().read(true).write(true).open(&path);
        Self {
            directory,
            disk,
            path,
            file: file.unwrap(),
        }
    }

    /// From the next call on, this is what fails.
    pub fn set(&self, fault: Fault) {
        self.put(1, fault.value);
        self.put(2, fault.first);
        self.put(3, fault.last);
        self.put(4, fault.calls);
        self.put(0, fault.kind);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.put(0, 0);
    }

    /// How many calls were counted, and how many of them were struck.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.get(5), self.get(6))
    }

    fn put(&self, word: u64, value: u64) {
        self.file
            .write_all_at(&value.to_ne_bytes(), word * 8)
            .unwrap();
    }

    fn get(&self, word: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, word * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
