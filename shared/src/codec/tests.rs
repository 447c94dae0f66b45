//! Bit for bit, whatever the values; no panic and no more memory than allowed, whatever the bytes.

use super::{names::SEPARATOR, *};
use crate::series::{Labels, Series};
use proptest::prelude::*;

fn series(name: &str, samples: impl IntoIterator<Item = (i64, f64)>) -> SeriesSamples {
    let samples = samples.into_iter().map(|(ms, value)| Sample { time: TimestampMs(ms), value }).collect();
    SeriesSamples { series: Series { name: name.into(), labels: Labels::new() }, samples }
}

fn steady(values: impl IntoIterator<Item = f64>) -> SeriesSamples {
    series("a", values.into_iter().enumerate().map(|(n, value)| (n as i64 * 10_000, value)))
}

/// Values, instants and names as bits, since NaN is not equal to itself.
fn bits(series: &[SeriesSamples]) -> Vec<(Series, Vec<(i64, u64)>)> {
    let samples = |entry: &SeriesSamples| {
        entry.samples.iter().map(|sample| (sample.time.0, sample.value.to_bits())).collect()
    };
    series.iter().map(|entry| (entry.series.clone(), samples(entry))).collect()
}

fn decoded(columns: &Columns<Vec<u8>>, samples_max: usize) -> Result<Vec<SeriesSamples>, CodecError> {
    decode(Columns { head: &columns.head, body: &columns.body }, samples_max)
}

fn survives(series: &[SeriesSamples]) -> usize {
    let columns = encode(series);
    let samples = series.iter().map(|entry| entry.samples.len()).sum();
    assert_eq!(bits(&decoded(&columns, samples).unwrap()), bits(series));
    if samples > 0 {
        assert_eq!(decoded(&columns, samples - 1), Err(CodecError::TooLarge));
    }
    columns.head.len() + columns.body.len()
}

/// A linear congruential generator: noise that is the same everywhere.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|state| state >> 33)
}

#[test]
fn values_of_every_kind_survive() {
    let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, f64::MAX];
    survives(&[steady(odd)]);
    survives(&[steady(odd.iter().copied().cycle().take(500))]);
    survives(&[steady((0..400).map(|n| f64::from(n) * 0.001))]);
    survives(&[steady((0..400).map(|n| f64::from(n) / 1_000.0))]);
    survives(&[steady((0..400).map(|n| 1.79e9 + f64::from(n) * 10.000_000_1))]);
    survives(&[steady(noise(1).take(400).map(|n| n as f64))]);
    survives(&[steady(noise(2).take(4_000).map(|n| (n % 7) as f64))]);
    survives(&[steady([
        i64::MAX as f64,
        i64::MIN as f64,
        9_007_199_254_740_992.0,
        -9_007_199_254_740_993.0,
    ])]);
    survives(&[]);
    survives(&[steady([0x7ff0_0000_0000_0002].map(f64::from_bits))]);
}

#[test]
fn instants_and_names_survive() {
    let labels = [("core", "0"), ("mode", "größe")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labelled = SeriesSamples {
        series: Series { name: "a".into(), labels: labels.into() },
        ..series("a", [(5, 1.0), (7, 2.0)])
    };
    let extremes = series("b", [(i64::MIN, 1.0), (-1, 2.0), (0, 3.0), (i64::MAX, 4.0)]);
    survives(&[labelled, extremes, series("ab", [(5, 1.0), (7, 2.0)])]);
}

#[test]
fn an_hour_of_what_stands_still_or_goes_steadily_costs_a_few_bytes() {
    assert!(survives(&[steady([42.5; 360])]) < 32);
    assert!(survives(&[steady((0..360).map(|n| 1e9 + f64::from(n) * 1_500.0))]) < 35);
}

#[test]
fn noise_of_so_many_bits_costs_little_more_than_so_many_bits() {
    let bytes = survives(&[steady(noise(7).take(3_600).map(|n| (n % 256) as f64))]);
    assert!(bytes < 3_600 + 130, "{bytes}");
    let bytes = survives(&[steady(noise(7).take(3_600).map(|n| f64::from(u8::from(n % 16 == 0))))]);
    assert!(bytes < 260, "{bytes}: the entropy of 1 in 16 is 0.34 bits");
}

#[test]
fn only_what_is_wanted_is_handed_over() {
    let all = ["a", "b", "c"].map(|name| series(name, (0..9).map(|n| (n, (n * n % 5) as f64))));
    let columns = encode(&all);
    let columns = Columns { head: columns.head.as_slice(), body: columns.body.as_slice() };
    let mut found = Vec::new();
    decode_each(columns, 27, &mut |series| series.name != "b", &mut |series| found.push(series)).unwrap();
    assert_eq!(found, [all[0].clone(), all[2].clone()]);
}

#[test]
fn any_cut_is_noticed() {
    let columns = encode(&[steady(noise(3).take(100).map(|n| (n % 1_000) as f64))]);
    for cut in 0..columns.head.len() {
        let cut = Columns { head: columns.head[..cut].to_vec(), body: columns.body.clone() };
        assert!(decoded(&cut, 100).is_err());
    }
    for cut in 0..columns.body.len() {
        let cut = Columns { head: columns.head.clone(), body: columns.body[..cut].to_vec() };
        assert!(decoded(&cut, 100).is_err());
    }
}

#[test]
fn a_column_of_nothing_but_a_promise_takes_no_memory() {
    // One series, one list with one run of 2^40 instants, all values zero.
    let mut head = vec![VERSION];
    put_varint(&mut head, 1);
    put_varint(&mut head, 0);
    put_varint(&mut head, 2);
    head.extend([b'a', SEPARATOR]);
    put_varint(&mut head, 1);
    put_varint(&mut head, 1 << 40);
    assert_eq!(decoded(&Columns { head, body: Vec::new() }, 10_000), Err(CodecError::TooLarge));
}

#[test]
fn names_that_share_a_long_beginning_take_no_more_than_is_allowed() {
    let long = "a".repeat(1 << 20);
    let mut head = vec![VERSION];
    put_varint(&mut head, 1_000);
    put_varint(&mut head, 0);
    put_varint(&mut head, long.len() as u64 + 1);
    head.extend(long.as_bytes());
    head.push(SEPARATOR);
    for _ in 1..1_000 {
        put_varint(&mut head, long.len() as u64 + 1);
        put_varint(&mut head, 0);
    }
    assert_eq!(decoded(&Columns { head, body: Vec::new() }, 10_000), Err(CodecError::TooLarge));
}

proptest! {
    #[test]
    fn any_bits_survive(values in proptest::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..80)) {
        survives(&[steady(values)]);
    }

    #[test]
    fn residuals_of_every_magnitude_survive(
        values in proptest::collection::vec((any::<i64>(), 0u32..64).prop_map(|(bits, shift)| bits >> shift), 24..300)
    ) {
        survives(&[steady(values.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())))]);
    }

    #[test]
    fn decimals_with_both_zeros_survive(
        values in proptest::collection::vec(prop_oneof![Just(0.0), Just(-0.0), Just(1.5), Just(-2.25)], 1..60)
    ) {
        survives(&[steady(values)]);
    }

    #[test]
    fn decimals_survive(start in -1_000_000i64..1_000_000, steps in proptest::collection::vec(-500i64..500, 1..600), e in 0i32..6) {
        let values = steps.iter().scan(start, |level, step| { *level += step; Some(*level as f64 / 10f64.powi(e)) });
        survives(&[steady(values)]);
    }

    #[test]
    fn columns_that_move_together_survive(
        steps in proptest::collection::vec((any::<i32>(), -9i64..9), 1..200),
        shift in 0u32..29, factor in -4i64..4
    ) {
        let level = |columns: &mut i64, step: i64| { *columns = columns.wrapping_add(step); Some(*columns as f64) };
        let first = steps.iter().scan(0, |sum, (step, _)| level(sum, i64::from(*step)));
        let second = steps.iter().scan(1, |sum, (step, off)| level(sum, (i64::from(*step) << shift) * factor + off));
        let third = steps.iter().scan(2, |sum, (step, off)| level(sum, i64::from(*step) - off));
        let columns = [first.collect::<Vec<_>>(), second.collect(), third.collect()];
        survives(&columns.map(steady));
    }

    #[test]
    fn durations_of_a_coarse_clock_survive(ticks in proptest::collection::vec(0i64..100_000, 24..200), period in 4.0f64..64.0) {
        survives(&[steady(ticks.into_iter().map(|tick| (tick as f64 * period).floor() / 1e9))]);
    }

    #[test]
    fn any_instants_survive(times in proptest::collection::vec(any::<i64>(), 1..50)) {
        survives(&[series("a", times.into_iter().map(|ms| (ms, 1.0)))]);
    }

    #[test]
    fn no_bytes_panic(head in proptest::collection::vec(any::<u8>(), 0..200), body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let head = [vec![VERSION], head].concat();
        let _ = decoded(&Columns { head, body }, 10_000);
    }

    #[test]
    fn no_changed_byte_panics(at in any::<prop::sample::Index>(), change in 1u8.., seed in any::<u64>()) {
        let columns = encode(&[steady(noise(seed).take(60).map(|n| (n % 1_000) as f64))]);
        let mut head = columns.head.clone();
        *at.get_mut(&mut head) ^= change;
        let _ = decoded(&Columns { head, body: columns.body.clone() }, 10_000);
        let mut body = columns.body.clone();
        *at.get_mut(&mut body) ^= change;
        let _ = decoded(&Columns { head: columns.head, body }, 10_000);
    }
}
