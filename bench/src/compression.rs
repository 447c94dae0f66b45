//! zstd in C against `ruzstd` in Rust, on what the Worker compresses and decompresses: the body of a push,
//! the head of a log row, the heads of an hour of one host in its blocks.

use crate::{
    figure::{Figure, median},
    fleet,
};
use anyhow::{Result, ensure};
use edgewatch_engine::{
    compression::{Deflater, Inflater},
    head::HostHead,
};
use edgewatch_shared::{
    TimestampMs, codec,
    limits::{BODY_DECOMPRESSED_BYTES_MAX, MINUTE_MS},
    validate::validate,
    wire::MetricsBody,
};
use ruzstd::{
    decoding::FrameDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};
use std::time::Instant;

/// An agent's minute.
const SERIES: i64 = 71;
const READINGS: i64 = 6;
/// The beginning of an hour.
const START: TimestampMs = TimestampMs(1_789_999_200_000);
const ROUNDS: usize = 31;
const RUZSTD: &str = "ruzstd";

/// Microseconds and bytes of both, medians of paired rounds.
pub fn measure() -> Result<Vec<Figure>> {
    let mut inflater = Inflater::default();
    let minute = fleet::body(SERIES, READINGS, START, 0)?;
    let mut hour = HostHead::default();
    let mut minute_head = Vec::new();
    for minute in 0..60 {
        let body = fleet::body(SERIES, READINGS, START.plus_ms(minute * MINUTE_MS), minute)?;
        let body: MetricsBody =
            serde_json::from_slice(inflater.inflate(&body, BODY_DECOMPRESSED_BYTES_MAX)?)?;
        let batch = validate(body, START.plus_ms(minute * MINUTE_MS))?.batch;
        minute_head = codec::encode(batch.series()).head;
        hour.insert(batch.series().to_vec());
    }
    let hour: Vec<_> = hour.into_series().collect();
    let hour_head = codec::encode(&hour).head;
    let mut figures = inflating("body", &minute)?;
    figures.extend(deflating("row_head", &minute_head, 1)?);
    figures.extend(inflating("row_head", &Deflater::default().deflate(&minute_head, 1)?)?);
    figures.extend(deflating("block_head", &hour_head, 9)?);
    figures.extend(inflating("block_head", &Deflater::default().deflate(&hour_head, 9)?)?);
    Ok(figures)
}

fn inflating(what: &str, compressed: &[u8]) -> Result<Vec<Figure>> {
    let mut inflater = Inflater::default();
    let plain = inflater.inflate(compressed, 64 << 20)?.to_vec();
    let mut decoder = FrameDecoder::new();
    let mut out = Vec::with_capacity(plain.len() + 1_024);
    decoder.decode_all_to_vec(compressed, &mut out)?;
    ensure!(out == plain, "the two decompress differently");
    let (ours, theirs) = paired(
        || inflater.inflate(compressed, 64 << 20).map(|_| ()).map_err(Into::into),
        || {
            out.clear();
            decoder.decode_all_to_vec(compressed, &mut out).map_err(Into::into)
        },
    )?;
    Ok(vec![Figure::new(format!("inflate_{what}_us"), ours, "us").beside(RUZSTD, theirs)])
}

fn deflating(what: &str, plain: &[u8], level: i32) -> Result<Vec<Figure>> {
    let mut deflater = Deflater::default();
    let bytes = deflater.deflate(plain, level)?.len();
    let their_bytes = compress_to_vec(plain, CompressionLevel::Fastest).len();
    let (ours, theirs) = paired(
        || deflater.deflate(plain, level).map(|_| ()).map_err(Into::into),
        || {
            compress_to_vec(plain, CompressionLevel::Fastest);
            Ok(())
        },
    )?;
    Ok(vec![
        Figure::new(format!("deflate_{what}_us"), ours, "us").beside(RUZSTD, theirs),
        Figure::new(format!("deflate_{what}_bytes"), bytes as f64, "B").beside(RUZSTD, their_bytes as f64),
    ])
}

/// Medians of both in microseconds, taken in turn.
fn paired(
    mut ours: impl FnMut() -> Result<()>,
    mut theirs: impl FnMut() -> Result<()>,
) -> Result<(f64, f64)> {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        times.0.push(microseconds(&mut ours)?);
        times.1.push(microseconds(&mut theirs)?);
    }
    Ok((median(times.0), median(times.1)))
}

fn microseconds(work: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}
