//! What the spool asks of a file system; tests have one that fails.

use crate::platform;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// A file system's operations that can fail for lack of room or of permission.
pub trait Disk: Send + Sync {
    /// Makes a new file, for its owner only.
    fn create(&self, path: &Path) -> io::Result<File> {
        platform::create_private_file(path)
    }

    /// Opens a file to write at its end.
    fn open_to_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    /// Writes all bytes at the file's end.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Makes what was written durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The operating system's.
#[derive(Debug)]
pub struct OsDisk;

impl Disk for OsDisk {}
