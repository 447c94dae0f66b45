//! How finely time is kept: as it was read, and in buckets of five minutes and of an hour.
//!
//! A rollup is stored as ordinary series: for every field one, with the label [`ROLLUP_LABEL`] naming the field and
//! the bucket's start as the time. No sender can bring that label: those that begin with `__` are refused.

use edgewatch_shared::{
    Sample, Series, TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
    series::SeriesSamples,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The label that names the field of a rollup.
pub const ROLLUP_LABEL: &str = "__rollup__";

/// How finely a block keeps time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// As it was read.
    #[default]
    Raw,
    /// A value for every five minutes.
    FiveMinutes,
    /// A value for every hour.
    Hour,
}

impl Resolution {
    /// Every resolution, the finest first.
    pub const ALL: [Self; 3] = [Self::Raw, Self::FiveMinutes, Self::Hour];

    /// As it is written in names and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    /// The number that stands for it where it is stored.
    pub fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::FiveMinutes => 1,
            Self::Hour => 2,
        }
    }

    /// Undoes [`Resolution::number`].
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.number() == number)
    }

    /// Milliseconds between two values; `None` where it is whatever was sent.
    pub fn step_ms(self) -> Option<i64> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(5 * MINUTE_MS),
            Self::Hour => Some(HOUR_MS),
        }
    }
}

/// What is kept of the samples of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// How many there are.
    Count,
    /// By how much a counter grew, resets taken into account.
    Increase,
    /// The latest.
    Last,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// All of them added up.
    Sum,
}

impl Field {
    /// Every field, in order of its name.
    pub const ALL: [Self; 6] = [Self::Count, Self::Increase, Self::Last, Self::Max, Self::Min, Self::Sum];

    /// The value of [`ROLLUP_LABEL`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Increase => "increase",
            Self::Last => "last",
            Self::Max => "max",
            Self::Min => "min",
            Self::Sum => "sum",
        }
    }

    /// The series that this field of a series is stored as.
    pub fn series(self, of: &Series) -> Series {
        let mut series = of.clone();
        series.labels.insert(ROLLUP_LABEL.to_owned(), self.as_str().to_owned());
        series
    }

    /// The field that a stored series is, and the series it is of; `None` for a series that is no rollup.
    pub fn of_series(mut stored: Series) -> Option<(Series, Self)> {
        let name = stored.labels.remove(ROLLUP_LABEL)?;
        let field = Self::ALL.into_iter().find(|field| field.as_str() == name)?;
        Some((stored, field))
    }
}

/// What the samples of one bucket come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// The first instant of the bucket.
    pub start: TimestampMs,
    /// How many there are; at least one. A whole number, which an `f64` holds exactly.
    pub count: f64,
    /// By how much a counter grew from sample to sample, the one before the bucket included where it is known. After a
    /// reset the counter's value is the growth, as Prometheus' `increase` has it. For a gauge it means nothing.
    pub increase: f64,
    /// The latest.
    pub last: f64,
    /// The largest.
    pub max: f64,
    /// The smallest.
    pub min: f64,
    /// All of them added up, in order of time.
    pub sum: f64,
}

impl Rollup {
    /// One of its values.
    pub fn value(&self, field: Field) -> f64 {
        match field {
            Field::Count => self.count,
            Field::Increase => self.increase,
            Field::Last => self.last,
            Field::Max => self.max,
            Field::Min => self.min,
            Field::Sum => self.sum,
        }
    }

    fn of(start: TimestampMs, value: f64, increase: f64) -> Self {
        Self { start, count: 1.0, increase, last: value, max: value, min: value, sum: value }
    }

    fn add(&mut self, value: f64, increase: f64) {
        self.count += 1.0;
        self.increase += increase;
        self.last = value;
        self.max = self.max.max(value);
        self.min = self.min.min(value);
        self.sum += value;
    }
}

/// By how much a counter grew from one reading to the next (Prometheus, `increase`).
fn growth(earlier: Option<f64>, later: f64) -> f64 {
    match earlier {
        Some(earlier) if later < earlier => later,
        Some(earlier) => later - earlier,
        None => 0.0,
    }
}

/// Rolls samples up, which are in ascending order of time, into buckets of `step_ms` that start at multiples of it.
/// `before` is the series' value before the first of them, where it is known.
pub fn roll_up(samples: &[Sample], before: Option<f64>, step_ms: i64) -> Vec<Rollup> {
    let mut rollups: Vec<Rollup> = Vec::new();
    let mut earlier = before;
    for sample in samples {
        let bucket = sample.time.0.checked_div_euclid(step_ms).unwrap_or_default();
        let start = TimestampMs(bucket.saturating_mul(step_ms));
        let increase = growth(earlier, sample.value);
        earlier = Some(sample.value);
        match rollups.last_mut() {
            Some(open) if open.start == start => open.add(sample.value, increase),
            _ => rollups.push(Rollup::of(start, sample.value, increase)),
        }
    }
    rollups
}

/// The series that the rollups of a series are stored as, in order.
pub fn to_series(of: &Series, rollups: &[Rollup]) -> Vec<SeriesSamples> {
    let column = |field: Field| {
        let sample = |rollup: &Rollup| Sample { time: rollup.start, value: rollup.value(field) };
        SeriesSamples { series: field.series(of), samples: rollups.iter().map(sample).collect() }
    };
    Field::ALL.into_iter().map(column).collect()
}

/// Undoes [`to_series`] for any number of series. A bucket without every field is left out.
pub fn from_series(stored: Vec<SeriesSamples>) -> BTreeMap<Series, Vec<Rollup>> {
    let mut columns: BTreeMap<Series, BTreeMap<TimestampMs, BTreeMap<Field, f64>>> = BTreeMap::new();
    for SeriesSamples { series, samples } in stored {
        let Some((series, field)) = Field::of_series(series) else { continue };
        let buckets = columns.entry(series).or_default();
        for sample in samples {
            buckets.entry(sample.time).or_default().insert(field, sample.value);
        }
    }
    let rollup = |(start, values): (TimestampMs, BTreeMap<Field, f64>)| {
        let value = |field| values.get(&field).copied();
        Some(Rollup {
            start,
            count: value(Field::Count)?,
            increase: value(Field::Increase)?,
            last: value(Field::Last)?,
            max: value(Field::Max)?,
            min: value(Field::Min)?,
            sum: value(Field::Sum)?,
        })
    };
    let rollups = |buckets: BTreeMap<_, _>| buckets.into_iter().filter_map(rollup).collect();
    let mut series = BTreeMap::new();
    series.extend(columns.into_iter().map(|(of, buckets)| (of, rollups(buckets))));
    series
}

/// Of two rollups of a bucket the one of more samples counts, of equals the fresh one: what was rolled up stays where
/// its samples are gone by now. Both in order of time, and so is what is returned.
pub fn fuller(fresh: Vec<Rollup>, stored: &[Rollup]) -> Vec<Rollup> {
    let mut buckets = BTreeMap::new();
    buckets.extend(stored.iter().map(|rollup| (rollup.start, *rollup)));
    for rollup in fresh {
        let kept = buckets.entry(rollup.start).or_insert(rollup);
        if rollup.count >= kept.count {
            *kept = rollup;
        }
    }
    buckets.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::Labels;
    use proptest::prelude::*;

    fn series(name: &str) -> Series {
        Series { name: name.into(), labels: Labels::from([("core".to_owned(), "0".to_owned())]) }
    }

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        pairs.iter().map(|(ms, value)| Sample { time: TimestampMs(*ms), value: *value }).collect()
    }

    /// As it is defined: every bucket on its own, out of the whole list.
    fn naive(samples: &[Sample], before: Option<f64>, step_ms: i64) -> Vec<Rollup> {
        let starts: std::collections::BTreeSet<i64> =
            samples.iter().map(|sample| sample.time.0.div_euclid(step_ms) * step_ms).collect();
        let rollup = |start: i64| {
            let inside = |sample: &&Sample| (start..start + step_ms).contains(&sample.time.0);
            let values: Vec<f64> = samples.iter().filter(inside).map(|sample| sample.value).collect();
            let first = samples.iter().position(|sample| inside(&sample)).unwrap();
            let before = if first == 0 { before } else { Some(samples[first - 1].value) };
            let line: Vec<f64> = before.into_iter().chain(values.iter().copied()).collect();
            let increases =
                line.windows(2).map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] });
            Rollup {
                start: TimestampMs(start),
                count: values.len() as f64,
                increase: increases.fold(0.0, |sum, increase| sum + increase),
                last: *values.last().unwrap(),
                max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                min: values.iter().copied().fold(f64::INFINITY, f64::min),
                sum: values.iter().skip(1).fold(values[0], |sum, value| sum + value),
            }
        };
        starts.into_iter().map(rollup).collect()
    }

    #[test]
    fn a_counter_that_starts_anew_counts_from_zero_and_growth_belongs_to_the_later_sample() {
        let counter = samples(&[(0, 100.0), (299_999, 130.0), (300_000, 140.0), (300_001, 5.0)]);
        let increases = |before| -> Vec<f64> {
            roll_up(&counter, before, 300_000).iter().map(|rollup| rollup.increase).collect()
        };
        assert_eq!(increases(None), [30.0, 15.0]);
        assert_eq!(increases(Some(90.0)), [40.0, 15.0]);
        assert_eq!(increases(Some(101.0)), [130.0, 15.0]);
    }

    #[test]
    fn of_two_rollups_of_a_bucket_the_fuller_one_stays_and_of_equals_the_fresh_one() {
        let rollup = |start, count, sum| Rollup { count, sum, ..Rollup::of(TimestampMs(start), 0.0, 0.0) };
        let stored = [rollup(0, 5.0, 1.0), rollup(10, 5.0, 1.0), rollup(20, 5.0, 1.0)];
        let fresh = vec![rollup(0, 4.0, 2.0), rollup(10, 5.0, 2.0), rollup(30, 1.0, 2.0)];
        let kept: Vec<_> = fuller(fresh, &stored).iter().map(|kept| (kept.start.0, kept.sum)).collect();
        assert_eq!(kept, [(0, 1.0), (10, 2.0), (20, 1.0), (30, 2.0)]);
    }

    #[test]
    fn a_bucket_that_lacks_a_field_is_left_out() {
        let rollups = roll_up(&samples(&[(0, 1.0), (300_000, 2.0)]), None, 300_000);
        let mut stored = to_series(&series("a"), &rollups);
        stored[3].samples.remove(0);
        stored.push(SeriesSamples { series: series("no_rollup"), samples: samples(&[(0, 1.0)]) });
        assert_eq!(from_series(stored), BTreeMap::from([(series("a"), rollups[1..].to_vec())]));
    }

    proptest! {
        #[test]
        fn rollups_are_what_their_definition_says_and_survive_being_stored(
            gaps in proptest::collection::vec((1i64..400_000, -1e6..1e6f64), 1..200),
            start in -1_000_000i64..1_000_000,
            before in proptest::option::of(-1e6..1e6f64),
        ) {
            let mut time = start;
            let samples: Vec<Sample> = gaps.iter().map(|(gap, value)| {
                time += gap;
                Sample { time: TimestampMs(time), value: *value }
            }).collect();
            for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
                let step_ms = resolution.step_ms().unwrap();
                let rollups = roll_up(&samples, before, step_ms);
                prop_assert_eq!(&rollups, &naive(&samples, before, step_ms));
                let stored = to_series(&series("a"), &rollups);
                prop_assert!(stored.is_sorted_by(|a, b| a.series < b.series));
                prop_assert_eq!(from_series(stored), BTreeMap::from([(series("a"), rollups)]));
            }
        }
    }

    #[test]
    fn a_number_stands_for_one_resolution_and_others_for_none() {
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::of_number(resolution.number()), Some(resolution));
        }
        assert_eq!(Resolution::of_number(3), None);
    }
}
