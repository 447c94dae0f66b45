//! A file of `/proc` or `/sys` that is read every round: kept open and read anew from its beginning, into a buffer that is
//! kept too. To open one costs more than to read it.

use crate::collectors::CollectError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{borrow::Cow, fs::File, io, os::unix::fs::FileExt, str};

/// Bytes that a buffer begins with. Reason: most of these files have less, so that one call reads all of it.
const BUFFER_BYTES_MIN: usize = 2 << 10;

/// Bytes of an answer behind which there is no other, if there was room for more. Reason: the kernel fills a page of its own with
/// whole lines, and those of these files are shorter than half of one (`seq_read_iter` in its `fs/seq_file.c`).
const LAST_BYTES_MAX: usize = 2 << 10;

/// Such a file.
#[derive(Debug)]
pub struct Kept {
    path: &'static str,
    has_long_lines: bool,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Kept {
    /// A file that is opened when it is first read.
    pub const fn new(path: &'static str) -> Self {
        Self { path, has_long_lines: false, file: None, buffer: Vec::new() }
    }

    /// One whose lines may be as long as a path, or longer: it is read until there is nothing more.
    pub fn with_long_lines(path: &'static str) -> Self {
        Self { has_long_lines: true, ..Self::new(path) }
    }

    /// Whether the kernel calls it changed since it was read, which it does of mount tables only (`man 5 proc_pid_mounts`).
    /// What was not read is news.
    pub fn is_news(&self) -> bool {
        let Some(file) = &self.file else { return true };
        let mut asked = [PollFd::new(file, PollFlags::PRI)];
        !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
    }

    /// What it says now.
    pub fn text(&mut self) -> Result<&str, CollectError> {
        let path = self.path;
        self.read().map_err(|error| CollectError::unreadable(path, error))
    }

    /// What it says now, or what the kernel says instead. After that it is opened anew.
    pub fn read(&mut self) -> io::Result<&str> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(self.path)?,
        };
        let mut length = 0;
        loop {
            if self.buffer.len() == length {
                self.buffer.resize(length.saturating_mul(2).max(BUFFER_BYTES_MIN), 0);
            }
            let rest = self.buffer.get_mut(length..).unwrap_or_default();
            let room = rest.len();
            match file.read_at(rest, length as u64) {
                Ok(0) => break,
                Ok(more) => {
                    length = length.saturating_add(more);
                    if more < room && more <= LAST_BYTES_MAX && !self.has_long_lines {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file = Some(file);
        // The kernel passes names on as they are, a mount point's with bytes of another alphabet, too.
        if let Cow::Owned(mended) = String::from_utf8_lossy(self.buffer.get(..length).unwrap_or_default()) {
            length = mended.len();
            self.buffer = mended.into_bytes();
        }
        str::from_utf8(self.buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_and_whole() {
        let mut kept = Kept::new("/proc/uptime");
        let uptime =
            |kept: &mut Kept| kept.text().unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
        let first = uptime(&mut kept);
        assert!(kept.file.is_some());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(uptime(&mut kept) > first);
        // Longer than the first buffer.
        let mut kept = Kept::new("/proc/vmstat");
        let text = kept.text().unwrap();
        assert!(text.len() > BUFFER_BYTES_MIN);
        assert_eq!(text.lines().count(), std::fs::read_to_string("/proc/vmstat").unwrap().lines().count());
    }

    #[test]
    fn a_byte_of_another_alphabet_costs_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mounts");
        std::fs::write(&path, b"/dev/sda /caf\xe9 ext4\n/dev/sdb /b ext4\n").unwrap();
        let mut kept = Kept { file: Some(File::open(path).unwrap()), ..Kept::new("mounts") };
        for _ in 0..2 {
            assert_eq!(kept.text().unwrap(), "/dev/sda /caf\u{fffd} ext4\n/dev/sdb /b ext4\n");
        }
    }

    #[test]
    fn what_was_not_read_is_news() {
        let mut mounts = Kept::with_long_lines("/proc/self/mounts");
        assert!(mounts.is_news());
        // Whoever mounts something meanwhile is told of once.
        assert!((0..1_000).any(|_| mounts.read().is_ok() && !mounts.is_news()));
    }

    #[test]
    fn a_file_that_is_missing_is_named_each_time() {
        let mut kept = Kept::new("/proc/none");
        for _ in 0..2 {
            let error = kept.text().unwrap_err().to_string();
            assert!(error.contains("/proc/none"), "{error}");
        }
    }
}
