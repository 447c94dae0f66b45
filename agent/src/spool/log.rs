//! The spool's files: segments that are written at the end of the last one and removed once nothing in them is held.

mod durable;

use super::{
    disk::Disk,
    held::Held,
    of_file,
    record::Record,
    segment::{HEAD, Scanned, Segment, SegmentError},
};
use crate::batch::{Batch, SeriesList};
use edgewatch_shared::wire::push::{DictionaryId, ReadingRange, StreamId};
use log::warn;
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of a segment from which on the next one is begun. Reason: what is delivered is freed a segment at a time.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Segments that a full spool has at least. Reason: with one or two, little would be freed at a time.
const SEGMENTS_MIN: u64 = 8;
/// What names of segments end with.
const EXTENSION: &str = "segment";

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A segment's number.
    pub segment: u64,
    /// Where in its file.
    pub at: u64,
}

/// What opening a folder came upon.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What is held of all that was found.
    pub held: Held,
    /// Places that could not be read.
    pub damaged: u64,
}

/// What a look for a batch came upon.
#[derive(Debug, Default)]
pub struct Search {
    /// The batch, where it lies, and where the next one may.
    pub found: Option<(Batch, Place, Place)>,
    /// What lies before it, is held, and will never be read.
    pub lost: Vec<(StreamId, ReadingRange)>,
    /// Why a segment before it was passed over, which may be read another time.
    pub failed: Option<io::Error>,
}

/// All segments.
pub struct Log {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// In ascending order of their numbers.
    segments: Vec<Segment>,
    /// The last segment's file, if more may be written to it.
    active: Option<Arc<File>>,
    next_number: u64,
    /// All before is durable.
    synced: Place,
    /// Files that were left behind with bytes that are not.
    unsynced: Vec<Arc<File>>,
    /// Whether files were made since the folder was durable.
    dir_changed: bool,
}

impl Log {
    /// Opens a folder and reads all that is in it. A spool of at most `bytes_max` will be kept. What cannot be read now
    /// is an error as long as there is hope, because the next segment would have it for settled.
    pub fn open(
        dir: &Path,
        bytes_max: u64,
        disk: Arc<dyn Disk>,
        is_hopeful: bool,
    ) -> io::Result<(Self, Recovered)> {
        let mut log = Self {
            dir: dir.to_owned(),
            disk,
            segment_bytes: SEGMENT_BYTES.min(bytes_max / SEGMENTS_MIN),
            segments: Vec::new(),
            active: None,
            next_number: 1,
            synced: Place::default(),
            unsynced: Vec::new(),
            dir_changed: false,
        };
        let mut recovered = Recovered::default();
        let files = segment_files(dir)?;
        let last = files.last().map(|(number, _)| *number);
        for (number, path) in files {
            log.next_number = number.saturating_add(1);
            let disk = log.disk.as_ref();
            match Segment::scan(disk, number, path.clone(), |record| recovered.held.replay(&record)) {
                Ok((segment, Scanned { damaged, torn_bytes })) => {
                    let is_last = Some(number) == last;
                    let damaged = damaged + u64::from(torn_bytes > 0 && !is_last);
                    if damaged > 0 {
                        warn!("{}: {damaged} places cannot be read, the rest is delivered", path.display());
                    }
                    recovered.damaged += damaged;
                    if is_last && damaged == 0 {
                        log.active = reopened(&segment, torn_bytes, disk);
                    }
                    log.segments.iter_mut().for_each(|before| before.forget_what_is_in(&segment));
                    log.segments.push(segment);
                }
                Err(SegmentError::Io(error)) if is_hopeful => return Err(of_file(&path, &error)),
                Err(error) => {
                    let aside = path.with_extension(format!("{EXTENSION}.unreadable"));
                    disk.rename(&path, &aside).map_err(|error| of_file(&path, &error))?;
                    recovered.damaged += 1;
                    warn!("{} is left out: {error}", aside.display());
                }
            }
        }
        log.count(&recovered.held);
        log.remove_settled(&recovered.held);
        // What a process wrote that was killed is durable only once the operating system has come to it.
        log.synced = Place { at: log.active.as_ref().map_or(log.end().at, |_| 0), ..log.end() };
        Ok((log, recovered))
    }

    /// Counts anew what of each segment is held.
    pub fn count(&mut self, held: &Held) {
        for segment in &mut self.segments {
            if let Err(error) = segment.count(self.disk.as_ref(), held) {
                warn!("what waits in {} is not counted anew: {error}", segment.path.display());
            }
        }
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Batches and samples that are held.
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.segments.iter().map(|segment| (segment.batches, segment.samples));
        counts.fold((0, 0), |(batches, samples), (more, of)| (batches + more, samples + of))
    }

    /// Where the next record will be written, if no segment is begun before.
    pub fn end(&self) -> Place {
        self.segments.last().map_or(Place::default(), |last| Place { segment: last.number, at: last.bytes })
    }

    /// Writes a batch, and its series list where the segment does not have it. Returns where it lies.
    pub fn append(&mut self, batch: &Batch, list: &SeriesList, held: &Held) -> io::Result<Place> {
        let file = self.writable(held)?;
        let has_list = self.segments.last().is_some_and(|segment| segment.has_list(list.id));
        let list = (!has_list).then(|| Record::List(list.encoded.clone()));
        let records: Vec<Record> = list.into_iter().chain([Record::Batch(Box::new(batch.clone()))]).collect();
        let at = self.write(&file, &records)?;
        if let Some(segment) = self.segments.last_mut() {
            segment.batches += 1;
            segment.samples += batch.sample_count;
        }
        Ok(at)
    }

    /// Writes a note.
    pub fn note(&mut self, note: Record, held: &Held) -> io::Result<()> {
        let file = self.writable(held)?;
        self.write(&file, &[note]).map(drop)
    }

    /// The file to write to, of a segment that is begun if need be.
    fn writable(&mut self, held: &Held) -> io::Result<Arc<File>> {
        // A file that somebody took away while it was open takes bytes all the same.
        let goes_on = |last: &Segment| last.bytes < self.segment_bytes && last.path.exists();
        if let Some(file) = self.active.as_ref().filter(|_| self.segments.last().is_some_and(goes_on)) {
            return Ok(Arc::clone(file));
        }
        self.unsynced.extend(self.active.take());
        let number = self.next_number;
        let path = self.dir.join(format!("{number:08}.{EXTENSION}"));
        self.next_number = number.saturating_add(1);
        self.disk.create_dir(&self.dir)?;
        self.disk.create(&path)?;
        let snapshot = Record::Held(held.clone()).to_bytes();
        let begun = self.disk.open_to_append(&path).and_then(|file| {
            self.disk.write(&file, &[&HEAD[..], &snapshot].concat())?;
            Ok(file)
        });
        match begun {
            Ok(file) => {
                let mut segment = Segment::new(number, path);
                segment.bytes = segment.bytes.saturating_add(snapshot.len() as u64);
                self.segments.push(segment);
                self.dir_changed = true;
                let file = Arc::new(file);
                self.active = Some(Arc::clone(&file));
                self.remove_settled(held);
                Ok(file)
            }
            Err(error) => {
                // What stays behind is a torn segment without a record: it harms nobody.
                let _removed = self.disk.remove(&path);
                Err(error)
            }
        }
    }

    /// Writes records to the last segment, all or none. Returns where the last of them lies.
    fn write(&mut self, file: &Arc<File>, records: &[Record]) -> io::Result<Place> {
        let end = self.end();
        let mut place = end;
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            place.at = end.at.saturating_add(bytes.len() as u64);
            places.push(place.at);
            bytes.extend(record.to_bytes());
        }
        if let Err(error) = self.disk.write(file, &bytes) {
            // What was written of it goes, or nothing more is written behind it.
            let path = self.segments.last().map(|segment| &segment.path);
            if path.is_none_or(|path| self.disk.truncate(path, end.at).is_err()) {
                self.unsynced.extend(self.active.take());
            }
            return Err(error);
        }
        if let Some(segment) = self.segments.last_mut() {
            records.iter().zip(places).for_each(|(record, at)| segment.note(record, at));
            segment.bytes = end.at.saturating_add(bytes.len() as u64);
        }
        Ok(place)
    }

    /// Looks for the first batch at or behind a place that is held.
    pub fn search(&self, from: Place, held: &Held) -> Search {
        let mut search = Search::default();
        for segment in self.segments.iter().filter(|segment| segment.number >= from.segment) {
            if !segment.is_held(held) {
                continue;
            }
            let at = if segment.number == from.segment { from.at } else { 0 };
            match segment.next_held(self.disk.as_ref(), at, held) {
                Ok(Some((batch, at, end))) => {
                    let place = Place { segment: segment.number, at };
                    search.found = Some((batch, place, Place { at: end, ..place }));
                    break;
                }
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    search.failed = Some(of_file(&segment.path, &error));
                }
                Ok(None) | Err(_) => search.lost.extend(segment.held(held)),
            }
        }
        search
    }

    /// A series list, out of whichever segment it can be read in.
    pub fn list(&self, id: DictionaryId) -> io::Result<Option<SeriesList>> {
        let mut list = Ok(None);
        for segment in &self.segments {
            match segment.list(self.disk.as_ref(), id) {
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => list = Err(error),
                found => return found,
            }
        }
        list
    }

    /// Whether any of these readings lies on the disk.
    pub fn has(&self, stream: StreamId, readings: ReadingRange) -> bool {
        self.segments.iter().any(|segment| segment.has(stream, readings))
    }

    /// Counts what is no longer held of a batch with these readings.
    pub fn count_down(&mut self, stream: StreamId, batch: ReadingRange, batches: usize, samples: usize) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.has(stream, batch)) {
            segment.batches = segment.batches.saturating_sub(batches);
            segment.samples = segment.samples.saturating_sub(samples);
        }
    }

    /// Removes segments in which nothing is held, but for the one that is written to.
    pub fn remove_settled(&mut self, held: &Held) {
        let active = self.active.as_ref().and(self.segments.last()).map(|last| last.number);
        let disk = &self.disk;
        self.segments.retain(|segment| {
            let stays = Some(segment.number) == active || segment.is_held(held);
            if !stays {
                // One that cannot be removed is read again at the next start, and what was delivered is known there.
                let _removed = disk.remove(&segment.path);
            }
            stays
        });
    }

    /// Whether anything in it is held.
    pub fn is_held(&self, held: &Held) -> bool {
        self.segments.iter().any(|segment| segment.is_held(held))
    }

    /// What is held in the oldest segment that holds anything, and how many batches that is. Nothing more is written to it, so
    /// that it goes once they are let go.
    pub fn drop_oldest(&mut self, held: &Held) -> Option<(Vec<(StreamId, ReadingRange)>, usize)> {
        let at = self.segments.iter().position(|segment| segment.is_held(held))?;
        if at + 1 == self.segments.len() {
            self.active = None;
        }
        let segment = self.segments.get(at)?;
        Some((segment.held(held), segment.batches))
    }

    /// A batch lies elsewhere now.
    pub fn forget(&mut self, stream: StreamId, readings: ReadingRange, samples: usize) {
        self.count_down(stream, readings, 1, samples);
        self.segments.iter_mut().for_each(|segment| segment.forget(stream, readings));
    }
}

/// The segments of a folder, in ascending order of their numbers.
fn segment_files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        files.extend(number.filter(|_| is_segment).map(|number: u64| (number, path)));
    }
    files.sort_unstable();
    Ok(files)
}

/// The last segment's file, to write on behind its last whole record.
fn reopened(segment: &Segment, torn_bytes: u64, disk: &dyn Disk) -> Option<Arc<File>> {
    // What has no record may not even have a head.
    if segment.bytes <= HEAD.len() as u64 {
        return None;
    }
    if torn_bytes > 0 {
        disk.truncate(&segment.path, segment.bytes).ok()?;
    }
    disk.open_to_append(&segment.path).ok().map(Arc::new)
}
