//! A block as bytes: what `golden/block.ewb` holds must be read for as long as version 3 is. The samples are written
//! down here as formulas, so a change of format or codec is noticed from both sides. `GOLDEN_WRITE=1` writes the
//! file anew, which is right only together with a new version number.

use edgewatch_engine::{
    block::{Block, BlockWriter},
    compression::{Deflater, Inflater},
    rollup::Resolution,
};
use edgewatch_shared::{
    HostId, Labels, Sample, Series, TimestampMs, codec, limits::BLOCK_BYTES_MAX, series::SeriesSamples,
};
use std::{env, fs, path::PathBuf};

const START_MS: i64 = 1_790_000_000_000;

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "block.ewb"].iter().collect()
}

/// Noise that is the same everywhere.
fn noise(n: i64) -> i64 {
    (n.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f) >> 33) & 0xffff
}

fn series(name: &str, labels: &[(&str, &str)], count: i64, value: impl Fn(i64) -> f64) -> SeriesSamples {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let sample = |n: i64| Sample { time: TimestampMs(START_MS + n * 10_000 + noise(n) % 3), value: value(n) };
    SeriesSamples { series: Series { name: name.into(), labels }, samples: (0..count).map(sample).collect() }
}

/// Every scale, prediction and special value, kin, ticks, and two lists of instants.
fn host_1() -> Vec<SeriesSamples> {
    let walk = |n: i64| (0..n).map(|n| noise(n) % 5 - 2).sum::<i64>();
    let bytes = |n: i64| (0..n).map(|n| 50_000 + noise(n) % 4_000).sum::<i64>();
    vec![
        series("a_constant", &[("core", "total"), ("größe", "1")], 120, |_| 42.5),
        series("a_counter", &[], 120, |n| (1_000_000 + n * 1_500) as f64),
        series("a_line", &[], 120, |n| (n * n) as f64),
        series("a_pace", &[], 120, |n| bytes(n) as f64),
        series("a_pace_in_kib", &[], 120, |n| (bytes(n) / 1_024) as f64),
        series("a_percentage", &[], 120, |n| (4_000 + walk(n)) as f64 / 100.0),
        series("a_product", &[], 120, |n| n as f64 * 0.001),
        series("a_quotient_of_quotients", &[], 120, |n| (818_121_085 + noise(n)) as f64 / 1e3 / 1e3),
        series("a_real_number", &[], 120, |n| (n as f64 + 0.1).sqrt()),
        series("coarse_clock_seconds", &[], 120, |n| ((10.015 * noise(n) as f64).floor()) / 1e9),
        series("levels", &[], 120, |n| (noise(n) % 1_000) as f64),
        series("special", &[], 8, |n| {
            let all = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX, f64::MIN];
            all[n as usize]
        }),
    ]
}

fn host_2() -> Vec<SeriesSamples> {
    vec![series("a_single_sample", &[], 1, |_| -7.25)]
}

fn hosts() -> [(HostId, Vec<SeriesSamples>); 2] {
    [(HostId::new(7, [1; 14]), host_1()), (HostId::new(7, [2; 14]), host_2())]
}

fn bits(series: &[SeriesSamples]) -> Vec<(&Series, Vec<(i64, u64)>)> {
    let samples = |entry: &SeriesSamples| {
        entry.samples.iter().map(|sample| (sample.time.0, sample.value.to_bits())).collect()
    };
    series.iter().map(|entry| (&entry.series, samples(entry))).collect()
}

#[test]
fn the_golden_block_is_read_as_it_was_written() {
    if env::var_os("GOLDEN_WRITE").is_some() {
        let deflater = &mut Deflater::default();
        let mut writer = BlockWriter::new(Resolution::Raw, BLOCK_BYTES_MAX);
        hosts().iter().for_each(|(host, series)| writer.push(*host, series, deflater).unwrap());
        fs::write(path(), writer.finish(deflater).unwrap().remove(0).bytes).unwrap();
    }
    let bytes = fs::read(path()).unwrap();
    let inflater = &mut Inflater::default();
    let block = Block::open(&bytes, inflater).unwrap();
    assert_eq!(block.resolution(), Resolution::Raw);
    assert_eq!(block.entries().len(), 2);
    for (entry, (host, series)) in block.entries().iter().zip(hosts()) {
        assert_eq!(entry.host, host);
        assert_eq!(bits(&block.chunk(entry, inflater).unwrap()), bits(&series));
    }
}

/// The body of a chunk is not compressed any further: it is what the encoder made.
#[test]
fn the_golden_samples_are_encoded_as_they_were() {
    let bytes = fs::read(path()).unwrap();
    let block = Block::open(&bytes, &mut Inflater::default()).unwrap();
    for (entry, (_, series)) in block.entries().iter().zip(hosts()) {
        let chunk = block.chunk_bytes(entry).unwrap();
        assert!(chunk.ends_with(&codec::encode(&series).body));
    }
}
