//! Sealed blocks: samples of some time, host by host, readable in parts.
//!
//! Layout, version 3 (`docs/storage-format.md` has it byte by byte):
//! ```text
//! chunk…    each of one host (chunk.rs), one after the other from the first byte on
//! index     zstd(postcard(Vec<StoredEntry>)), in the order of the chunks
//! footer    index offset u32 LE · index length u32 LE · resolution 1 byte · version 1 byte
//!           · CRC-32 u32 LE of the index and of the footer up to here · magic "EWBLOCK3"
//! ```
//! The index holds a CRC-32 of every chunk, so a reader of a part trusts nothing that it has not checked. The
//! checksum of the whole, the first 8 bytes of its SHA-256, is in the object's name.

mod index;
mod ranges;
mod writer;

use crate::{
    chunk::{self, ChunkError},
    compression::Inflater,
    rollup::Resolution,
};
use edgewatch_shared::{
    HostId, TimestampMs,
    series::{Series, SeriesSamples},
};
pub use index::BlockIndex;
pub use ranges::{Range, ranges};
pub use writer::{BlockWriter, Built};

const MAGIC: &[u8; 8] = b"EWBLOCK3";
const VERSION: u8 = 3;
/// Bytes after the index.
pub const FOOTER_BYTES: usize = 4 + 4 + 1 + 1 + 4 + MAGIC.len();
/// Samples of one chunk: 1.6 MB once decoded.
pub const CHUNK_SAMPLES_MAX: usize = 100_000;
/// What an index may decompress to: over 20,000 chunks.
const INDEX_BYTES_MAX: usize = 1 << 20;

/// Where a host's samples lie, and what they are. A host with many samples has several entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Whose chunk it is.
    pub host: HostId,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
    /// CRC-32 (IEEE) of those bytes.
    pub crc: u32,
    /// Its oldest sample.
    pub min: TimestampMs,
    /// Its newest sample.
    pub max: TimestampMs,
    /// Its samples.
    pub samples: u32,
}

impl IndexEntry {
    /// Whether it may hold samples from `from` to `to`.
    pub fn overlaps(&self, from: TimestampMs, to: TimestampMs) -> bool {
        self.max >= from && self.min <= to
    }
}

/// Why a block could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Too short, or another magic or version: not a block, or of another release.
    #[error("not a block of version {VERSION}")]
    Magic,
    /// The bytes handed in do not reach back to the beginning of the index.
    #[error("index and footer take the last {0} bytes, fewer were given")]
    TailTooShort(u64),
    /// Index or footer changed or were cut since they were written.
    #[error("the checksum of the index does not match")]
    IndexChecksum,
    /// The index does not decode, or does not fit the object.
    #[error("the index does not decode")]
    Index,
    /// A chunk changed or was cut since it was written.
    #[error("the checksum of a chunk of host {host} at byte {offset} does not match")]
    ChunkChecksum {
        /// Whose samples it holds.
        host: HostId,
        /// Where it lies.
        offset: u32,
    },
    /// A chunk could not be written or read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// The samples of one chunk, out of exactly its bytes.
pub fn decode_chunk(
    entry: &IndexEntry,
    bytes: &[u8],
    inflater: &mut Inflater,
) -> Result<Vec<SeriesSamples>, BlockError> {
    let mut found = Vec::new();
    decode_chunk_each(entry, bytes, inflater, &mut |_| true, &mut |series| found.push(series))?;
    Ok(found)
}

/// The same, series by series, and only those that are `wanted`. On an error, what was handed over counts for nothing.
pub fn decode_chunk_each(
    entry: &IndexEntry,
    bytes: &[u8],
    inflater: &mut Inflater,
    wanted: &mut dyn FnMut(&Series) -> bool,
    each: &mut dyn FnMut(SeriesSamples),
) -> Result<(), BlockError> {
    if bytes.len() as u64 != u64::from(entry.length) || crc32fast::hash(bytes) != entry.crc {
        return Err(BlockError::ChunkChecksum { host: entry.host, offset: entry.offset });
    }
    Ok(chunk::decode_each(bytes, CHUNK_SAMPLES_MAX, inflater, wanted, each)?)
}

/// A block that lies in memory whole.
#[derive(Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    index: BlockIndex,
}

impl<'a> Block<'a> {
    /// Checks footer and index. Chunks are checked one by one when they are read.
    pub fn open(bytes: &'a [u8], inflater: &mut Inflater) -> Result<Self, BlockError> {
        Ok(Self { bytes, index: BlockIndex::open(bytes, bytes.len() as u64, inflater)? })
    }

    /// How finely it keeps time.
    pub fn resolution(&self) -> Resolution {
        self.index.resolution()
    }

    /// Where the hosts' samples lie, in the order of the chunks.
    pub fn entries(&self) -> &[IndexEntry] {
        self.index.entries()
    }

    /// The bytes of one chunk, not checked.
    pub fn chunk_bytes(&self, entry: &IndexEntry) -> Result<&'a [u8], BlockError> {
        part(self.bytes, entry.offset, entry.length).ok_or(BlockError::Index)
    }

    /// The samples of one chunk.
    pub fn chunk(
        &self,
        entry: &IndexEntry,
        inflater: &mut Inflater,
    ) -> Result<Vec<SeriesSamples>, BlockError> {
        decode_chunk(entry, self.chunk_bytes(entry)?, inflater)
    }
}

fn part(bytes: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

#[cfg(test)]
mod tests;
