//! One spool, one agent: a lock that ends with its process, however that ends.

use super::{OpenError, disk, of_file};
use crate::platform;
use log::warn;
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::Path,
};

const FILE: &str = "lock";

/// Another agent uses the spool.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is used by another agent, {holder}: a host has one agent, and a second needs a state_dir of its own"
)]
pub struct LockError {
    path: String,
    /// The agent that has it.
    pub holder: String,
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a folder.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let file = open(&path).map_err(|error| of_file(&path, &error))?;
        match file.try_lock() {
            Ok(()) => tell_who(&file),
            Err(TryLockError::WouldBlock) => {
                return Err(LockError { path: dir.display().to_string(), holder: held_by(&path) }.into());
            }
            Err(TryLockError::Error(error)) => {
                warn!("{} cannot be locked, a second agent would not be noticed: {error}", path.display());
            }
        }
        Ok(Self { _file: file })
    }
}

/// A disk that can only be read has a lock all the same, if it ever had one.
fn open(path: &Path) -> io::Result<File> {
    let writable = platform::open_private_file(path).inspect(|file| disk::give_to_owner(path, file));
    writable.or_else(|error| platform::open_itself(path).map_err(|_| error))
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
