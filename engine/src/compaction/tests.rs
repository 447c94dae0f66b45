//! Compaction against its definition: merged by rank, rolled up naively; cut anywhere; within tiny limits.

use super::*;
use crate::{
    block::{Block, BlockWriter},
    block_index::Place,
    rollup::{Field, Rollup, from_series, roll_up},
};
use edgewatch_shared::{Labels, Sample, Series, TimestampMs, limits::HOUR_MS, series::SeriesSamples};
use proptest::prelude::*;
use std::collections::BTreeMap;

const DAY: Day = Day(20_000);
const TINY: Limits = Limits { block_bytes: 900, batch_bytes: 500, pass_bytes: 2_000 };

type Stored = BTreeMap<String, Vec<u8>>;
/// Samples by host and series.
type Merged = BTreeMap<(HostId, Series), Vec<Sample>>;

fn host(n: u8) -> HostId {
    HostId::new(3, [n; 14])
}

fn series(n: u8) -> Series {
    Series { name: format!("load_{n}"), labels: Labels::new() }
}

fn sample(ms: i64, value: f64) -> Sample {
    Sample { time: DAY.start().plus_ms(ms), value }
}

/// A block of what is given: host, series, samples.
fn block(
    store: &mut Stored,
    rank: i64,
    resolution: Resolution,
    content: &[(HostId, Vec<SeriesSamples>)],
) -> BlockEntry {
    let deflater = &mut Deflater::default();
    let mut writer = BlockWriter::new(resolution, 1 << 20);
    for (host, series) in content {
        writer.push(*host, series, deflater).unwrap();
    }
    let built = writer.finish(deflater).unwrap().remove(0);
    let key = format!("{}-{rank}", resolution.as_str());
    let entry = BlockEntry { id: rank, rank, ..BlockEntry::of(&built, key.clone(), None) };
    store.insert(key, built.bytes);
    entry
}

fn raw(store: &mut Stored, rank: i64, samples: &[(u8, u8, Vec<Sample>)]) -> BlockEntry {
    let mut hosts: BTreeMap<HostId, Vec<SeriesSamples>> = BTreeMap::new();
    for (on, of, samples) in samples {
        let samples = SeriesSamples { series: series(*of), samples: samples.clone() };
        hosts.entry(host(*on)).or_default().push(samples);
    }
    block(store, rank, Resolution::Raw, &hosts.into_iter().collect::<Vec<_>>())
}

fn plan(limits: Limits, after: Option<HostId>) -> Plan {
    Plan { shard: 3, day: DAY, rank: 77, limits, after }
}

/// Steps of a compaction, at most `steps`; what was recorded, and whether it is over.
fn run(
    compaction: &mut Compaction,
    store: &mut Stored,
    mut steps: usize,
) -> Result<(Vec<BlockEntry>, bool), CompactionError> {
    let (inflater, deflater) = (&mut Inflater::default(), &mut Deflater::default());
    let mut recorded = Vec::new();
    while steps > 0 {
        steps -= 1;
        match compaction.step(inflater, deflater)? {
            Step::Again => {}
            Step::Read(ranges) => {
                let read = |range: &SourceRange| {
                    let bytes = &store[&compaction.source(range).unwrap().key];
                    bytes[range.offset as usize..(range.offset + range.length) as usize].to_vec()
                };
                let bytes = ranges.iter().map(read).collect();
                compaction.given(&ranges, bytes, inflater)?;
            }
            Step::Store(entry, bytes) => {
                store.insert(entry.key.clone(), bytes);
                compaction.stored(BlockEntry { place: Place::R2, ..*entry });
            }
            Step::Record(entries) => recorded.extend(entries),
            Step::Finish(entries) => {
                recorded.extend(entries);
                return Ok((recorded, true));
            }
        }
    }
    Ok((recorded, false))
}

/// Everything in blocks of a resolution, and that no instant of a series is there twice.
fn content(store: &Stored, blocks: &[BlockEntry], resolution: Resolution) -> Merged {
    let mut merged = Merged::new();
    let inflater = &mut Inflater::default();
    for entry in blocks.iter().filter(|block| block.resolution == resolution) {
        let block = Block::open(&store[&entry.key], inflater).unwrap();
        assert_eq!(block.resolution(), resolution);
        for chunk in block.entries() {
            assert!((entry.hosts.0..=entry.hosts.1).contains(&chunk.host));
            for found in block.chunk(chunk, inflater).unwrap() {
                merged.entry((chunk.host, found.series)).or_default().extend(found.samples);
            }
        }
    }
    for samples in merged.values() {
        assert!(samples.is_sorted_by(|a, b| a.time < b.time));
    }
    merged
}

fn rollups(
    store: &Stored,
    blocks: &[BlockEntry],
    resolution: Resolution,
) -> BTreeMap<(HostId, Series), Vec<Rollup>> {
    let mut by_host: BTreeMap<HostId, Vec<SeriesSamples>> = BTreeMap::new();
    for ((host, series), samples) in content(store, blocks, resolution) {
        by_host.entry(host).or_default().push(SeriesSamples { series, samples });
    }
    let named = |(host, stored): (HostId, Vec<SeriesSamples>)| {
        from_series(stored).into_iter().map(move |(series, rollups)| ((host, series), rollups))
    };
    by_host.into_iter().flat_map(named).collect()
}

/// Parts of one day as blocks of ascending rank: of two samples at one instant the later block's counts.
type Parts = Vec<Vec<(u8, u8, Vec<Sample>)>>;

fn parts() -> impl Strategy<Value = Parts> {
    let samples = proptest::collection::btree_map(0i64..400, -1e9..1e9f64, 1..40).prop_map(|samples| {
        samples.into_iter().map(|(at, value)| sample(at * 200_000, value)).collect::<Vec<_>>()
    });
    let part = proptest::collection::btree_map((0u8..4, 0u8..4), samples, 1..8);
    let part =
        part.prop_map(|part| part.into_iter().map(|((host, of), samples)| (host, of, samples)).collect());
    proptest::collection::vec(part, 1..5)
}

fn merged(parts: &Parts) -> Merged {
    let mut instants: BTreeMap<(HostId, Series), BTreeMap<TimestampMs, f64>> = BTreeMap::new();
    for (on, of, samples) in parts.iter().flatten() {
        let instants = instants.entry((host(*on), series(*of))).or_default();
        instants.extend(samples.iter().map(|sample| (sample.time, sample.value)));
    }
    let samples = |instants: BTreeMap<TimestampMs, f64>| {
        instants.into_iter().map(|(time, value)| Sample { time, value }).collect()
    };
    instants.into_iter().map(|(key, instants)| (key, samples(instants))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_day_is_merged_and_rolled_up_as_defined_whatever_the_limits_and_wherever_it_is_cut(
        parts in parts(),
        cuts in proptest::collection::vec(1usize..60, 0..4),
        is_tiny in any::<bool>(),
    ) {
        let limits = if is_tiny { TINY } else { Limits::of_blocks(1 << 20) };
        let mut store = Stored::new();
        let sources: Vec<_> =
            parts.iter().enumerate().map(|(rank, part)| raw(&mut store, rank as i64 + 1, part)).collect();
        let mut uncut = store.clone();
        let mut compaction = Compaction::begin(plan(limits, None), sources.clone(), Vec::new());
        let (expected, _) = run(&mut compaction, &mut uncut, usize::MAX).unwrap();

        let mut recorded: Vec<BlockEntry> = Vec::new();
        for steps in cuts.into_iter().chain([usize::MAX]) {
            let after = recorded.iter().map(|block| block.hosts.1).max();
            let mut compaction = Compaction::begin(plan(limits, after), sources.clone(), Vec::new());
            let (more, is_over) = run(&mut compaction, &mut store, steps).unwrap();
            recorded.extend(more);
            if is_over {
                break;
            }
        }
        let keys = |blocks: &[BlockEntry]| blocks.iter().map(|block| block.key.clone()).collect::<Vec<_>>();
        prop_assert_eq!(keys(&recorded), keys(&expected));
        prop_assert_eq!(&store, &uncut, "nothing is stored that an uncut run does not store");
        let merged = merged(&parts);
        prop_assert_eq!(&content(&store, &recorded, Resolution::Raw), &merged);
        for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
            let rolled_up: BTreeMap<_, _> = merged
                .iter()
                .map(|(key, samples)| (key.clone(), roll_up(samples, None, resolution.step_ms().unwrap())))
                .collect();
            prop_assert_eq!(&rollups(&store, &recorded, resolution), &rolled_up);
        }
    }
}

#[test]
fn a_counter_goes_on_from_the_day_before() {
    let mut store = Stored::new();
    let of_day = raw(&mut store, 2, &[(1, 1, vec![sample(0, 130.0), sample(1_000, 131.0)])]);
    let before = roll_up(&[sample(-2 * HOUR_MS, 90.0), sample(-1_000, 100.0)], None, HOUR_MS);
    let before = crate::rollup::to_series(&series(1), &before);
    let before = block(&mut store, 1, Resolution::Hour, &[(host(1), before)]);
    let mut compaction = Compaction::begin(plan(TINY, None), vec![of_day], vec![before]);
    let (recorded, _) = run(&mut compaction, &mut store, usize::MAX).unwrap();
    assert_eq!(compaction.replaced().count(), 1, "the day before stays");
    let hour = rollups(&store, &recorded, Resolution::Hour);
    let [rollup] = hour[&(host(1), series(1))].as_slice() else { panic!("{hour:?}") };
    assert_eq!((rollup.value(Field::Increase), rollup.value(Field::Count)), (31.0, 2.0));
}

#[test]
fn what_was_rolled_up_stays_where_its_samples_are_gone() {
    let mut store = Stored::new();
    let full = vec![sample(0, 1.0), sample(10_000, 2.0), sample(20_000, 3.0)];
    let parts = [(1, 1, full.clone()), (2, 1, full)];
    let first = raw(&mut store, 1, &parts);
    let mut compaction = Compaction::begin(plan(TINY, None), vec![first], Vec::new());
    let (recorded, _) = run(&mut compaction, &mut store, usize::MAX).unwrap();
    let before = rollups(&store, &recorded, Resolution::FiveMinutes);
    // Of the raw samples nothing is left; a late one comes, and one of a bucket that had none.
    let late = raw(&mut store, 100, &[(1, 1, vec![sample(15_000, 9.0), sample(600_000, 9.0)])]);
    let rolled_up = recorded.into_iter().filter(|block| block.resolution != Resolution::Raw);
    let sources = rolled_up.chain([late]).collect();
    let mut compaction = Compaction::begin(plan(TINY, None), sources, Vec::new());
    let (recorded, _) = run(&mut compaction, &mut store, usize::MAX).unwrap();
    let after = rollups(&store, &recorded, Resolution::FiveMinutes);
    assert_eq!(after[&(host(2), series(1))], before[&(host(2), series(1))]);
    assert_eq!(after[&(host(1), series(1))][0], before[&(host(1), series(1))][0]);
    assert_eq!(after[&(host(1), series(1))].len(), 2);
}

#[test]
fn a_damaged_source_is_named() {
    let mut store = Stored::new();
    let good = raw(&mut store, 1, &[(1, 1, vec![sample(0, 1.0)])]);
    let bad = raw(&mut store, 2, &[(1, 1, vec![sample(1_000, 1.0)])]);
    for at in 0..store[&bad.key].len() {
        let mut store = store.clone();
        store.get_mut(&bad.key).unwrap()[at] ^= 1;
        let sources = vec![good.clone(), bad.clone()];
        let mut compaction = Compaction::begin(plan(TINY, None), sources, Vec::new());
        let Err(CompactionError::Damaged { id: 2, key, .. }) = run(&mut compaction, &mut store, usize::MAX)
        else {
            panic!("byte {at} is not noticed");
        };
        assert_eq!(key, bad.key);
    }
}
