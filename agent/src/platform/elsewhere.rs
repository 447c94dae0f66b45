//! Windows, with nothing but the standard library.

use crate::status::Process;
use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds on the clock that only runs forward, from its first reading on.
pub fn running_ms() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    i64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch, as the host believes; 0 before it.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds of processor time this process has used: not told here.
pub fn process_cpu_ms() -> Option<i64> {
    None
}

/// Whether this is root, whom Windows does not have.
pub fn is_root() -> bool {
    false
}

/// Makes a directory with all above it; who may read it is inherited from above.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Opens an empty file to write to; who may read it is inherited from its directory.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    File::create(path)
}

/// Opens a file to read and to write, and makes it if there is none.
pub fn open_private_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Opens a file to read.
pub fn open_itself(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A process that runs: of others than this one nothing is known here.
pub fn process(pid: u32) -> Option<Process> {
    Some(Process { pid, start_ticks: None })
}

/// Files belong to whoever makes them.
pub fn give_to_owner_of(_dir: &Path, _file: &File) -> io::Result<()> {
    Ok(())
}

/// A directory cannot be synchronised here.
pub fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
