//! Sealed objects read in parts: first the index at their end, then the chunks that are asked for.

use super::blobs;
use crate::{api_error::ApiError, instance};
use edgewatch_engine::{
    block::{BlockIndex, IndexEntry, Range, ranges},
    block_index::BlockEntry,
    call::{Part, Read},
    query::{read_chunk, wants},
};
use edgewatch_shared::ErrorCode;
use worker::{Bucket, Env};

/// An object and what it holds.
pub struct Opened {
    bucket: Bucket,
    object: BlockEntry,
    index: BlockIndex,
}

/// Reads an object's index.
pub async fn open(env: &Env, object: BlockEntry) -> Result<Opened, ApiError> {
    let bucket = blobs::bucket(env).ok_or_else(|| {
        ApiError::new(ErrorCode::Misconfigured, "sealed blocks are in R2, and no bucket is bound as BLOBS")
    })?;
    let offset = object.bytes.saturating_sub(object.tail_bytes);
    let tail = read(&bucket, &object, offset, object.tail_bytes).await?;
    let index = instance::with(|instance| BlockIndex::open(&tail, object.bytes, &mut instance.inflater))
        .map_err(|error| corrupt(&object, error))?;
    Ok(Opened { bucket, object, index })
}

impl Opened {
    /// Its chunks.
    pub fn entries(&self) -> &[IndexEntry] {
        self.index.entries()
    }

    /// What a read asks for.
    pub async fn parts(self, asked: &Read) -> Result<Vec<Part>, ApiError> {
        let mut parts = Vec::new();
        for range in ranges(self.index.entries().iter().filter(|entry| wants(asked, entry))) {
            let bytes = read(&self.bucket, &self.object, range.offset.into(), range.length.into()).await?;
            for entry in &range.entries {
                parts.extend(self.chunk(&range, entry, &bytes, asked)?);
            }
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
        instance::with(|instance| read_chunk(entry, chunk, self.object.rank, asked, &mut instance.inflater))
            .map_err(|error| corrupt(&self.object, error))
    }
}

async fn read(bucket: &Bucket, object: &BlockEntry, offset: u64, length: u64) -> Result<Vec<u8>, ApiError> {
    let bytes = blobs::read_range(bucket, &object.key, offset, length).await;
    let bytes = bytes.map_err(|error| ApiError::unavailable(ErrorCode::BlobsUnavailable, "R2", error))?;
    bytes.ok_or_else(|| corrupt(object, "the object is gone"))
}

fn corrupt(object: &BlockEntry, why: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::CorruptBlock, format!("block {}: {why}", object.key))
}
