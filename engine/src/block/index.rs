//! The index of a block and its footer, written and read.

use super::{BlockError, FOOTER_BYTES, INDEX_BYTES_MAX, IndexEntry, MAGIC, VERSION, part};
use crate::{
    compression::{DeflateError, Deflater, Inflater},
    rollup::Resolution,
};
use edgewatch_shared::{HostId, TimestampMs};
use serde::{Deserialize, Serialize};

/// Small, and read far more often than written.
const ZSTD_LEVEL: i32 = 9;

/// An entry as it is stored. Chunks lie without gaps, so that their lengths say where they are.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    host: [u8; 16],
    length: u32,
    crc: [u8; 4],
    min_ms: i64,
    /// How much later the newest sample is.
    span_ms: u64,
    samples: u32,
}

/// Index and footer for chunks that end at `offset`.
pub fn encode(
    entries: &[IndexEntry],
    offset: u32,
    resolution: Resolution,
    deflater: &mut Deflater,
) -> Result<Vec<u8>, BlockError> {
    let stored = |entry: &IndexEntry| StoredEntry {
        host: *entry.host.as_bytes(),
        length: entry.length,
        crc: entry.crc.to_le_bytes(),
        min_ms: entry.min.0,
        span_ms: entry.max.0.abs_diff(entry.min.0),
        samples: entry.samples,
    };
    let stored: Vec<StoredEntry> = entries.iter().map(stored).collect();
    let plain = postcard::to_allocvec(&stored).map_err(|_| BlockError::Index)?;
    let failed = |error: DeflateError| BlockError::Chunk(error.into());
    let mut bytes = deflater.deflate(&plain, ZSTD_LEVEL).map_err(failed)?;
    let length = u32::try_from(bytes.len()).map_err(|_| BlockError::Index)?;
    bytes.extend(offset.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.push(resolution.number());
    bytes.push(VERSION);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(MAGIC);
    Ok(bytes)
}

/// What a block holds and where, checked: entries fit the object without gap or overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockIndex {
    entries: Vec<IndexEntry>,
    resolution: Resolution,
    tail_bytes: u64,
}

impl BlockIndex {
    /// Reads it out of the last bytes of an object of `object_bytes`: index and footer, or more than that.
    pub fn open(tail: &[u8], object_bytes: u64, inflater: &mut Inflater) -> Result<Self, BlockError> {
        let (rest, magic) = tail.split_last_chunk::<8>().ok_or(BlockError::Magic)?;
        let (checked, crc) = rest.split_last_chunk::<4>().ok_or(BlockError::Magic)?;
        let (index, fields) = checked.split_last_chunk::<10>().ok_or(BlockError::Magic)?;
        let [o0, o1, o2, o3, l0, l1, l2, l3, resolution, version] = *fields;
        if magic != MAGIC || version != VERSION {
            return Err(BlockError::Magic);
        }
        let (offset, length) = (u32::from_le_bytes([o0, o1, o2, o3]), u32::from_le_bytes([l0, l1, l2, l3]));
        let tail_bytes = u64::from(length).saturating_add(FOOTER_BYTES as u64);
        if u64::from(offset).saturating_add(tail_bytes) != object_bytes {
            return Err(BlockError::IndexChecksum);
        }
        let before = (index.len() as u64).checked_sub(length.into());
        let before = before.ok_or(BlockError::TailTooShort(tail_bytes))? as usize;
        let covered = checked.get(before..).unwrap_or_default();
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return Err(BlockError::IndexChecksum);
        }
        let resolution = Resolution::of_number(resolution).ok_or(BlockError::Index)?;
        let index = part(covered, 0, length).ok_or(BlockError::Index)?;
        let plain = inflater.inflate(index, INDEX_BYTES_MAX).map_err(|_| BlockError::Index)?;
        Ok(Self { entries: entries(plain, offset)?, resolution, tail_bytes })
    }

    /// Where the hosts' samples lie, in the order of the chunks.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// How finely the block keeps time.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Bytes of index and footer: what a reader needs of the object's end.
    pub fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// The oldest and the newest sample; `None` if there is none.
    pub fn span(&self) -> Option<(TimestampMs, TimestampMs)> {
        let min = self.entries.iter().map(|entry| entry.min).min()?;
        let max = self.entries.iter().map(|entry| entry.max).max()?;
        Some((min, max))
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.samples)).fold(0, u64::saturating_add)
    }
}

/// The entries of chunks that fill the object from its first byte to `end`.
fn entries(plain: &[u8], end: u32) -> Result<Vec<IndexEntry>, BlockError> {
    let (stored, rest): (Vec<StoredEntry>, _) =
        postcard::take_from_bytes(plain).map_err(|_| BlockError::Index)?;
    if !rest.is_empty() {
        return Err(BlockError::Index);
    }
    let mut offset: u32 = 0;
    let mut entries = Vec::with_capacity(stored.len());
    for entry in stored {
        let max = entry.min_ms.checked_add_unsigned(entry.span_ms).ok_or(BlockError::Index)?;
        entries.push(IndexEntry {
            host: HostId::from_bytes(&entry.host).map_err(|_| BlockError::Index)?,
            offset,
            length: entry.length,
            crc: u32::from_le_bytes(entry.crc),
            min: TimestampMs(entry.min_ms),
            max: TimestampMs(max),
            samples: entry.samples,
        });
        offset = offset.checked_add(entry.length).ok_or(BlockError::Index)?;
    }
    if offset == end { Ok(entries) } else { Err(BlockError::Index) }
}
