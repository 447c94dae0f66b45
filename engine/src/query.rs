//! From samples to points: merge what came from several places, then aggregate by bucket of time.
//!
//! [`merge`] makes one line of samples out of several, [`evaluate`] points out of lines, and [`partial`] does a
//! shard's share of that where nobody else has samples of the same time.

mod evaluate;
mod merge;
mod partial;

use crate::{
    block::{Block, BlockError, IndexEntry, decode_chunk_each},
    call::{Part, Read},
    compression::Inflater,
    head::between,
    rollup::Resolution,
};
use edgewatch_shared::{
    TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS, QUERY_POINTS_MAX},
    series::{Sample, SeriesSamples},
};
use serde::{Deserialize, Serialize};

pub use evaluate::{Accumulated, Answer, Cell, Evaluation, differences};
pub use merge::{Merged, Merger, Run, SERIES_SAMPLES, TooManySamples};
pub use partial::{Evaluated, partial};

/// Width of a point in time; buckets start at multiples of it since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bucket {
    /// `1m`
    Minute,
    /// `5m`
    FiveMinutes,
    /// `15m`
    QuarterHour,
    /// `1h`
    Hour,
    /// `1d`, a day of UTC
    Day,
}

impl Bucket {
    /// Every bucket, the narrowest first.
    pub const ALL: [Self; 5] = [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::Day];

    /// As it is written in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// Its width in milliseconds.
    pub fn width_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::FiveMinutes => 5 * MINUTE_MS,
            Self::QuarterHour => 15 * MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// The coarsest rollups that its points can be made of.
    pub fn rollups(self) -> Resolution {
        match self {
            Self::Minute => Resolution::Raw,
            Self::FiveMinutes | Self::QuarterHour => Resolution::FiveMinutes,
            Self::Hour | Self::Day => Resolution::Hour,
        }
    }

    /// The first instant of the bucket that `time` lies in.
    pub fn start_of(self, time: TimestampMs) -> TimestampMs {
        TimestampMs(time.0.div_euclid(self.width_ms()).saturating_mul(self.width_ms()))
    }

    /// How many buckets the time from `from` to `to` touches.
    pub fn count(self, from: TimestampMs, to: TimestampMs) -> i64 {
        let span_ms = self.start_of(to).ms_since(self.start_of(from));
        span_ms.div_euclid(self.width_ms()).saturating_add(1)
    }

    /// Whether a reply with this bucket stays within [`QUERY_POINTS_MAX`].
    pub fn fits(self, from: TimestampMs, to: TimestampMs) -> bool {
        self.count(from, to) <= QUERY_POINTS_MAX
    }
}

/// How the samples of a bucket become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Arithmetic mean.
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Sum.
    Sum,
    /// Number of samples.
    Count,
    /// The latest sample; of several series at one instant, the last in order of labels.
    Last,
}

impl Aggregate {
    /// Every aggregate.
    pub const ALL: [Self; 6] = [Self::Avg, Self::Min, Self::Max, Self::Sum, Self::Count, Self::Last];

    /// As it is written in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Last => "last",
        }
    }
}

/// The samples of a block that a read asks for, under the block's rank.
pub fn read_block(
    bytes: &[u8],
    rank: i64,
    read: &Read,
    inflater: &mut Inflater,
) -> Result<Vec<Part>, BlockError> {
    let block = Block::open(bytes, inflater)?;
    let mut parts = Vec::new();
    for entry in block.entries().iter().filter(|entry| wants(read, entry)) {
        parts.extend(read_chunk(
            entry,
            block.chunk_bytes(entry)?,
            (rank, block.resolution()),
            read,
            inflater,
        )?);
    }
    Ok(parts)
}

/// Whether a chunk may hold what a read asks for.
pub fn wants(read: &Read, entry: &IndexEntry) -> bool {
    read.hosts.contains(&entry.host) && entry.overlaps(read.from, read.to)
}

/// What a read asks for out of one chunk, given exactly its bytes, and its block's rank and resolution; `None` if that is
/// nothing.
pub fn read_chunk(
    entry: &IndexEntry,
    bytes: &[u8],
    (rank, resolution): (i64, Resolution),
    read: &Read,
    inflater: &mut Inflater,
) -> Result<Option<Part>, BlockError> {
    let mut series = Vec::new();
    decode_chunk_each(entry, bytes, inflater, &mut |found| read.wants(found), &mut |found| {
        series.extend(cut(found, read));
    })?;
    Ok(if series.is_empty() { None } else { Some(Part { rank, resolution, host: entry.host, series }) })
}

/// What a read asks for out of some series.
pub fn select(series: Vec<SeriesSamples>, read: &Read) -> Vec<SeriesSamples> {
    let wanted = |found: &SeriesSamples| read.wants(&found.series);
    series.into_iter().filter(wanted).filter_map(|found| cut(found, read)).collect()
}

/// The samples of the time that a read asks for, if there are any.
fn cut(found: SeriesSamples, read: &Read) -> Option<SeriesSamples> {
    let is_asked_for = |sample: &Sample| (read.from..=read.to).contains(&sample.time);
    if found.samples.first().is_some_and(is_asked_for) && found.samples.last().is_some_and(is_asked_for) {
        return Some(found);
    }
    let samples = between(&found.samples, read.from, read.to);
    if samples.is_empty() { None } else { Some(SeriesSamples { series: found.series, samples }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_aligned_to_the_epoch_also_before_it() {
        assert_eq!(Bucket::Minute.start_of(TimestampMs(-1)), TimestampMs(-60_000));
        assert_eq!(Bucket::Day.start_of(TimestampMs(DAY_MS + 5)), TimestampMs(DAY_MS));
        assert_eq!(Bucket::Minute.count(TimestampMs(0), TimestampMs(59_999)), 1);
        assert_eq!(Bucket::Minute.count(TimestampMs(0), TimestampMs(60_000)), 2);
    }

    #[test]
    fn the_number_of_points_is_bounded_at_its_very_limit() {
        let to = |points: i64| TimestampMs((points - 1) * MINUTE_MS);
        assert!(Bucket::Minute.fits(TimestampMs(0), to(QUERY_POINTS_MAX)));
        assert!(!Bucket::Minute.fits(TimestampMs(0), to(QUERY_POINTS_MAX + 1)));
        assert!(!Bucket::Minute.fits(TimestampMs(i64::MIN), TimestampMs(i64::MAX)));
    }
}
