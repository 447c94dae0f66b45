//! Bytes of a host's day once it is compacted: raw and both rollups, by the engine's own writers.

use super::plan::HostBytes;
use crate::feed::{Feed, Sender};
use anyhow::Result;
use edgewatch_engine::{
    block::BlockWriter,
    compression::Deflater,
    rollup::{Resolution, roll_up, to_series},
};
use edgewatch_shared::{HostId, TimestampMs, limits::DAY_BLOCK_BYTES_MAX, series::SeriesSamples};

/// Those of an agent on a small machine.
const SERIES: usize = 70;
const PUSHES_A_DAY: u64 = 1_440;
/// Some midnight.
const START: TimestampMs = TimestampMs(1_795_046_400_000);

/// A day of the recorded readings, over and over.
pub fn measure() -> Result<HostBytes> {
    let feed = Feed::of_agent(SERIES)?;
    let sender = Sender { host: 0, start: START };
    let mut day: Vec<SeriesSamples> = Vec::new();
    for push in 0..PUSHES_A_DAY {
        let samples = feed.samples(sender, push);
        if day.is_empty() {
            day = samples;
        } else {
            for (whole, part) in day.iter_mut().zip(samples) {
                whole.samples.extend(part.samples);
            }
        }
    }
    Ok(HostBytes {
        raw_a_day: block_bytes(&day, Resolution::Raw)?,
        five_minutes_a_day: block_bytes(&rolled_up(&day, Resolution::FiveMinutes), Resolution::FiveMinutes)?,
        hours_a_day: block_bytes(&rolled_up(&day, Resolution::Hour), Resolution::Hour)?,
    })
}

fn rolled_up(day: &[SeriesSamples], resolution: Resolution) -> Vec<SeriesSamples> {
    let step_ms = resolution.step_ms().unwrap_or(1);
    day.iter().flat_map(|of| to_series(&of.series, &roll_up(&of.samples, None, step_ms))).collect()
}

fn block_bytes(series: &[SeriesSamples], resolution: Resolution) -> Result<f64> {
    let mut deflater = Deflater::default();
    let mut writer = BlockWriter::new(resolution, DAY_BLOCK_BYTES_MAX);
    writer.push(HostId::new(0, [1; 14]), series, &mut deflater)?;
    Ok(writer.finish(&mut deflater)?.iter().map(|built| built.bytes.len() as f64).sum())
}
