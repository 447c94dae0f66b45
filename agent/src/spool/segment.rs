//! One file of the spool: a head, then records, one after the other.

use super::{
    disk::Disk,
    held::Held,
    ranges::Ranges,
    record::{self, Found, HEAD_BYTES, Record},
};
use crate::batch::{Batch, SeriesList};
use edgewatch_shared::wire::push::{DictionaryId, ReadingRange, StreamId};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What a segment begins with: seven letters and the format's version.
pub const HEAD: [u8; 8] = *b"EWSPOOL\x01";
/// Bytes of a file beyond which it is none of ours. Reason: twice the largest record behind a full segment.
const FILE_BYTES_MAX: u64 = 12 << 20;
/// Bytes that are read at a time. Reason: a batch and the notes around it.
const BUFFER_BYTES: usize = 8 << 10;

/// What is known of a segment without reading it.
#[derive(Debug)]
pub struct Segment {
    /// Its number; segments are written in ascending order.
    pub number: u64,
    /// Its file.
    pub path: PathBuf,
    /// Bytes that are written and whole.
    pub bytes: u64,
    /// Readings of its batches, by stream.
    contents: BTreeMap<StreamId, Ranges>,
    /// Its series lists, and where their records begin.
    lists: Vec<(DictionaryId, u64)>,
    /// Batches in it that are held at least in part.
    pub batches: usize,
    /// Samples in it that are held.
    pub samples: usize,
}

/// What reading a whole segment came upon.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Places that cannot be read, with more behind them.
    pub damaged: u64,
    /// Bytes at the end that are no record: a write that was cut off.
    pub torn_bytes: u64,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another release wrote it.
    #[error("it has version {0} of the format, which this release does not know")]
    Version(u8),
    /// Far larger than a segment.
    #[error("it has {0} bytes, which no segment has")]
    TooLarge(u64),
}

impl Segment {
    /// A segment that has nothing but a head.
    pub fn new(number: u64, path: PathBuf) -> Self {
        let bytes = HEAD.len() as u64;
        Self { number, path, bytes, contents: BTreeMap::new(), lists: Vec::new(), batches: 0, samples: 0 }
    }

    /// Reads a file from end to end, and hands each record on.
    pub fn scan(
        disk: &dyn Disk,
        number: u64,
        path: PathBuf,
        mut each: impl FnMut(Record),
    ) -> Result<(Self, Scanned), SegmentError> {
        let bytes = read_file(disk, &path)?;
        let mut segment = Self::new(number, path);
        let mut scanned = Scanned::default();
        let mut at = match bytes.first_chunk::<8>() {
            Some(head) if *head == HEAD => HEAD.len(),
            Some([name @ .., version]) if name == &HEAD[..7] => return Err(SegmentError::Version(*version)),
            // Behind a damaged head there may be records.
            Some(_) => 0,
            None => bytes.len(),
        };
        loop {
            match record::read(&bytes, at) {
                Found::Record(record, next) => {
                    segment.note(&record, at as u64);
                    segment.bytes = next as u64;
                    at = next;
                    each(*record);
                }
                Found::Damaged(next) if next == bytes.len() => {
                    scanned.torn_bytes = next.saturating_sub(at) as u64;
                    return Ok((segment, scanned));
                }
                Found::Damaged(next) => {
                    scanned.damaged += 1;
                    at = next;
                }
                Found::End => return Ok((segment, scanned)),
            }
        }
    }

    /// Counts what of its batches is held.
    pub fn count(&mut self, disk: &dyn Disk, held: &Held) -> io::Result<()> {
        let (mut batches, mut samples) = (0, 0);
        let mut records = Records::open(disk, &self.path, HEAD.len() as u64)?;
        while let Some((record, _)) = records.next()? {
            if let Record::Batch(batch) = record
                && held.has(batch.stream, batch.readings)
                && self.has(batch.stream, batch.readings)
            {
                batches += 1;
                samples += batch.sample_count;
            }
        }
        (self.batches, self.samples) = (batches, samples);
        Ok(())
    }

    /// Takes note of a record that is written at `at`.
    pub fn note(&mut self, record: &Record, at: u64) {
        match record {
            Record::Batch(batch) => self.contents.entry(batch.stream).or_default().insert(batch.readings),
            Record::List(encoded) => self.lists.push((DictionaryId::of(encoded), at)),
            _ => {}
        }
    }

    /// Forgets readings that now lie elsewhere.
    pub fn forget(&mut self, stream: StreamId, readings: ReadingRange) {
        if let Some(contents) = self.contents.get_mut(&stream) {
            contents.remove(readings);
        }
    }

    /// Forgets what was written again to another segment.
    pub fn forget_what_is_in(&mut self, other: &Self) {
        for (stream, contents) in &other.contents {
            contents.iter().for_each(|readings| self.forget(*stream, readings));
        }
    }

    /// Whether it has any of these readings.
    pub fn has(&self, stream: StreamId, readings: ReadingRange) -> bool {
        self.contents.get(&stream).is_some_and(|contents| contents.meets(readings))
    }

    /// What of it is held.
    pub fn held(&self, held: &Held) -> Vec<(StreamId, ReadingRange)> {
        let streams =
            self.contents.iter().filter_map(|(id, contents)| Some((*id, contents, held.stream(*id)?)));
        let within = |(id, contents, stream): (StreamId, &Ranges, &super::held::HeldStream)| {
            let parts = contents.iter().flat_map(|range| stream.readings.within(range).collect::<Vec<_>>());
            parts.map(move |range| (id, range)).collect::<Vec<_>>()
        };
        streams.flat_map(within).collect()
    }

    /// Whether anything in it is held.
    pub fn is_held(&self, held: &Held) -> bool {
        self.contents.iter().any(|(id, contents)| contents.iter().any(|range| held.has(*id, range)))
    }

    /// Whether it has a series list.
    pub fn has_list(&self, id: DictionaryId) -> bool {
        self.lists.iter().any(|(known, _)| *known == id)
    }

    /// A series list of it, unless it does not have it or it is damaged.
    pub fn list(&self, disk: &dyn Disk, id: DictionaryId) -> io::Result<Option<SeriesList>> {
        let Some((_, at)) = self.lists.iter().find(|(known, _)| *known == id) else { return Ok(None) };
        Ok(match Records::open(disk, &self.path, *at)?.next()? {
            Some((Record::List(encoded), _)) => {
                Some(SeriesList::encoded(encoded)).filter(|list| list.id == id)
            }
            _ => None,
        })
    }

    /// The first batch at or behind `at` that is held, where its record begins, and where the next one does.
    pub fn next_held(&self, disk: &dyn Disk, at: u64, held: &Held) -> io::Result<Option<(Batch, u64, u64)>> {
        let mut records = Records::open(disk, &self.path, at.max(HEAD.len() as u64))?;
        while records.at < self.bytes {
            let Some((record, at)) = records.next()? else { break };
            if let Record::Batch(batch) = record
                && held.has(batch.stream, batch.readings)
                && self.has(batch.stream, batch.readings)
            {
                return Ok(Some((*batch, at, records.at)));
            }
        }
        Ok(None)
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, SegmentError> {
    let file = disk.open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(SegmentError::TooLarge(bytes));
    }
    let mut all = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    file.take(FILE_BYTES_MAX).read_to_end(&mut all)?;
    Ok(all)
}

/// The records of a file, one at a time; what is damaged is passed over.
struct Records {
    file: BufReader<File>,
    at: u64,
}

impl Records {
    fn open(disk: &dyn Disk, path: &Path, at: u64) -> io::Result<Self> {
        let mut file = disk.open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), at })
    }

    /// The next record, and where it begins.
    fn next(&mut self) -> io::Result<Option<(Record, u64)>> {
        let mut bytes = vec![0; HEAD_BYTES];
        if self.file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let is_whole = match self.file.read_exact(&mut bytes) {
            Ok(()) => bytes.first_chunk().and_then(record::content_bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        if let Some(length) = is_whole {
            bytes.resize(HEAD_BYTES.saturating_add(length), 0);
            let content = bytes.get_mut(HEAD_BYTES..).unwrap_or_default();
            match self.file.read_exact(content) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
            if let Some((record, length)) = record::whole(&bytes) {
                let at = self.at;
                self.at = at.saturating_add(length as u64);
                return Ok(Some((record, at)));
            }
        }
        self.behind_damage()
    }

    /// Looks for a record behind one that is damaged.
    fn behind_damage(&mut self) -> io::Result<Option<(Record, u64)>> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut rest = Vec::new();
        (&mut self.file).take(FILE_BYTES_MAX).read_to_end(&mut rest)?;
        let Found::Damaged(next) = record::read(&rest, 0) else { return Ok(None) };
        self.at = self.at.saturating_add(next as u64);
        self.file.seek(SeekFrom::Start(self.at))?;
        // Where it ends there is nothing; else a whole record begins here.
        if next == rest.len() { Ok(None) } else { self.next() }
    }
}
