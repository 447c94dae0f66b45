//! From lines of samples to points: a cell for every series and bucket, pooled over all series.
//!
//! A cell is always computed in one place, out of all samples of its bucket in ascending order of time, and cells are
//! pooled in order of host and series. So an answer is the same to the last bit wherever its cells were computed.

use super::{
    Aggregate, Bucket, Merger, SERIES_SAMPLES, TooManySamples,
    merge::merged,
    partial::{CELL_SAMPLES, Evaluated},
};
use crate::{
    call::Part,
    rollup::{Resolution, Rollup, from_series},
};
use edgewatch_shared::{HostId, Sample, Series, TimestampMs, series::SeriesSamples};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How samples become points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Width of a point.
    pub bucket: Bucket,
    /// First instant that counts; samples before it only begin differences.
    pub from: TimestampMs,
    /// Last instant that counts.
    pub to: TimestampMs,
    /// Series of this name answer by the differences between their samples.
    pub counter: Option<String>,
    /// The coarsest rollups that may answer where samples would too. Where samples are gone, the finest rollups do.
    pub coarsest: Resolution,
}

/// What samples come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accumulated {
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

    /// What a rollup counts for. Of a counter it knows the growth and how often it was read, but no single difference: the
    /// smallest, the largest and the latest are the mean.
    fn of_rollup(rollup: &Rollup, is_counter: bool) -> Self {
        let Rollup { start, count, increase, last, max, min, sum } = *rollup;
        let mean = increase / count;
        let (sum, min, max, last) =
            if is_counter { (increase, mean, mean, mean) } else { (sum, min, max, last) };
        Self { sum, min, max, count: count as u64, last: Sample { time: start, value: last } }
    }

    fn merge(&mut self, later: &Self) {
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.count = self.count.saturating_add(later.count);
        if later.last.time >= self.last.time {
            self.last = later.last;
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

/// One series in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The bucket's first instant.
    pub start: TimestampMs,
    /// What counts in it; `None` if it only holds what the next difference is taken from.
    pub counted: Option<Accumulated>,
    /// Its last sample as it was stored.
    pub reading: Sample,
}

impl Evaluation {
    /// Whether a series answers by its differences.
    pub fn is_counter(&self, series: &Series) -> bool {
        self.counter.as_ref().is_some_and(|counter| *counter == series.name)
    }

    /// The cells of a series, in ascending order; `samples` are all that there are in their buckets.
    pub fn cells(&self, samples: &[Sample], is_counter: bool) -> Vec<Cell> {
        self.cells_of(samples.iter().map(|sample| (*sample, true)), is_counter)
    }

    /// The same of samples some of which only begin differences.
    fn cells_of(&self, samples: impl Iterator<Item = (Sample, bool)>, is_counter: bool) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        let mut earlier: Option<Sample> = None;
        for (sample, counts) in samples {
            let counts = counts && (self.from..=self.to).contains(&sample.time);
            let value =
                if is_counter { earlier.map(|earlier| difference(earlier, sample)) } else { Some(sample) };
            let counted = value.filter(|_| counts).map(Accumulated::of);
            let start = self.bucket.start_of(sample.time);
            match cells.last_mut().filter(|cell| cell.start == start) {
                Some(cell) => {
                    cell.reading = sample;
                    match (&mut cell.counted, counted) {
                        (Some(all), Some(one)) => all.merge(&one),
                        (none, one) => *none = (*none).or(one),
                    }
                }
                None => cells.push(Cell { start, counted, reading: sample }),
            }
            earlier = Some(sample);
        }
        cells
    }

    /// Whether a rollup counts: as a whole, or not at all.
    fn includes(&self, rollup: &Rollup) -> bool {
        (self.from..=self.to).contains(&rollup.start)
    }

    /// The cell of a rollup of so many milliseconds. Its last reading was some time within them.
    fn cell_of_rollup(&self, step_ms: i64, rollup: &Rollup, is_counter: bool) -> Cell {
        Cell {
            start: self.bucket.start_of(rollup.start),
            counted: self.includes(rollup).then(|| Accumulated::of_rollup(rollup, is_counter)),
            reading: Sample { time: last_instant(step_ms, rollup), value: rollup.last },
        }
    }

    /// Of a rollup and the samples of the same time the fuller one counts, of equals the samples, as where the day is
    /// compacted again: what was sent again after the samples were deleted is there once. Both are in order of time.
    fn drop_less_full(&self, rollups: &mut Vec<(i64, Rollup)>, samples: &mut Vec<Sample>) {
        let mut dropped = Vec::new();
        rollups.retain(|(step_ms, rollup)| {
            let span = (rollup.start, last_instant(*step_ms, rollup));
            let begin = samples.partition_point(|sample| sample.time < span.0);
            let end = samples.partition_point(|sample| sample.time <= span.1);
            let is_less = (end.saturating_sub(begin) as f64) < rollup.count;
            if is_less && self.includes(rollup) {
                dropped.push(span);
            }
            is_less || !self.includes(rollup)
        });
        samples.retain(|sample| {
            let next = dropped.partition_point(|(_, last)| *last < sample.time);
            dropped.get(next).is_none_or(|(first, _)| sample.time < *first)
        });
    }
}

/// Differences of a counter between readings, at the later reading's time. After a
/// reset the counter's value is the difference, as Prometheus' `increase` has it.
pub fn differences(counter: &[Sample]) -> Vec<Sample> {
    let pairs = counter.iter().zip(counter.iter().skip(1));
    pairs.map(|(earlier, later)| difference(*earlier, *later)).collect()
}

fn difference(earlier: Sample, later: Sample) -> Sample {
    let value = if later.value < earlier.value { later.value } else { later.value - earlier.value };
    Sample { time: later.time, value }
}

fn last_instant(step_ms: i64, rollup: &Rollup) -> TimestampMs {
    rollup.start.plus_ms(step_ms.saturating_sub(1))
}

/// Gathers what shards evaluated and the samples that they did not, bounded in memory.
pub struct Answer {
    evaluation: Evaluation,
    merger: Merger,
    rolled_up: BTreeMap<Resolution, Merger>,
    cells: BTreeMap<(HostId, Series), Vec<Cell>>,
}

impl Answer {
    /// Nothing gathered yet.
    pub fn new(evaluation: Evaluation) -> Self {
        Self { evaluation, merger: Merger::default(), rolled_up: BTreeMap::new(), cells: BTreeMap::new() }
    }

    /// Adds samples, or rollups.
    pub fn add(&mut self, part: Part) -> Result<(), TooManySamples> {
        if part.resolution == Resolution::Raw {
            return self.merger.add(part);
        }
        let rolled_up = self.rolled_up.entry(part.resolution).or_default();
        let before = rolled_up.held();
        rolled_up.add(part)?;
        // All that is held is bounded together.
        self.merger.hold(rolled_up.held().saturating_sub(before))
    }

    /// Adds what a shard evaluated.
    pub fn add_evaluated(&mut self, evaluated: Evaluated) -> Result<(), TooManySamples> {
        let cells = evaluated.cells.len().saturating_mul(CELL_SAMPLES);
        self.cells.entry((evaluated.host, evaluated.series)).or_default().extend(evaluated.cells);
        self.merger.hold(cells.saturating_add(SERIES_SAMPLES))
    }

    /// One point for every bucket that has samples, newest first, all series pooled.
    pub fn points(self, aggregate: Aggregate) -> Vec<(TimestampMs, f64)> {
        let Self { evaluation, merger, rolled_up, mut cells } = self;
        let mut runs = merger.into_runs();
        let mut rolled_up = rollups(rolled_up);
        for key in cells.keys().chain(rolled_up.keys()) {
            if !runs.contains_key(key) {
                runs.insert(key.clone(), Vec::new());
            }
        }
        let mut buckets: BTreeMap<TimestampMs, Accumulated> = BTreeMap::new();
        for (key, runs) in runs {
            let mut known = cells.remove(&key).unwrap_or_default();
            let mut samples = merged(runs);
            let mut rollups = rolled_up.remove(&key).unwrap_or_default();
            let is_counter = evaluation.is_counter(&key.1);
            evaluation.drop_less_full(&mut rollups, &mut samples);
            known.extend(
                rollups.iter().map(|(step_ms, one)| evaluation.cell_of_rollup(*step_ms, one, is_counter)),
            );
            for (start, counted) in counted_cells(&evaluation, &known, samples, is_counter) {
                buckets.entry(start).and_modify(|all| all.merge(&counted)).or_insert(counted);
            }
        }
        buckets.into_iter().rev().map(|(start, counted)| (start, counted.value(aggregate))).collect()
    }
}

/// The rollups of each series and how many milliseconds each is of, in order of time.
fn rollups(rolled_up: BTreeMap<Resolution, Merger>) -> BTreeMap<(HostId, Series), Vec<(i64, Rollup)>> {
    let mut rollups: BTreeMap<(HostId, Series), Vec<(i64, Rollup)>> = BTreeMap::new();
    for (resolution, merger) in rolled_up {
        let Some(step_ms) = resolution.step_ms() else { continue };
        let mut stored: BTreeMap<HostId, Vec<SeriesSamples>> = BTreeMap::new();
        for ((host, series), samples) in merger.finish() {
            stored.entry(host).or_default().push(SeriesSamples { series, samples });
        }
        for (host, stored) in stored {
            for (series, of_series) in from_series(stored) {
                let kept = rollups.entry((host, series)).or_default();
                kept.extend(of_series.into_iter().map(|rollup| (step_ms, rollup)));
            }
        }
    }
    // Days differ in resolution.
    rollups.values_mut().for_each(|of_series| of_series.sort_by_key(|(_, rollup)| rollup.start));
    rollups
}

/// What a series comes to by bucket: cells that are known, and those of samples in other buckets. A counter's first
/// difference after a known cell is taken from that cell's last reading.
fn counted_cells(
    evaluation: &Evaluation,
    known: &[Cell],
    samples: Vec<Sample>,
    is_counter: bool,
) -> BTreeMap<TimestampMs, Accumulated> {
    let mut line: Vec<(Sample, bool)> = samples.into_iter().map(|sample| (sample, true)).collect();
    if is_counter && !line.is_empty() {
        line.extend(known.iter().map(|cell| (cell.reading, false)));
        line.sort_by_key(|(sample, _)| sample.time);
    }
    let fresh = evaluation.cells_of(line.into_iter(), is_counter);
    let mut buckets: BTreeMap<TimestampMs, Accumulated> = BTreeMap::new();
    for cell in known.iter().chain(&fresh) {
        if let Some(counted) = cell.counted {
            buckets.entry(cell.start).and_modify(|all| all.merge(&counted)).or_insert(counted);
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{Labels, limits::DAY_MS};

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        pairs.iter().map(|(ms, value)| Sample { time: TimestampMs(*ms), value: *value }).collect()
    }

    #[test]
    fn each_aggregate_is_what_it_is_called() {
        let first = samples(&[(0, 1.0), (59_999, 2.0), (60_000, 10.0)]);
        let second = samples(&[(30_000, 6.0)]);
        let value = |aggregate| {
            let mut answer = Answer::new(Evaluation {
                bucket: Bucket::Minute,
                from: TimestampMs(0),
                to: TimestampMs(DAY_MS),
                counter: None,
                coarsest: Resolution::Raw,
            });
            for (label, samples) in [("0", &first), ("1", &second)] {
                let labels = Labels::from([("core".to_owned(), label.to_owned())]);
                let series = Series { name: "load_1m".into(), labels };
                let series = vec![SeriesSamples { series, samples: samples.clone() }];
                let (resolution, host) = (Resolution::Raw, HostId::new(0, [1; 14]));
                answer.add(Part { rank: 1, resolution, host, series }).unwrap();
            }
            let points = answer.points(aggregate);
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
    fn a_counter_that_starts_anew_counts_from_zero() {
        let counter = samples(&[(0, 100.0), (1, 130.0), (2, 5.0), (3, 5.0)]);
        assert_eq!(differences(&counter), samples(&[(1, 30.0), (2, 5.0), (3, 0.0)]));
        assert_eq!(differences(&counter[..1]), []);
    }
}
