//! Linux and macOS.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::Path,
};

/// The clock that only runs forward. On Linux it also counts the time a machine sleeps, so
/// that a laptop's stamps are right when it wakes.
#[cfg(target_os = "linux")]
const RUNNING: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const RUNNING: ClockId = ClockId::Monotonic;

/// Milliseconds on the clock that only runs forward.
pub fn running_ms() -> i64 {
    milliseconds(clock_gettime(RUNNING))
}

/// Milliseconds since the epoch, as the host believes.
pub fn wall_ms() -> i64 {
    milliseconds(clock_gettime(ClockId::Realtime))
}

/// Milliseconds of processor time this process has used, all threads together.
pub fn process_cpu_ms() -> Option<i64> {
    Some(milliseconds(clock_gettime(ClockId::ProcessCPUTime)))
}

fn milliseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

/// Whether this is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes a directory (0700) with all above it.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens an empty file (0600) to write to.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Has root's file belong to whom the directory belongs to; anybody else's files are their own.
pub fn give_to_owner_of(dir: &Path, file: &Path) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = fs::metadata(dir)?;
    chown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Makes what was renamed into a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
