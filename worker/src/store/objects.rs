//! Sealed objects read in parts: first the index at their end, then the chunks that are asked for.

use super::blobs;
use crate::{api_error::ApiError, counting, instance};
use edgewatch_engine::{
    block::{BlockIndex, IndexEntry, Range, ranges},
    block_index::BlockEntry,
    call::{Part, Read},
    counters::Counter,
    query::{read_chunk, wants},
};
use edgewatch_shared::ErrorCode;
use worker::{Bucket, Env};

/// Smaller objects are read whole: a second request costs more than their bytes.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// An object and what it holds.
pub struct Opened {
    bucket: Bucket,
    object: BlockEntry,
    index: BlockIndex,
    /// All of it, if it is small.
    whole: Option<Vec<u8>>,
}

/// Reads an object's index.
pub async fn open(env: &Env, object: BlockEntry) -> Result<Opened, ApiError> {
    let bucket = blobs::bucket(env).ok_or_else(|| {
        ApiError::new(ErrorCode::Misconfigured, "sealed blocks are in R2, and no bucket is bound as BLOBS")
    })?;
    let is_small = object.bytes <= WHOLE_BYTES_MAX;
    let tail_bytes = if is_small { object.bytes } else { object.tail_bytes };
    let offset = object.bytes.saturating_sub(tail_bytes);
    let tail = read(&bucket, &object, offset, tail_bytes).await?;
    let index = instance::with(|instance| BlockIndex::open(&tail, object.bytes, &mut instance.inflater))
        .map_err(|error| corrupt(&object, error))?;
    Ok(Opened { bucket, object, index, whole: is_small.then_some(tail) })
}

impl Opened {
    /// Its chunks.
    pub fn entries(&self) -> &[IndexEntry] {
        self.index.entries()
    }

    /// What a read asks for, chunk by chunk: one that is damaged takes no other with it.
    pub async fn parts(self, asked: &Read) -> Result<Vec<Result<Part, ApiError>>, ApiError> {
        let mut parts = Vec::new();
        for range in ranges(self.index.entries().iter().filter(|entry| wants(asked, entry))) {
            let bytes = match &self.whole {
                Some(whole) => range.part(whole).map(<[u8]>::to_vec).unwrap_or_default(),
                None => read(&self.bucket, &self.object, range.offset.into(), range.length.into()).await?,
            };
            let chunks =
                range.entries.iter().map(|entry| self.chunk(&range, entry, &bytes, asked).transpose());
            parts.extend(chunks.flatten());
        }
        Ok(parts)
    }

    fn chunk(
        &self,
        range: &Range,
        entry: &IndexEntry,
        bytes: &[u8],
        asked: &Read,
    ) -> Result<Option<Part>, ApiError> {
        let chunk = range.chunk(entry, bytes).ok_or_else(|| corrupt(&self.object, "it was cut"))?;
        let of_block = (self.object.rank, self.index.resolution());
        instance::with(|instance| read_chunk(entry, chunk, of_block, asked, &mut instance.inflater))
            .map_err(|error| corrupt(&self.object, error))
    }
}

async fn read(bucket: &Bucket, object: &BlockEntry, offset: u64, length: u64) -> Result<Vec<u8>, ApiError> {
    let bytes = blobs::read_range(bucket, &object.key, offset, length).await;
    let bytes = bytes.map_err(|error| ApiError::unavailable(ErrorCode::BlobsUnavailable, "R2", error))?;
    bytes.ok_or_else(|| corrupt(object, "the object is gone"))
}

fn corrupt(object: &BlockEntry, why: impl std::fmt::Display) -> ApiError {
    counting::add(Counter::CorruptBlocks, 1);
    ApiError::new(ErrorCode::CorruptBlock, format!("block {}: {why}", object.key))
}
