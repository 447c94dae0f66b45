//! Archives whose bytes depend on nothing but what is put in: one time, root as the owner, the order given.

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

/// What an archive holds.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path, relative to the root.
    pub path: String,
    /// Permissions.
    pub mode: u32,
    /// The user and group that own it, by number.
    pub owner: u64,
    /// The bytes of a file; a folder has none.
    pub content: Option<Vec<u8>>,
}

impl Entry {
    /// A file of root's.
    pub fn file(path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), mode, owner: 0, content: Some(content.into()) }
    }

    /// A folder of root's.
    pub fn dir(path: &str) -> Self {
        Self { path: format!("{}/", path.trim_end_matches('/')), mode: 0o755, owner: 0, content: None }
    }
}

/// A tar archive. `time`: seconds since 1970, of every entry.
pub fn tar(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        let content = entry.content.as_deref().unwrap_or_default();
        header.set_entry_type(if entry.content.is_some() {
            EntryType::Regular
        } else {
            EntryType::Directory
        });
        header.set_mode(entry.mode);
        header.set_uid(entry.owner);
        header.set_gid(entry.owner);
        header.set_mtime(time);
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, &entry.path, content)
            .with_context(|| format!("archiving {}", entry.path))?;
    }
    builder.into_inner().context("closing an archive")
}

/// The same under gzip, without a name or a time of its own.
pub fn tar_gz(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, &tar(entries, time)?).context("compressing an archive")?;
    encoder.finish().context("compressing an archive")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    #[test]
    fn an_archive_is_the_same_bytes_each_time_and_reads_back() {
        let entries = [Entry::dir("etc"), Entry::file("etc/agent.toml", 0o640, "name = 1")];
        let archive = tar_gz(&entries, 1_795_248_000).unwrap();
        assert_eq!(archive, tar_gz(&entries, 1_795_248_000).unwrap());
        let mut read = tar::Archive::new(GzDecoder::new(archive.as_slice()));
        let read: Vec<_> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap(), entry.size())
            })
            .collect();
        let time = 1_795_248_000;
        assert_eq!(
            read,
            [("etc/".into(), 0o755, 0, time, 0), ("etc/agent.toml".to_owned(), 0o640, 0, time, 8)]
        );
    }
}
