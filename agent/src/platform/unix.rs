//! Linux and macOS.

use crate::status::Process;
use rustix::{
    fs::OFlags,
    io::Errno,
    process::{Pid, test_kill_process},
    time::{ClockId, Timespec, clock_gettime},
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

/// The clock that only runs forward. On Linux it also counts the time a machine sleeps, so
/// that a laptop's stamps are right when it wakes.
#[cfg(target_os = "linux")]
const RUNNING: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const RUNNING: ClockId = ClockId::Monotonic;

/// A link is an error.
const NEVER_LINKED: i32 = OFlags::NOFOLLOW.bits().cast_signed();

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

/// Makes an empty file (0600) to write to, in the place of what is there, and never where a link leads: root writes into
/// directories of others.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(path),
    }
}

/// Opens a file (0600) to read and to write, and makes it if there is none; never where a link leads.
pub fn open_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(NEVER_LINKED).open(path)
}

/// Opens a file or a directory to read, never where a link leads.
pub fn open_itself(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(NEVER_LINKED).open(path)
}

/// A process that runs; `None` if none has this number.
pub fn process(pid: u32) -> Option<Process> {
    let known = Pid::from_raw(i32::try_from(pid).ok()?)?;
    // Whoever may not be asked exists as well.
    let exists = matches!(test_kill_process(known), Ok(()) | Err(Errno::PERM));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    exists.then(|| Process { pid, start_ticks: start_ticks(&stat) })
}

/// The start of a process in `/proc/PID/stat` (`man 5 proc_pid_stat`): the 22nd field, the 20th behind the name, which may
/// have brackets and blanks itself.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Has root's file belong to whom the directory belongs to; anybody else's files are their own.
pub fn give_to_owner_of(dir: &Path, file: &File) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = fs::metadata(dir)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Makes what was renamed into a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_made_where_it_is_asked_for_and_never_where_a_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, path] = ["victim", "private"].map(|name| dir.path().join(name));
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        for _ in 0..2 {
            io::Write::write_all(&mut create_private_file(&path).unwrap(), b"new").unwrap();
            let made = fs::symlink_metadata(&path).unwrap();
            assert_eq!((made.is_file(), made.mode() & 0o777, made.len()), (true, 0o600, 3));
        }
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(open_private_file(&link).is_err() && open_itself(&link).is_err());
        assert!(open_private_file(&path).is_ok() && open_itself(dir.path()).is_ok());
    }

    #[test]
    fn a_process_is_told_by_its_start_whatever_it_is_called() {
        // Linux 6.18, 2026-11-21.
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 2 3 0 0 20 0 3 0 4711 1000 200 18446744073709551615";
        assert_eq!(start_ticks(stat), Some(4_711));
        assert_eq!(start_ticks("7 (a) S 1"), None);
        let own = process(std::process::id()).unwrap();
        assert_eq!(process(std::process::id()), Some(own));
        assert_eq!(process(u32::MAX), None);
    }
}
