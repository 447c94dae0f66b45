//! Sealed blocks: the samples of one hour of data, host by host.
//!
//! Layout, version 2 (it may change with the next release; `docs/storage-format.md`):
//! ```text
//! chunk…    each of one host (chunk.rs), hosts in order
//! index     postcard(Vec<IndexEntry>)
//! footer    index offset u32 LE · index length u32 LE · checksum 8 bytes · magic "EWBLOCK2"
//! ```
//! The checksum is the first 8 bytes of SHA-256 over everything before it.

use crate::{
    chunk::{self, ChunkError},
    compression::{Deflater, Inflater},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    codec::{self, TEXT_BYTES_MAX},
    limits::BLOCK_BYTES_MAX,
    series::SeriesSamples,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"EWBLOCK2";
const CHECKSUM_BYTES: usize = 8;
const FOOTER_BYTES: usize = 4 + 4 + CHECKSUM_BYTES + MAGIC.len();
/// Blocks are written once and kept for long, and only the heads of their chunks are compressed.
const ZSTD_LEVEL: i32 = 9;
/// What one chunk may take, so that a block can always be closed within its limit.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Samples of one chunk: 1.6 MB once decoded.
pub const CHUNK_SAMPLES_MAX: usize = 100_000;

/// Where a host's samples lie. A host with many samples has several entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Whose chunk it is.
    pub host: HostId,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// Why a block could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Too short, or another magic: not a block, or of another version.
    #[error("not a block of version 2")]
    Magic,
    /// Changed or cut since it was written.
    #[error("the checksum does not match")]
    Checksum,
    /// The index does not decode, or does not fit its length.
    #[error("the index does not decode")]
    Index,
    /// A chunk could not be written or read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// A finished block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The block.
    pub bytes: Vec<u8>,
    /// Its checksum, hexadecimal.
    pub checksum: String,
    /// Its oldest sample.
    pub min: TimestampMs,
    /// Its newest sample.
    pub max: TimestampMs,
    /// Its samples.
    pub samples: u64,
}

/// Writes samples into blocks, closing one and opening the next where the limit would be passed.
#[derive(Default)]
pub struct BlockWriter {
    finished: Vec<Built>,
    open: OpenBlock,
}

#[derive(Default)]
struct OpenBlock {
    chunks: Vec<u8>,
    index: Vec<IndexEntry>,
    span: Option<(TimestampMs, TimestampMs)>,
    samples: u64,
}

impl BlockWriter {
    /// Appends samples of one host; hosts come in order. Splits what is too much for one chunk.
    pub fn push(
        &mut self,
        host: HostId,
        series: &[SeriesSamples],
        deflater: &mut Deflater,
    ) -> Result<(), BlockError> {
        let samples = series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add);
        let chunk = chunk::encode(series, ZSTD_LEVEL, deflater)?;
        let is_too_large = chunk.len() > CHUNK_BYTES_MAX
            || samples > CHUNK_SAMPLES_MAX
            || codec::text_bytes(series) > TEXT_BYTES_MAX;
        if is_too_large && let Some((first, second)) = halves(series) {
            self.push(host, &first, deflater)?;
            return self.push(host, &second, deflater);
        }
        if self.open.bytes_with(&chunk) > BLOCK_BYTES_MAX {
            self.finished.extend(std::mem::take(&mut self.open).close()?);
        }
        self.open.append(host, chunk, series)
    }

    /// Closes the last block and returns them all; none if nothing was pushed.
    pub fn finish(mut self) -> Result<Vec<Built>, BlockError> {
        self.finished.extend(self.open.close()?);
        Ok(self.finished)
    }
}

impl OpenBlock {
    /// At least what the block takes once it is closed with this chunk in it.
    fn bytes_with(&self, chunk: &[u8]) -> usize {
        // 36 characters of a host id, its length, two varints of at most 5 bytes.
        const INDEX_ENTRY_BYTES: usize = 48;
        let index_bytes = self.index.len().saturating_add(1).saturating_mul(INDEX_ENTRY_BYTES);
        self.chunks.len().saturating_add(chunk.len()).saturating_add(index_bytes).saturating_add(FOOTER_BYTES)
    }

    fn append(&mut self, host: HostId, chunk: Vec<u8>, series: &[SeriesSamples]) -> Result<(), BlockError> {
        let too_long = |_| BlockError::Index;
        let offset = u32::try_from(self.chunks.len()).map_err(too_long)?;
        let length = u32::try_from(chunk.len()).map_err(too_long)?;
        self.index.push(IndexEntry { host, offset, length });
        self.chunks.extend(chunk);
        for entry in series {
            if let (Some(first), Some(last)) = (entry.samples.first(), entry.samples.last()) {
                let (min, max) = self.span.unwrap_or((first.time, last.time));
                self.span = Some((min.min(first.time), max.max(last.time)));
            }
            self.samples = self.samples.saturating_add(entry.samples.len() as u64);
        }
        Ok(())
    }

    fn close(self) -> Result<Option<Built>, BlockError> {
        let Some((min, max)) = self.span else {
            return Ok(None);
        };
        let index = postcard::to_allocvec(&self.index).map_err(|_| BlockError::Index)?;
        let too_long = |_| BlockError::Index;
        let offset = u32::try_from(self.chunks.len()).map_err(too_long)?;
        let length = u32::try_from(index.len()).map_err(too_long)?;
        let mut bytes = self.chunks;
        bytes.extend(index);
        bytes.extend(offset.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        let checksum = checksum_of(&bytes);
        bytes.extend(checksum);
        bytes.extend(MAGIC);
        let checksum = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Built { bytes, checksum, min, max, samples: self.samples }))
    }
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

fn checksum_of(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = Sha256::digest(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    for (to, from) in checksum.iter_mut().zip(hash) {
        *to = from;
    }
    checksum
}

/// A block that has been checked.
#[derive(Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    index: Vec<IndexEntry>,
}

impl<'a> Block<'a> {
    /// Checks magic and checksum and reads the index.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let (rest, magic) = bytes.split_last_chunk::<8>().ok_or(BlockError::Magic)?;
        if magic != MAGIC {
            return Err(BlockError::Magic);
        }
        let (covered, checksum) = rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BlockError::Magic)?;
        if checksum_of(covered) != *checksum {
            return Err(BlockError::Checksum);
        }
        let (rest, length) = covered.split_last_chunk::<4>().ok_or(BlockError::Magic)?;
        let (_, offset) = rest.split_last_chunk::<4>().ok_or(BlockError::Magic)?;
        let index = range(bytes, u32::from_le_bytes(*offset), u32::from_le_bytes(*length));
        let index = index.ok_or(BlockError::Index)?;
        let index = postcard::from_bytes(index).map_err(|_| BlockError::Index)?;
        Ok(Self { bytes, index })
    }

    /// Where the hosts' samples lie, hosts in order.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// The samples of one chunk.
    pub fn chunk(
        &self,
        entry: &IndexEntry,
        inflater: &mut Inflater,
    ) -> Result<Vec<SeriesSamples>, BlockError> {
        let chunk = range(self.bytes, entry.offset, entry.length).ok_or(BlockError::Index)?;
        Ok(chunk::decode(chunk, CHUNK_SAMPLES_MAX, inflater)?)
    }
}

fn range(bytes: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{Labels, Sample, Series};

    fn samples(name: &str, count: i64, seed: u64) -> SeriesSamples {
        let mut state = seed;
        let mut noise = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64
        };
        let samples = (0..count).map(|n| Sample { time: TimestampMs(n * 1_000), value: noise() }).collect();
        SeriesSamples { series: Series { name: name.into(), labels: Labels::new() }, samples }
    }

    fn host(n: u8) -> HostId {
        HostId::new(0, [n; 14])
    }

    fn read_all(bytes: &[u8]) -> Vec<(HostId, SeriesSamples)> {
        let block = Block::open(bytes).unwrap();
        let mut inflater = Inflater::default();
        let read = |entry: &IndexEntry| {
            let series = block.chunk(entry, &mut inflater).unwrap();
            series.into_iter().map(|series| (entry.host, series)).collect::<Vec<_>>()
        };
        block.index().iter().flat_map(read).collect()
    }

    fn written(pushes: &[(HostId, Vec<SeriesSamples>)]) -> Vec<Built> {
        let mut writer = BlockWriter::default();
        for (host, series) in pushes {
            writer.push(*host, series, &mut Deflater::default()).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_block_gives_back_what_was_put_in_and_knows_its_span() {
        let first = vec![samples("a", 5, 1), samples("b", 9, 2)];
        let built = written(&[(host(1), first), (host(2), vec![samples("a", 3, 3)])]);
        let [built] = built.as_slice() else { panic!("{} blocks", built.len()) };
        assert_eq!((built.min, built.max, built.samples), (TimestampMs(0), TimestampMs(8_000), 17));
        let expected =
            vec![(host(1), samples("a", 5, 1)), (host(1), samples("b", 9, 2)), (host(2), samples("a", 3, 3))];
        assert_eq!(read_all(&built.bytes), expected);
    }

    #[test]
    fn what_does_not_fit_a_chunk_or_a_block_goes_on_in_the_next() {
        let pushes: Vec<_> = (0..3).map(|n| (host(n), vec![samples("a", 120_000, n.into())])).collect();
        let built = written(&pushes);
        assert!(built.len() > 1);
        assert!(built.iter().all(|built| built.bytes.len() <= BLOCK_BYTES_MAX));
        let read =
            built.iter().flat_map(|built| read_all(&built.bytes)).map(|(_, series)| series.samples.len());
        assert_eq!(read.sum::<usize>(), 360_000);
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_noticed() {
        let bytes = written(&[(host(1), vec![samples("a", 50, 1)])]).remove(0).bytes;
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Block::open(&changed).is_err(), "byte {at}");
            assert!(Block::open(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_makes_no_block() {
        assert_eq!(written(&[]), []);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(0u8.., 0..200)) {
            let checksum = checksum_of(&bytes);
            bytes.extend(checksum);
            bytes.extend(MAGIC);
            if let Ok(block) = Block::open(&bytes) {
                for entry in block.index() {
                    let _ = block.chunk(entry, &mut Inflater::default());
                }
            }
        }
    }
}
