//! Batches that the server refused for good, as files: what was sent, to be looked at and perhaps sent again by hand.

use crate::platform;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Their folder in the state directory.
pub const FOLDER: &str = "rejected";
/// Files that are kept. Reason: a fault that lasts shows in a few.
pub const FILES_MAX: usize = 100;
/// Bytes that are kept. Reason: a sixteenth of the spool.
pub const BYTES_MAX: u64 = 4 << 20;

/// Writes a body to a file of its own, and removes the oldest ones beyond the bounds. Returns where it lies.
pub fn keep(dir: &Path, name: &str, body: &[u8]) -> io::Result<PathBuf> {
    platform::create_private_dir(dir)?;
    let path = dir.join(name);
    let written = platform::create_private_file(&path).and_then(|mut file| file.write_all(body));
    if let Err(error) = written {
        // Half a batch helps nobody.
        let _removed = fs::remove_file(&path);
        return Err(error);
    }
    let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        files.push((metadata.modified()?, entry.path(), metadata.len()));
    }
    files.sort_unstable();
    let mut bytes = 0;
    for (number, (_, path, length)) in files.iter().rev().enumerate() {
        bytes += length;
        if number >= FILES_MAX || bytes > BYTES_MAX {
            fs::remove_file(path)?;
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_files_are_kept_within_their_number() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("rejected");
        for number in 0..FILES_MAX + 2 {
            keep(&dir, &format!("{number:04}"), b"body").unwrap();
        }
        let names = names(&dir);
        assert_eq!((names.len(), names[0].as_str()), (FILES_MAX, "0002"));
    }

    #[test]
    fn the_newest_files_are_kept_within_their_bytes() {
        let root = tempfile::tempdir().unwrap();
        let third = vec![7; BYTES_MAX as usize / 3];
        for number in 0..4 {
            keep(root.path(), &format!("{number:04}"), &third).unwrap();
        }
        assert_eq!(names(root.path()), ["0001", "0002", "0003"]);
        assert_eq!(fs::read(root.path().join("0003")).unwrap(), third);
    }
}
