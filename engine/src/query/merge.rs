//! One line of samples out of several that overlap: of an instant the value of the highest rank counts.

use crate::call::Part;
use edgewatch_shared::{
    HostId, Sample, Series,
    limits::{QUERY_SAMPLES_MAX, SERIES_MEMORY_BYTES},
};
use std::collections::BTreeMap;

/// How many samples take as much memory as a series beside its own.
pub const SERIES_SAMPLES: usize = SERIES_MEMORY_BYTES.div_ceil(size_of::<Sample>());
/// And as a further run of one.
const RUN_SAMPLES: usize = size_of::<Run>().div_ceil(size_of::<Sample>());

/// The query would hold more than [`QUERY_SAMPLES_MAX`] samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the query would hold more than {QUERY_SAMPLES_MAX} samples: ask for less time, one series (label.KEY=VALUE) or fewer"
)]
pub struct TooManySamples;

/// Series by host, merged.
pub type Merged = BTreeMap<(HostId, Series), Vec<Sample>>;

/// Samples of one series from one place, in ascending order of time, each instant once.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// As [`Part::rank`].
    pub rank: i64,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// Merges parts: every instant of a series once, with the value of the highest rank. A sample takes 16 bytes here.
#[derive(Default)]
pub struct Merger {
    series: BTreeMap<(HostId, Series), Vec<Run>>,
    held: usize,
}

impl Merger {
    /// Adds a part.
    pub fn add(&mut self, part: Part) -> Result<(), TooManySamples> {
        for entry in part.series {
            let runs = self.series.entry((part.host, entry.series)).or_default();
            let beside = if runs.is_empty() { SERIES_SAMPLES } else { RUN_SAMPLES };
            let count = entry.samples.len().saturating_add(beside);
            runs.push(Run { rank: part.rank, samples: entry.samples });
            self.hold(count)?;
        }
        Ok(())
    }

    /// Counts what else is held, as so many samples.
    pub fn hold(&mut self, samples: usize) -> Result<(), TooManySamples> {
        self.held = self.held.saturating_add(samples);
        if self.held > QUERY_SAMPLES_MAX { Err(TooManySamples) } else { Ok(()) }
    }

    /// How many samples take as much memory as what is held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The runs of each series, not merged yet.
    pub fn into_runs(self) -> BTreeMap<(HostId, Series), Vec<Run>> {
        self.series
    }

    /// The merged series, each in ascending order of time.
    pub fn finish(self) -> Merged {
        self.series.into_iter().map(|(key, runs)| (key, merged(runs))).collect()
    }
}

/// The one line that runs come to. Of two runs of the same rank the later one counts.
pub fn merged(mut runs: Vec<Run>) -> Vec<Sample> {
    if let [only] = runs.as_mut_slice() {
        return std::mem::take(&mut only.samples);
    }
    // Both sorts are stable: within one instant the highest rank comes last, and the last one stays.
    runs.sort_by_key(|run| run.rank);
    let mut samples = Vec::with_capacity(runs.iter().map(|run| run.samples.len()).sum());
    for run in runs {
        samples.extend(run.samples);
    }
    samples.sort_by_key(|sample| sample.time);
    samples.dedup_by(|later, kept| {
        let is_same = later.time == kept.time;
        if is_same {
            *kept = *later;
        }
        is_same
    });
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::Resolution;
    use edgewatch_shared::{Labels, TimestampMs, series::SeriesSamples};

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        pairs.iter().map(|(ms, value)| Sample { time: TimestampMs(*ms), value: *value }).collect()
    }

    fn part(rank: i64, pairs: &[(i64, f64)]) -> Part {
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let series = vec![SeriesSamples { series, samples: samples(pairs) }];
        Part { rank, resolution: Resolution::Raw, host: HostId::new(0, [1; 14]), series }
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
    fn of_one_rank_what_came_later_counts() {
        let mut merger = Merger::default();
        merger.add(part(1, &[(0, 1.0)])).unwrap();
        merger.add(part(1, &[(0, 2.0)])).unwrap();
        assert_eq!(merger.finish().values().next().unwrap(), &samples(&[(0, 2.0)]));
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let many = |count: usize| -> Vec<_> { (0..count as i64).map(|n| (n, 0.0)).collect() };
        let fits = QUERY_SAMPLES_MAX - SERIES_SAMPLES;
        assert_eq!(Merger::default().add(part(1, &many(fits + 1))), Err(TooManySamples));
        let mut merger = Merger::default();
        assert_eq!(merger.add(part(1, &many(fits))), Ok(()));
        assert_eq!(merger.add(part(1, &[])), Err(TooManySamples), "a run costs, and has it no samples");
    }

    #[test]
    fn a_sample_takes_sixteen_bytes() {
        assert_eq!(size_of::<Sample>(), 16);
    }
}
