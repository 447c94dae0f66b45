//! What the spool asks of a file system; tests have one that fails.

use crate::platform;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// A file system's operations, any of which can fail.
pub trait Disk: Send + Sync {
    /// Makes a folder with all above it, for its owner only, unless there is one.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if !path.is_dir() {
            platform::create_private_dir(path)?;
            let _given = platform::open_itself(path).map(|dir| give_to_owner(path, &dir));
        }
        Ok(())
    }

    /// Makes a new file, for its owner only.
    fn create(&self, path: &Path) -> io::Result<File> {
        platform::create_private_file(path).inspect(|file| give_to_owner(path, file))
    }

    /// Opens a file to read.
    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    /// Opens a file to write at its end.
    fn open_to_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    /// Writes all bytes at the file's end.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Cuts off what lies behind so many bytes.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(bytes)
    }

    /// Makes what was written durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes durable which files a folder has.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        platform::sync_dir(path)
    }

    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// What root makes, who may only be looking into something, is for the service to use whose folder it is in.
pub fn give_to_owner(path: &Path, file: &File) {
    // Where it cannot be given away, it serves root.
    let _given = path.parent().map(|dir| platform::give_to_owner_of(dir, file));
}

/// The operating system's.
#[derive(Debug)]
pub struct OsDisk;

impl Disk for OsDisk {}
