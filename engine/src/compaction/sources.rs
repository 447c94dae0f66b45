//! What a compaction reads: which bytes of which blocks, some hosts at a time.

use super::CompactionError;
use crate::{
    block::{BlockError, BlockIndex, IndexEntry, Range, decode_chunk, ranges},
    block_index::BlockEntry,
    compression::Inflater,
    rollup::Resolution,
};
use edgewatch_shared::{HostId, series::SeriesSamples};
use std::collections::{BTreeSet, VecDeque};

/// Indexes that are read at once.
const TAILS_MAX: usize = 32;

/// Bytes of a source that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// Which source: [`super::Compaction::source`].
    pub source: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// What a source is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// What counters stood at before the day.
    Before,
    /// What the day was rolled up to before.
    RolledUp(Resolution),
    /// Samples.
    Raw,
}

/// A block that is read.
pub(super) struct Source {
    entry: BlockEntry,
    role: Role,
    index: Option<BlockIndex>,
}

impl Source {
    pub(super) fn new(entry: BlockEntry, role: Role) -> Self {
        Self { entry, role, index: None }
    }

    fn damaged(&self, why: BlockError) -> CompactionError {
        CompactionError::Damaged { id: self.entry.id, key: self.entry.key.clone(), why }
    }
}

/// All of them, lowest rank first.
pub(super) struct Sources(Vec<Source>);

impl Sources {
    pub(super) fn new(mut sources: Vec<Source>) -> Self {
        sources.sort_by_key(|source| (source.entry.rank, source.entry.id));
        Self(sources)
    }

    pub(super) fn entry(&self, source: usize) -> Option<&BlockEntry> {
        self.0.get(source).map(|source| &source.entry)
    }

    /// The blocks of the day itself.
    pub(super) fn replaced(&self) -> impl Iterator<Item = &BlockEntry> {
        self.0.iter().filter(|source| source.role != Role::Before).map(|source| &source.entry)
    }

    /// Indexes that are still to be read, as many as are read at once.
    pub(super) fn unread_tails(&self) -> Vec<SourceRange> {
        let unread = self.0.iter().enumerate().filter(|(_, source)| source.index.is_none());
        let tail = |(source, of): (usize, &Source)| SourceRange {
            source,
            offset: of.entry.bytes.saturating_sub(of.entry.tail_bytes),
            length: of.entry.tail_bytes,
        };
        unread.map(tail).take(TAILS_MAX).collect()
    }

    pub(super) fn open(
        &mut self,
        ranges: &[SourceRange],
        tails: &[Vec<u8>],
        inflater: &mut Inflater,
    ) -> Result<(), CompactionError> {
        for (range, tail) in ranges.iter().zip(tails) {
            if let Some(source) = self.0.get_mut(range.source) {
                let index = BlockIndex::open(tail, source.entry.bytes, inflater);
                source.index = Some(index.map_err(|why| source.damaged(why))?);
            }
        }
        Ok(())
    }

    /// Hosts that have anything on this day, after one of them.
    pub(super) fn hosts_after(&self, after: Option<HostId>) -> VecDeque<HostId> {
        let of_day = self.0.iter().filter(|source| source.role != Role::Before);
        let entries = of_day.filter_map(|source| source.index.as_ref()).flat_map(BlockIndex::entries);
        let mut hosts = BTreeSet::new();
        hosts.extend(entries.map(|entry| entry.host).filter(|host| Some(*host) > after));
        hosts.into_iter().collect()
    }

    fn entries_of(&self, host: HostId) -> impl Iterator<Item = &IndexEntry> {
        let indexes = self.0.iter().filter_map(|source| source.index.as_ref());
        indexes.flat_map(BlockIndex::entries).filter(move |entry| entry.host == host)
    }

    /// Takes as many hosts as can be read at once, at least one; `None` if there is none left.
    pub(super) fn next_group(&self, hosts: &mut VecDeque<HostId>, batch_bytes: u64) -> Option<Group> {
        let mut taken = VecDeque::new();
        let mut bytes: u64 = 0;
        while let Some(host) = hosts.front() {
            let lengths = self.entries_of(*host).map(|entry| u64::from(entry.length));
            bytes = lengths.fold(bytes, u64::saturating_add);
            if bytes > batch_bytes && !taken.is_empty() {
                break;
            }
            taken.extend(hosts.pop_front());
        }
        if taken.is_empty() { None } else { Some(Group::of(self, taken, batch_bytes)) }
    }

    pub(super) fn decode(
        &self,
        chunk: &Chunk,
        bytes: Option<&[u8]>,
        inflater: &mut Inflater,
    ) -> Result<(Role, Vec<SeriesSamples>), CompactionError> {
        let Some(source) = self.0.get(chunk.source) else { return Ok((Role::Raw, Vec::new())) };
        // Fewer bytes than asked for: the object is shorter than it was.
        let decoded = decode_chunk(&chunk.entry, bytes.unwrap_or_default(), inflater);
        decoded.map(|series| (source.role, series)).map_err(|why| source.damaged(why))
    }
}

/// Where a chunk lies.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    source: usize,
    pub(super) entry: IndexEntry,
    /// In which batch, and in which of its ranges.
    pub(super) batch: usize,
    range: usize,
}

/// Hosts that are read together.
pub(super) struct Group {
    hosts: VecDeque<HostId>,
    /// Bytes that are read together; of few hosts there is one batch, of a large one several.
    batches: Vec<Vec<(SourceRange, Range)>>,
    chunks: Vec<Chunk>,
    loaded: Option<(usize, Vec<Vec<u8>>)>,
}

impl Group {
    fn of(sources: &Sources, hosts: VecDeque<HostId>, batch_bytes: u64) -> Self {
        let mut batches: Vec<Vec<(SourceRange, Range)>> = Vec::new();
        let mut chunks = Vec::new();
        let mut bytes = u64::MAX;
        for (source, of) in sources.0.iter().enumerate() {
            let entries = of.index.iter().flat_map(BlockIndex::entries);
            for range in ranges(entries.filter(|entry| hosts.contains(&entry.host))) {
                let length = u64::from(range.length);
                bytes = bytes.saturating_add(length);
                if bytes > batch_bytes {
                    batches.push(Vec::new());
                    bytes = length;
                }
                let batch = batches.len().saturating_sub(1);
                let Some(open) = batches.last_mut() else { continue };
                let chunk =
                    |entry: &IndexEntry| Chunk { source, entry: entry.clone(), batch, range: open.len() };
                chunks.extend(range.entries.iter().map(chunk));
                open.push((SourceRange { source, offset: range.offset.into(), length }, range));
            }
        }
        Self { hosts, batches, chunks, loaded: None }
    }

    pub(super) fn next_host(&mut self) -> Option<HostId> {
        self.hosts.pop_front()
    }

    /// A host's chunk, counted from 0: lowest rank first, so that of two samples at one instant the later counts.
    pub(super) fn chunk(&self, host: HostId, number: usize) -> Option<&Chunk> {
        self.chunks.iter().filter(|chunk| chunk.entry.host == host).nth(number)
    }

    pub(super) fn is_loaded(&self, batch: usize) -> bool {
        self.loaded.as_ref().is_some_and(|(loaded, _)| *loaded == batch)
    }

    pub(super) fn ranges(&self, batch: usize) -> Vec<SourceRange> {
        let batch = self.batches.get(batch).into_iter().flatten();
        batch.map(|(range, _)| range.clone()).collect()
    }

    pub(super) fn load(&mut self, ranges: &[SourceRange], bytes: Vec<Vec<u8>>) {
        let is_asked = |batch: &Vec<(SourceRange, Range)>| batch.iter().map(|(range, _)| range).eq(ranges);
        if let Some(batch) = self.batches.iter().position(is_asked) {
            self.loaded = Some((batch, bytes));
        }
    }

    /// The bytes of a chunk out of what is loaded.
    pub(super) fn bytes(&self, chunk: &Chunk) -> Option<&[u8]> {
        let (batch, loaded) = self.loaded.as_ref()?;
        let (_, range) = self.batches.get(*batch)?.get(chunk.range)?;
        range.chunk(&chunk.entry, loaded.get(chunk.range)?)
    }
}
