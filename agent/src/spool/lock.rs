//! One spool, one agent: a lock that ends with its process, however that ends.

use log::warn;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

const FILE: &str = "lock";
/// How often and how long one agent waits for the other to end. Reason: one that stops takes at most 5 s.
const TRIES: u32 = 60;
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Another agent uses the spool.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is used by another agent, {holder}: a host has one agent, and a second needs a state_dir of its own"
)]
pub struct LockError {
    path: String,
    holder: String,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder; `None` where there cannot be one.
    pub fn take(dir: &Path) -> Result<Option<Self>, LockError> {
        let path = dir.join(FILE);
        let Some(file) = open(&path) else { return Ok(None) };
        for attempt in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    tell_who(&file);
                    return Ok(Some(Self { _file: file }));
                }
                Err(TryLockError::WouldBlock) if attempt == 0 => {
                    warn!("the spool is used by {}, waiting for it to end", held_by(&path));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    warn!(
                        "{} cannot be locked, a second agent would not be noticed: {error}",
                        path.display()
                    );
                    return Ok(None);
                }
            }
            std::thread::sleep(TRY_EVERY);
        }
        Err(LockError { path: dir.display().to_string(), holder: held_by(&path) })
    }
}

/// A disk that can only be read has a lock all the same, if it ever had one.
fn open(path: &PathBuf) -> Option<File> {
    let writable = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    writable.or_else(|_| File::open(path)).ok()
}

/// Who asks why it may not start wants to know who did.
fn tell_who(mut file: &File) {
    let told: io::Result<()> = (|| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    })();
    // Where it cannot be written, the lock holds all the same.
    drop(told);
}

fn held_by(path: &Path) -> String {
    let id = fs::read_to_string(path).unwrap_or_default();
    match id.trim() {
        "" => "an agent that does not say who it is".to_owned(),
        id => format!("process {id}"),
    }
}
