//! What is fuzzed: one function a decoder of bytes that come from outside, or back from storage.
//!
//! Each takes any bytes and panics only where the code under it is wrong: the decoder itself panics, or something that
//! was read does not survive being written and read again.

pub mod seeds;

use edgewatch_engine::{
    block::Block,
    chunk,
    compression::{Deflater, Inflater},
};
use edgewatch_shared::{
    Sample, TimestampMs,
    codec::{self, Columns},
    limits::{BATCH_SAMPLES_MAX, BODY_DECOMPRESSED_BYTES_MAX, HOST_SERIES_MAX},
    series::SeriesSamples,
    validate::validate_push,
    wire::push::{self, PushFrame, decode_columns, encode_columns},
};

/// Samples that a chunk may have here: fewer than anywhere else, so that a run is quick.
const CHUNK_SAMPLES_MAX: usize = 10_000;

/// A decoder.
pub struct Target {
    /// Its name, and its folder's in `fuzz/corpus`.
    pub name: &'static str,
    /// Runs it on any bytes.
    pub run: fn(&[u8]),
    /// Inputs that the encoders of today write.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every decoder.
pub const TARGETS: &[Target] = &[
    Target { name: "push_frame", run: push_frame, seeds: seeds::push_frames },
    Target { name: "push_body", run: push_body, seeds: seeds::push_bodies },
    Target { name: "columns", run: columns, seeds: seeds::columns },
    Target { name: "chunk", run: chunk, seeds: seeds::chunks },
    Target { name: "block", run: block, seeds: seeds::blocks },
];

/// A compact push as it is once it is decompressed, to the samples that are believed.
pub fn push_frame(data: &[u8]) {
    let Ok(frame) = push::decode(data) else { return };
    let again = push::decode(&push::encode(&frame)).expect("what was read can be written");
    assert_eq!(again, frame);
    if let Some(metrics) = &frame.metrics
        && let Ok(columns) = decode_columns(&metrics.columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX)
    {
        let bytes = encode_columns(&columns);
        let again = decode_columns(&bytes, HOST_SERIES_MAX, BATCH_SAMPLES_MAX);
        assert_eq!(bits(&again.expect("what was read can be written")), bits(&columns));
    }
    believe(frame);
}

/// A compact push as it comes: zstd around a frame.
pub fn push_body(data: &[u8]) {
    let mut inflater = Inflater::default();
    let Ok(bytes) = inflater.inflate(data, BODY_DECOMPRESSED_BYTES_MAX) else { return };
    if let Ok(frame) = push::decode(bytes) {
        believe(frame);
    }
}

/// What passes validation is of one shape, whatever came.
fn believe(frame: PushFrame) {
    // A clock in the middle of what the seeds have.
    let Ok(checked) = validate_push(frame, TimestampMs(seeds::START_MS)) else { return };
    let batch = checked.batch;
    let columns = decode_columns(batch.bytes(), batch.columns().len(), batch.sample_count());
    assert_eq!(bits(&columns.expect("what is believed can be stored")), bits(batch.columns()));
    assert!(batch.columns().iter().flatten().all(|sample| sample.value.is_finite()));
    assert!(batch.columns().iter().all(|samples| samples.is_sorted_by(|a, b| a.time < b.time)));
}

/// A chunk's columns: two bytes with the head's length, the head as it is once it is decompressed, the body.
pub fn columns(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (head, body) = rest.split_at(length);
    if let Ok(series) = codec::decode(Columns { head, body }, CHUNK_SAMPLES_MAX) {
        let again = codec::encode(&series);
        let again = Columns { head: again.head.as_slice(), body: again.body.as_slice() };
        survives(codec::decode(again, CHUNK_SAMPLES_MAX).ok(), &series);
    }
}

/// A chunk as it lies in a row of the log or in a block.
pub fn chunk(data: &[u8]) {
    let mut inflater = Inflater::default();
    if let Ok(series) = chunk::decode(data, CHUNK_SAMPLES_MAX, &mut inflater) {
        let again =
            chunk::encode(&series, 1, &mut Deflater::default()).expect("what was read can be written");
        survives(chunk::decode(&again, CHUNK_SAMPLES_MAX, &mut inflater).ok(), &series);
    }
}

/// A block: its footer, its index and every chunk.
pub fn block(data: &[u8]) {
    let mut inflater = Inflater::default();
    let Ok(block) = Block::open(data, &mut inflater) else { return };
    for entry in block.entries() {
        // A chunk that does not check out is an error of its own; the others are read all the same.
        let _checked = block.chunk(entry, &mut inflater);
    }
}

fn survives(again: Option<Vec<SeriesSamples>>, series: &[SeriesSamples]) {
    let again = again.expect("what was read can be written");
    let all = |series: &[SeriesSamples]| -> Vec<_> {
        series.iter().map(|entry| (entry.series.clone(), column_bits(&entry.samples))).collect()
    };
    assert_eq!(all(&again), all(series));
}

fn bits(columns: &[Vec<Sample>]) -> Vec<Vec<(TimestampMs, u64)>> {
    columns.iter().map(|samples| column_bits(samples)).collect()
}

/// Values as bits, since NaN is not equal to itself.
fn column_bits(samples: &[Sample]) -> Vec<(TimestampMs, u64)> {
    samples.iter().map(|sample| (sample.time, sample.value.to_bits())).collect()
}
