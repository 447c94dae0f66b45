//! From samples to points: merge what came from several places, then aggregate by bucket of time.

use crate::{
    block::{Block, BlockError, IndexEntry, decode_chunk},
    call::{Part, Read},
    compression::Inflater,
    head::between,
};
use edgewatch_shared::{
    HostId, Sample, Series, TimestampMs,
    limits::{DAY_MS, HOUR_MS, MINUTE_MS, QUERY_POINTS_MAX, QUERY_SAMPLES_MAX},
    series::SeriesSamples,
};
use std::collections::BTreeMap;

/// Width of a point in time; buckets start at multiples of it since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The query would hold more than [`QUERY_SAMPLES_MAX`] samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the query would read more than {QUERY_SAMPLES_MAX} samples: ask for less time, one series (label.KEY=VALUE) or fewer"
)]
pub struct TooManySamples;

/// Series by host, merged.
pub type Merged = BTreeMap<(HostId, Series), Vec<Sample>>;

/// Merges parts: every instant of a series once, with the value of the highest rank.
#[derive(Default)]
pub struct Merger {
    series: BTreeMap<(HostId, Series), Vec<(Sample, i64)>>,
    samples: usize,
}

impl Merger {
    /// Adds a part.
    pub fn add(&mut self, part: Part) -> Result<(), TooManySamples> {
        for entry in part.series {
            self.samples = self.samples.saturating_add(entry.samples.len());
            if self.samples > QUERY_SAMPLES_MAX {
                return Err(TooManySamples);
            }
            let ranked = entry.samples.into_iter().map(|sample| (sample, part.rank));
            self.series.entry((part.host, entry.series)).or_default().extend(ranked);
        }
        Ok(())
    }

    /// The merged series, each in ascending order of time.
    pub fn finish(self) -> Merged {
        self.series.into_iter().map(|(key, ranked)| (key, highest_ranked(ranked))).collect()
    }
}

fn highest_ranked(mut ranked: Vec<(Sample, i64)>) -> Vec<Sample> {
    // The sort is stable: within one instant and rank, what was added last comes last, and the last one stays.
    ranked.sort_by_key(|(sample, rank)| (sample.time, *rank));
    ranked.dedup_by(|later, kept| {
        let same = later.0.time == kept.0.time;
        if same {
            *kept = *later;
        }
        same
    });
    ranked.into_iter().map(|(sample, _)| sample).collect()
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
        parts.extend(read_chunk(entry, block.chunk_bytes(entry)?, rank, read, inflater)?);
    }
    Ok(parts)
}

/// Whether a chunk may hold what a read asks for.
pub fn wants(read: &Read, entry: &IndexEntry) -> bool {
    read.hosts.contains(&entry.host) && entry.overlaps(read.from, read.to)
}

/// What a read asks for out of one chunk, given exactly its bytes; `None` if that is nothing.
pub fn read_chunk(
    entry: &IndexEntry,
    bytes: &[u8],
    rank: i64,
    read: &Read,
    inflater: &mut Inflater,
) -> Result<Option<Part>, BlockError> {
    let series = select(decode_chunk(entry, bytes, inflater)?, read);
    Ok(if series.is_empty() { None } else { Some(Part { rank, host: entry.host, series }) })
}

/// What a read asks for out of some series.
pub fn select(series: Vec<SeriesSamples>, read: &Read) -> Vec<SeriesSamples> {
    let wanted =
        |found: &SeriesSamples| read.names.iter().any(|name| found.series.matches(name, &read.labels));
    let cut = |found: SeriesSamples| {
        let samples = between(&found.samples, read.from, read.to);
        SeriesSamples { series: found.series, samples }
    };
    series.into_iter().filter(wanted).map(cut).filter(|found| !found.samples.is_empty()).collect()
}

/// Differences of a counter between readings, at the later reading's time. After a
/// reset the counter's value is the difference, as Prometheus' `increase` has it.
pub fn differences(counter: &[Sample]) -> Vec<Sample> {
    let pairs = counter.iter().zip(counter.iter().skip(1));
    let difference = |(earlier, later): (&Sample, &Sample)| {
        let value = if later.value < earlier.value { later.value } else { later.value - earlier.value };
        Sample { time: later.time, value }
    };
    pairs.map(difference).collect()
}

#[derive(Clone, Copy)]
struct Accumulated {
    sum: f64,
    min: f64,
    max: f64,
    count: u64,
    last: Sample,
}

impl Accumulated {
    fn of(sample: Sample) -> Self {
        Self { sum: sample.value, min: sample.value, max: sample.value, count: 1, last: sample }
    }

    fn add(&mut self, sample: Sample) {
        self.sum += sample.value;
        self.min = self.min.min(sample.value);
        self.max = self.max.max(sample.value);
        self.count = self.count.saturating_add(1);
        if sample.time >= self.last.time {
            self.last = sample;
        }
    }

    fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            Aggregate::Avg => self.sum / self.count as f64,
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
            Aggregate::Sum => self.sum,
            Aggregate::Count => self.count as f64,
            Aggregate::Last => self.last.value,
        }
    }
}

/// One point for every bucket that has samples, newest first, all series pooled.
pub fn points<'a>(
    series: impl Iterator<Item = &'a [Sample]>,
    bucket: Bucket,
    aggregate: Aggregate,
) -> Vec<(TimestampMs, f64)> {
    let mut buckets: BTreeMap<TimestampMs, Accumulated> = BTreeMap::new();
    for sample in series.flatten() {
        buckets
            .entry(bucket.start_of(sample.time))
            .and_modify(|accumulated| accumulated.add(*sample))
            .or_insert_with(|| Accumulated::of(*sample));
    }
    buckets.into_iter().rev().map(|(start, accumulated)| (start, accumulated.value(aggregate))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::Labels;

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        pairs.iter().map(|(ms, value)| Sample { time: TimestampMs(*ms), value: *value }).collect()
    }

    fn part(rank: i64, pairs: &[(i64, f64)]) -> Part {
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let series = vec![SeriesSamples { series, samples: samples(pairs) }];
        Part { rank, host: HostId::new(0, [1; 14]), series }
    }

    #[test]
    fn every_instant_counts_once_and_the_later_write_wins() {
        let mut merger = Merger::default();
        merger.add(part(2, &[(10, 2.0), (20, 2.0)])).unwrap();
        merger.add(part(1, &[(0, 1.0), (10, 1.0)])).unwrap();
        merger.add(part(3, &[(20, 3.0)])).unwrap();
        let merged = merger.finish();
        assert_eq!(merged.values().next().unwrap(), &samples(&[(0, 1.0), (10, 2.0), (20, 3.0)]));
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let many: Vec<(i64, f64)> = (0..QUERY_SAMPLES_MAX as i64).map(|n| (n, 0.0)).collect();
        let mut merger = Merger::default();
        merger.add(part(1, &many)).unwrap();
        assert_eq!(merger.add(part(1, &[(0, 0.0)])), Err(TooManySamples));
    }

    #[test]
    fn each_aggregate_is_what_it_is_called() {
        let first = samples(&[(0, 1.0), (59_999, 2.0), (60_000, 10.0)]);
        let second = samples(&[(30_000, 6.0)]);
        let value = |aggregate| {
            let points = points([first.as_slice(), second.as_slice()].into_iter(), Bucket::Minute, aggregate);
            assert_eq!(points[0].0, TimestampMs(60_000), "newest first");
            assert_eq!(points.len(), 2);
            points[1].1
        };
        let cases = [
            (Aggregate::Avg, 3.0),
            (Aggregate::Min, 1.0),
            (Aggregate::Max, 6.0),
            (Aggregate::Sum, 9.0),
            (Aggregate::Count, 3.0),
            (Aggregate::Last, 2.0),
        ];
        for (aggregate, expected) in cases {
            assert_eq!(value(aggregate), expected, "{}", aggregate.as_str());
        }
    }

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

    #[test]
    fn a_counter_that_starts_anew_counts_from_zero() {
        let counter = samples(&[(0, 100.0), (1, 130.0), (2, 5.0), (3, 5.0)]);
        assert_eq!(differences(&counter), samples(&[(1, 30.0), (2, 5.0), (3, 0.0)]));
        assert_eq!(differences(&counter[..1]), []);
    }
}
