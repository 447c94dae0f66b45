//! The stores of a server that is stopped, as they lie on disk.

use crate::edgewatch::Edgewatch;
use rusqlite::{Connection, OpenFlags};
use std::{fs, path::PathBuf};

/// A block as the catalogue in D1 lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguedBlock {
    /// Name of the object.
    pub key: String,
    /// `r2` or `local`.
    pub place: String,
    /// Its samples.
    pub samples: i64,
}

impl Edgewatch {
    /// The database that D1 keeps. The server must be stopped.
    pub fn catalogue(&self) -> Connection {
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".sqlite") && name != "metadata.sqlite"
        };
        let databases: Vec<_> = self.files("d1").into_iter().filter(is_ours).collect();
        let [path] = databases.as_slice() else { panic!("not one database: {databases:?}") };
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The blocks in D1, by key. The server must be stopped.
    pub fn catalogued_blocks(&self) -> Vec<CataloguedBlock> {
        let database = self.catalogue();
        let mut select = database
            .prepare("SELECT key, place, samples FROM blocks ORDER BY key")
            .expect("D1 has the table of blocks");
        let block = |row: &rusqlite::Row<'_>| {
            Ok(CataloguedBlock { key: row.get(0)?, place: row.get(1)?, samples: row.get(2)? })
        };
        let blocks = select.query_map([], block).expect("blocks are listed");
        blocks.map(|block| block.expect("a block is text, text and a number")).collect()
    }

    /// The files in which R2 keeps objects' bytes. The server must be stopped.
    pub fn blob_files(&self) -> Vec<PathBuf> {
        let is_blob = |path: &PathBuf| path.parent().is_some_and(|dir| dir.ends_with("blobs"));
        self.files("r2").into_iter().filter(is_blob).collect()
    }

    /// Removes the catalogue's database. The server must be stopped.
    pub fn lose_catalogue(&self) {
        self.remove("d1");
    }

    /// Removes what all shards have stored. The server must be stopped.
    pub fn lose_shards(&self) {
        self.remove("do");
    }

    fn remove(&self, store: &str) {
        let path = self.state_dir().join("storage").join(store);
        fs::remove_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Every file of a store, sorted.
    fn files(&self, store: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.state_dir().join("storage").join(store)];
        while let Some(dir) = waiting.pop() {
            let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
            for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
                if path.is_dir() { waiting.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}
