//! Writes blocks: chunk by chunk, closing one and opening the next where the limit would be passed.

use super::{BlockError, CHUNK_SAMPLES_MAX, FOOTER_BYTES, INDEX_BYTES_MAX, IndexEntry, index};
use crate::{chunk, compression::Deflater, rollup::Resolution};
use edgewatch_shared::{
    HostId, TimestampMs,
    codec::{self, TEXT_BYTES_MAX},
    series::SeriesSamples,
};
use sha2::{Digest, Sha256};

/// Blocks are written once and kept for long, and only the heads of their chunks are compressed.
const ZSTD_LEVEL: i32 = 9;
/// What one chunk may take, so that a block can always be closed within its limit.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// At most what an entry takes in the index: 16 and 4 bytes, varints of 5, 10, 10 and 5; zstd's own share, rounded up.
const INDEX_ENTRY_BYTES: usize = 52;
/// What zstd adds to an index however short.
const INDEX_FRAME_BYTES: usize = 128;
/// Bytes of the checksum that names a block.
const CHECKSUM_BYTES: usize = 8;

/// A finished block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The block.
    pub bytes: Vec<u8>,
    /// The first 8 bytes of its SHA-256, hexadecimal.
    pub checksum: String,
    /// Its oldest sample.
    pub min: TimestampMs,
    /// Its newest sample.
    pub max: TimestampMs,
    /// Its samples.
    pub samples: u64,
    /// Bytes of its index and footer: what a reader needs of its end.
    pub tail_bytes: u64,
    /// How finely it keeps time.
    pub resolution: Resolution,
    /// The first and the last host in it.
    pub hosts: (HostId, HostId),
}

/// Writes samples into blocks of at most so many bytes.
pub struct BlockWriter {
    resolution: Resolution,
    bytes_max: usize,
    closed: Vec<Built>,
    open: OpenBlock,
}

#[derive(Default)]
struct OpenBlock {
    chunks: Vec<u8>,
    entries: Vec<IndexEntry>,
}

impl BlockWriter {
    /// Nothing yet. `bytes_max` is [`BLOCK_BYTES_MAX`](edgewatch_shared::limits::BLOCK_BYTES_MAX) where a block has to
    /// fit a row, and [`DAY_BLOCK_BYTES_MAX`](edgewatch_shared::limits::DAY_BLOCK_BYTES_MAX) where it goes to R2.
    pub fn new(resolution: Resolution, bytes_max: usize) -> Self {
        Self { resolution, bytes_max, closed: Vec::new(), open: OpenBlock::default() }
    }

    /// Appends samples of one host; hosts come in order, series without samples are left out. Splits what is too
    /// much for one chunk.
    pub fn push(
        &mut self,
        host: HostId,
        series: &[SeriesSamples],
        deflater: &mut Deflater,
    ) -> Result<(), BlockError> {
        if series.iter().any(|entry| entry.samples.is_empty()) {
            let filled = series.iter().filter(|entry| !entry.samples.is_empty()).cloned();
            return self.push(host, &filled.collect::<Vec<_>>(), deflater);
        }
        let Some((min, max)) = span(series) else { return Ok(()) };
        let samples = series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add);
        let is_too_much = samples > CHUNK_SAMPLES_MAX || codec::text_bytes(series) > TEXT_BYTES_MAX;
        if is_too_much && let Some((first, second)) = halves(series) {
            self.push(host, &first, deflater)?;
            return self.push(host, &second, deflater);
        }
        let chunk = chunk::encode(series, ZSTD_LEVEL, deflater)?;
        if chunk.len() > CHUNK_BYTES_MAX
            && let Some((first, second)) = halves(series)
        {
            self.push(host, &first, deflater)?;
            return self.push(host, &second, deflater);
        }
        if !self.open.has_room_for(chunk.len(), self.bytes_max) {
            self.close(deflater)?;
        }
        self.open.append(host, chunk, (min, max), samples)
    }

    /// The blocks that have been closed since this was last called, to be stored while the next one is written.
    pub fn take_closed(&mut self) -> Vec<Built> {
        std::mem::take(&mut self.closed)
    }

    /// Bytes of the block that is being written, so far.
    pub fn open_bytes(&self) -> usize {
        self.open.chunks.len()
    }

    /// Closes the last block and returns all that were not taken yet; none if nothing was pushed.
    pub fn finish(mut self, deflater: &mut Deflater) -> Result<Vec<Built>, BlockError> {
        self.close(deflater)?;
        Ok(self.closed)
    }

    fn close(&mut self, deflater: &mut Deflater) -> Result<(), BlockError> {
        let open = std::mem::take(&mut self.open);
        self.closed.extend(open.close(self.resolution, deflater)?);
        Ok(())
    }
}

impl OpenBlock {
    /// Whether the block can still be closed within its limit with a chunk of so many bytes in it.
    fn has_room_for(&self, chunk_bytes: usize, bytes_max: usize) -> bool {
        let entries = self.entries.len().saturating_add(1);
        let index_bytes = entries.saturating_mul(INDEX_ENTRY_BYTES).saturating_add(INDEX_FRAME_BYTES);
        let bytes = self.chunks.len().saturating_add(chunk_bytes);
        index_bytes <= INDEX_BYTES_MAX
            && bytes.saturating_add(index_bytes).saturating_add(FOOTER_BYTES) <= bytes_max
    }

    fn append(
        &mut self,
        host: HostId,
        chunk: Vec<u8>,
        (min, max): (TimestampMs, TimestampMs),
        samples: usize,
    ) -> Result<(), BlockError> {
        let number = |count: usize| u32::try_from(count).map_err(|_| BlockError::Index);
        self.entries.push(IndexEntry {
            host,
            offset: number(self.chunks.len())?,
            length: number(chunk.len())?,
            crc: crc32fast::hash(&chunk),
            min,
            max,
            samples: number(samples)?,
        });
        self.chunks.extend(chunk);
        Ok(())
    }

    fn close(self, resolution: Resolution, deflater: &mut Deflater) -> Result<Option<Built>, BlockError> {
        let (Some(min), Some(max)) = (
            self.entries.iter().map(|entry| entry.min).min(),
            self.entries.iter().map(|entry| entry.max).max(),
        ) else {
            return Ok(None);
        };
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(None) };
        let hosts = (first.host, last.host);
        let samples = self.entries.iter().map(|entry| u64::from(entry.samples)).fold(0, u64::saturating_add);
        let offset = u32::try_from(self.chunks.len()).map_err(|_| BlockError::Index)?;
        let tail = index::encode(&self.entries, offset, resolution, deflater)?;
        let tail_bytes = tail.len() as u64;
        let mut bytes = self.chunks;
        bytes.extend(tail);
        let checksum = checksum(&bytes);
        Ok(Some(Built { bytes, checksum, min, max, samples, tail_bytes, resolution, hosts }))
    }
}

/// The first bytes of SHA-256, hexadecimal.
fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(CHECKSUM_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The oldest and the newest sample of series whose samples are in order; `None` if there is none.
fn span(series: &[SeriesSamples]) -> Option<(TimestampMs, TimestampMs)> {
    let min = series.iter().filter_map(|entry| entry.samples.first()).map(|sample| sample.time).min()?;
    let max = series.iter().filter_map(|entry| entry.samples.last()).map(|sample| sample.time).max()?;
    Some((min, max))
}

/// Two halves: of the series, or of the samples of a single one; `None` if there is nothing left to halve.
fn halves(series: &[SeriesSamples]) -> Option<(Vec<SeriesSamples>, Vec<SeriesSamples>)> {
    match series {
        [] => None,
        [one] => {
            let (first, second) = one.samples.split_at_checked(one.samples.len() / 2)?;
            if first.is_empty() {
                return None;
            }
            let part =
                |samples: &[_]| vec![SeriesSamples { series: one.series.clone(), samples: samples.to_vec() }];
            Some((part(first), part(second)))
        }
        many => {
            let (first, second) = many.split_at_checked(many.len() / 2)?;
            Some((first.to_vec(), second.to_vec()))
        }
    }
}
