//! A shard's share of a query: cells of buckets that only it has samples of, and the samples of the others.

use super::{Cell, Evaluation, Merger, Run, merge::merged};
use crate::{call::Part, rollup::Resolution};
use edgewatch_shared::{HostId, Sample, Series, TimestampMs, series::SeriesSamples};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many samples take as much memory as one cell.
pub const CELL_SAMPLES: usize = size_of::<Cell>().div_ceil(size_of::<Sample>());

/// What a series comes to in some buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Whose.
    pub host: HostId,
    /// Which series.
    pub series: Series,
    /// In ascending order.
    pub cells: Vec<Cell>,
}

/// Evaluates samples that a shard holds itself wherever they are all there is; `elsewhere` are the spans of time, first
/// and last instant, of which others hold samples, or anybody rollups. What cannot be evaluated, or would not be smaller for it, is returned
/// as it came.
pub fn partial(
    parts: Merger,
    evaluation: &Evaluation,
    elsewhere: &[(TimestampMs, TimestampMs)],
) -> (Vec<Evaluated>, Vec<Part>) {
    let mut evaluated = Vec::new();
    let mut rest: BTreeMap<(i64, HostId), Vec<SeriesSamples>> = BTreeMap::new();
    for ((host, series), runs) in parts.into_runs() {
        let is_counter = evaluation.is_counter(&series);
        let samples = merged(runs.clone());
        let own = own_buckets(&samples, evaluation, elsewhere, is_counter);
        let is_own = |sample: &Sample| own.contains(&evaluation.bucket.start_of(sample.time));
        let mut cells = evaluation.cells(&samples, is_counter);
        cells.retain(|cell| own.contains(&cell.start) && (is_counter || cell.counted.is_some()));
        let smaller = samples.iter().filter(|sample| is_own(sample)).count();
        let is_worth_it = cells.len().saturating_mul(CELL_SAMPLES) < smaller;
        for Run { rank, mut samples } in runs {
            samples.retain(|sample| !(is_worth_it && is_own(sample)));
            if !samples.is_empty() {
                rest.entry((rank, host)).or_default().push(SeriesSamples { series: series.clone(), samples });
            }
        }
        if is_worth_it {
            evaluated.push(Evaluated { host, series, cells });
        }
    }
    let part = |((rank, host), series)| Part { rank, resolution: Resolution::Raw, host, series };
    (evaluated, rest.into_iter().map(part).collect())
}

/// The buckets of which nobody else holds a sample that counts. Of a counter that includes the reading that the first
/// difference of the bucket is taken from.
fn own_buckets(
    samples: &[Sample],
    evaluation: &Evaluation,
    elsewhere: &[(TimestampMs, TimestampMs)],
    is_counter: bool,
) -> BTreeSet<TimestampMs> {
    let mut own = BTreeSet::new();
    let mut before: Option<TimestampMs> = None;
    for of_bucket in
        samples.chunk_by(|a, b| evaluation.bucket.start_of(a.time) == evaluation.bucket.start_of(b.time))
    {
        let Some(first) = of_bucket.first() else { continue };
        let start = evaluation.bucket.start_of(first.time);
        let end = start.plus_ms(evaluation.bucket.width_ms().saturating_sub(1));
        let needed_from = if is_counter { before.unwrap_or(TimestampMs(i64::MIN)) } else { start };
        if !elsewhere.iter().any(|(min, max)| *max >= needed_from && *min <= end) {
            own.insert(start);
        }
        before = of_bucket.last().map(|sample| sample.time);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Aggregate, Answer, Bucket};
    use edgewatch_shared::Labels;
    use proptest::prelude::*;

    /// Where a sample lies, how it is ranked, and which series it is of.
    type Placed = (usize, i64, u8, f64);

    fn series(n: u8) -> Series {
        let labels = Labels::from([("device".to_owned(), (n / 2).to_string())]);
        let name = if n.is_multiple_of(2) { "gauge" } else { "counter" };
        Series { name: name.into(), labels }
    }

    fn host() -> HostId {
        HostId::new(0, [1; 14])
    }

    /// Samples as parts, one a place and rank.
    fn parts(placed: &[Placed], wanted: impl Fn(usize) -> bool) -> Vec<Part> {
        let mut places: BTreeMap<usize, BTreeMap<u8, BTreeMap<i64, f64>>> = BTreeMap::new();
        for (place, time, line, value) in placed.iter().filter(|(place, ..)| wanted(*place)) {
            places.entry(*place).or_default().entry(*line).or_default().insert(*time, *value);
        }
        let sample = |(time, value): (i64, f64)| Sample { time: TimestampMs(time), value };
        let line = |(line, samples): (u8, BTreeMap<i64, f64>)| SeriesSamples {
            series: series(line),
            samples: samples.into_iter().map(sample).collect(),
        };
        let part = |(place, lines): (usize, BTreeMap<u8, _>)| Part {
            rank: place as i64,
            resolution: Resolution::Raw,
            host: host(),
            series: lines.into_iter().map(line).collect(),
        };
        places.into_iter().map(part).collect()
    }

    /// First and last instant of what lies in a place.
    fn span(placed: &[Placed], place: usize) -> Option<(TimestampMs, TimestampMs)> {
        let times =
            || placed.iter().filter(|(other, ..)| *other == place).map(|(_, time, ..)| TimestampMs(*time));
        Some((times().min()?, times().max()?))
    }

    /// The points if everything is evaluated in one place.
    fn naive(placed: &[Placed], evaluation: &Evaluation, aggregate: Aggregate) -> Vec<(TimestampMs, f64)> {
        let mut answer = Answer::new(evaluation.clone());
        parts(placed, |_| true).into_iter().for_each(|part| answer.add(part).unwrap());
        answer.points(aggregate)
    }

    /// The points if the places below `remote` are objects, and all others the shard's own.
    fn shared(
        placed: &[Placed],
        remote: usize,
        evaluation: &Evaluation,
        aggregate: Aggregate,
    ) -> (Vec<(TimestampMs, f64)>, usize) {
        let mut own = Merger::default();
        parts(placed, |place| place >= remote).into_iter().for_each(|part| own.add(part).unwrap());
        let elsewhere: Vec<_> = (0..remote).filter_map(|place| span(placed, place)).collect();
        let (evaluated, rest) = partial(own, evaluation, &elsewhere);
        let cells = evaluated.iter().map(|entry| entry.cells.len()).sum();
        let mut answer = Answer::new(evaluation.clone());
        evaluated.into_iter().for_each(|entry| answer.add_evaluated(entry).unwrap());
        rest.into_iter().for_each(|part| answer.add(part).unwrap());
        parts(placed, |place| place < remote).into_iter().for_each(|part| answer.add(part).unwrap());
        (answer.points(aggregate), cells)
    }

    fn evaluation(bucket: Bucket, from: i64, to: i64) -> Evaluation {
        let (from, to) = (TimestampMs(from), TimestampMs(to));
        Evaluation { bucket, from, to, counter: Some("counter".to_owned()), coarsest: Resolution::Raw }
    }

    #[test]
    fn what_only_the_shard_has_is_evaluated_there_and_is_small() {
        // Object 0 ends where the log, place 1, begins.
        let object = (0..600).map(|n| (0, n * 1_000, 1, n as f64));
        let log = (600..1_200).map(|n| (1, n * 1_000, 1, n as f64));
        let placed: Vec<Placed> = object.chain(log).collect();
        let evaluation = evaluation(Bucket::FiveMinutes, 0, 1_200_000);
        let (points, cells) = shared(&placed, 1, &evaluation, Aggregate::Sum);
        // The first bucket of the log begins with a difference from the object's last reading.
        assert_eq!(cells, 1);
        assert_eq!(points.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [300.0, 300.0, 300.0, 299.0]);
        let late = Evaluation { from: TimestampMs(300_001), ..evaluation };
        let (points, _) = shared(&placed, 1, &late, Aggregate::Count);
        assert_eq!(points.last().unwrap(), &(TimestampMs(300_000), 299.0));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_query_is_evaluated(
            placed in proptest::collection::vec(
                (0usize..5, 0i64..40_000, 0u8..4, -1e9..1e9f64), 1..600),
            remote in 0usize..5,
            cut in prop::array::uniform5(0i64..40_000),
            wide in any::<bool>(),
            (from, to) in (0i64..20_000, 20_000i64..40_000),
        ) {
            // Each place holds about a part of the time, so that some buckets are the shard's own; duplicates abound.
            let within = |place: usize, time: i64| (cut[place] + time / 3).min(40_000) * 100;
            let placed: Vec<Placed> =
                placed.iter().map(|(place, time, line, value)| (*place, within(*place, *time), *line, *value)).collect();
            let bucket = if wide { Bucket::Hour } else { Bucket::FiveMinutes };
            let evaluation = evaluation(bucket, from * 100, to * 100);
            for aggregate in Aggregate::ALL {
                let (points, _) = shared(&placed, remote, &evaluation, aggregate);
                let bits = |points: Vec<(TimestampMs, f64)>| -> Vec<_> {
                    points.into_iter().map(|(time, value)| (time, value.to_bits())).collect()
                };
                prop_assert_eq!(bits(points), bits(naive(&placed, &evaluation, aggregate)));
            }
        }
    }
}
