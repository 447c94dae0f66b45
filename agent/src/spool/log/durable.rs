//! What a power cut would cost, and how it is made durable without anybody waiting for it.

use super::{
    super::{disk::Disk, held::Held},
    Log, Place,
};
use crate::batch::{Batch, SeriesList};
use std::{fs::File, io, path::PathBuf, sync::Arc};

/// What has to be made durable, without anybody waiting for it.
pub struct ToSync {
    files: Vec<Arc<File>>,
    dir: Option<PathBuf>,
    upto: Place,
}

impl Log {
    /// What is not durable yet, if anything is not.
    pub fn take_unsynced(&mut self) -> Option<ToSync> {
        let upto = self.end();
        if upto == self.synced {
            return None;
        }
        let files = self.unsynced.drain(..).chain(self.active.clone()).collect();
        let dir = std::mem::take(&mut self.dir_changed).then(|| self.dir.clone());
        Some(ToSync { files, dir, upto })
    }

    /// It is durable.
    pub fn synced(&mut self, done: &ToSync) {
        self.synced = self.synced.max(done.upto);
    }

    /// It could not be made durable, so nobody knows what of it the disk has: returns what was written since it last was, from
    /// the oldest to the newest. Nothing more is written behind it.
    pub fn not_synced(&mut self, held: &Held) -> Vec<(Batch, Arc<SeriesList>)> {
        self.active = None;
        self.dir_changed = true;
        let disk = self.disk.as_ref();
        let mut batches: Vec<(Batch, Arc<SeriesList>)> = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.number >= self.synced.segment) {
            let mut at = if segment.number == self.synced.segment { self.synced.at } else { 0 };
            while let Ok(Some((batch, _, end))) = segment.next_held(disk, at, held) {
                at = end;
                let list = match batches.last() {
                    Some((_, list)) if list.id == batch.list => Arc::clone(list),
                    _ => match segment.list(disk, batch.list) {
                        Ok(Some(list)) => Arc::new(list),
                        _ => continue,
                    },
                };
                batches.push((batch, list));
            }
        }
        self.synced = self.end();
        batches
    }
}

impl ToSync {
    /// Waits for the disk.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        self.files.iter().try_for_each(|file| disk.sync(file))?;
        let Some(dir) = &self.dir else { return Ok(()) };
        disk.sync_dir(dir)?;
        // The folder may be new itself. The one above it may be somebody else's.
        let _synced = dir.parent().map(|above| disk.sync_dir(above));
        Ok(())
    }
}
