//! A batch as bytes: what travels from the Worker to the shard and lies in a WAL row.

use crate::{
    chunk::{self, ChunkError},
    compression::{Deflater, Inflater},
};
use edgewatch_shared::{
    Batch,
    limits::{BATCH_SAMPLES_MAX, ROW_BYTES_MAX},
    series::SeriesSamples,
};

/// Fast, and names repeat: higher levels gain little on a row that is sealed within the hour.
const ZSTD_LEVEL: i32 = 1;

/// The bytes of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

/// Why a batch has no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Over [`ROW_BYTES_MAX`].
    #[error("the batch takes {0} bytes compressed, a row holds {ROW_BYTES_MAX}: split it")]
    TooLarge(usize),
    /// Not a chunk, or no chunk can be made.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

impl Frame {
    /// Encodes a batch.
    pub fn encode(batch: &Batch, deflater: &mut Deflater) -> Result<Self, FrameError> {
        encode_series(batch.series(), deflater).map(Self)
    }

    /// The bytes, as stored.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Encodes samples as a frame does.
pub fn encode_series(series: &[SeriesSamples], deflater: &mut Deflater) -> Result<Vec<u8>, FrameError> {
    let bytes = chunk::encode(series, ZSTD_LEVEL, deflater)?;
    if bytes.len() > ROW_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Decodes the bytes of a frame.
pub fn decode(bytes: &[u8], inflater: &mut Inflater) -> Result<Vec<SeriesSamples>, FrameError> {
    Ok(chunk::decode(bytes, BATCH_SAMPLES_MAX, inflater)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use edgewatch_shared::{
        TimestampMs,
        validate::validate,
        wire::{MetricSample, MetricsBody, WireTime},
    };

    /// A batch of `count` samples, a second apart from `start` on.
    pub fn batch(name: &str, start: TimestampMs, count: i64) -> Batch {
        let sample = |n: i64| MetricSample {
            time: WireTime(start.plus_ms(n * 1_000)),
            host: None,
            name: name.into(),
            value: n as f64 + 0.5,
            labels: None,
        };
        let body = MetricsBody { host: None, facts: None, metrics: (0..count).map(sample).collect() };
        validate(body, start).unwrap().batch
    }

    #[test]
    fn a_batch_survives_its_frame_bit_by_bit() {
        let batch = batch("load_1m", TimestampMs(1_790_000_000_000), 100);
        let frame = Frame::encode(&batch, &mut Deflater::default()).unwrap().into_bytes();
        assert_eq!(decode(&frame, &mut Inflater::default()).unwrap(), batch.series());
    }
}
