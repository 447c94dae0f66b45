//! Bit for bit, whatever the values; no panic and no more memory than allowed, whatever the bytes.

use super::*;
use crate::{
    TimestampMs,
    limits::{BATCH_READINGS_MAX, BATCH_SAMPLES_MAX, FACTS_BYTES_MAX, HOST_NAME_BYTES_MAX, LABELS_MAX},
    series::{Labels, Sample},
};
use proptest::prelude::*;

fn series(name: &str) -> Series {
    Series { name: name.into(), labels: Labels::from([("core".to_owned(), "total".to_owned())]) }
}

fn push(columns: Vec<u8>) -> PushFrame {
    let list = vec![series("a"), series("b")];
    PushFrame {
        stream: StreamId(u64::MAX),
        floor: 3,
        readings: ReadingRange { first: 5, last: 9 },
        host: Some("web-01".into()),
        facts: Some(Facts { cpus: 2, ..Facts::default() }),
        metrics: Some(MetricsSection {
            dictionary: DictionaryId::of(&encode_series(&list)),
            series: Some(list),
            columns,
        }),
        processes: Some(Processes { count: 3, by_cpu: vec![Process::default()], ..Processes::default() }),
    }
}

/// Instants and values as bits, since NaN is not equal to itself.
fn bits(columns: &[Vec<Sample>]) -> Vec<Vec<(i64, u64)>> {
    let of_column = |samples: &Vec<Sample>| {
        samples.iter().map(|sample| (sample.time.0, sample.value.to_bits())).collect()
    };
    columns.iter().map(of_column).collect()
}

fn survives(columns: &[Vec<Sample>]) {
    let bytes = encode_columns(columns);
    let samples = columns.iter().map(Vec::len).sum();
    let read = decode_columns(&bytes, columns.len(), samples).unwrap();
    assert_eq!(bits(&read), bits(columns));
    // The same samples have the same bytes, so that they have the same checksum.
    assert_eq!(encode_columns(&read), bytes);
    if samples > 0 {
        let over = decode_columns(&bytes, columns.len(), samples - 1).unwrap_err();
        assert_eq!(over.code(), ErrorCode::TooManySamples);
    }
    if !columns.is_empty() {
        let over = decode_columns(&bytes, columns.len() - 1, samples).unwrap_err();
        assert_eq!(over.code(), ErrorCode::BodyTooLarge);
    }
}

fn column(values: impl IntoIterator<Item = f64>) -> Vec<Sample> {
    let sample = |(n, value)| Sample { time: TimestampMs(n as i64 * 10_000), value };
    values.into_iter().enumerate().map(sample).collect()
}

#[test]
fn a_push_survives_with_every_part_it_may_have_and_without() {
    let whole = push(encode_columns(&[column([1.5]), column([])]));
    let mut listless = whole.clone();
    listless.metrics.as_mut().unwrap().series = None;
    let bare = PushFrame { host: None, facts: None, metrics: None, processes: None, ..whole.clone() };
    for push in [whole, listless, bare] {
        assert_eq!(decode(&encode(&push)), Ok(push));
    }
}

#[test]
fn a_cut_is_refused_unless_it_is_between_two_sections() {
    let whole = push(vec![1, 2, 3]);
    let parts = [
        PushFrame { host: None, facts: None, metrics: None, processes: None, ..whole.clone() },
        PushFrame { facts: None, metrics: None, processes: None, ..whole.clone() },
        PushFrame { metrics: None, processes: None, ..whole.clone() },
        PushFrame { processes: None, ..whole.clone() },
        whole,
    ];
    let ends = parts.map(|push| encode(&push));
    let [.., whole] = &ends;
    for cut in 0..whole.len() {
        let is_end = ends.iter().any(|end| end.len() == cut);
        assert_eq!(decode(&whole[..cut]).is_ok(), is_end, "{cut}");
    }
    assert!(decode(&[whole.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn another_version_and_an_unknown_section_are_told_as_such() {
    let mut bytes = encode(&push(Vec::new()));
    bytes[0] = 2;
    assert_eq!(decode(&bytes), Err(PushError::Version(2)));
    assert_eq!(PushError::Section(5).code(), ErrorCode::UnsupportedSection);
    let plain = PushFrame { processes: None, ..push(Vec::new()) };
    let with = |kind: u8| decode(&[encode(&plain).as_slice(), &[kind, 2, 7, 7]].concat());
    for kind in [0, 5, 127] {
        assert_eq!(with(kind), Err(PushError::Section(kind)));
    }
    // What a push can do without is passed over.
    for kind in [129, 255] {
        assert_eq!(with(kind), Ok(plain.clone()));
    }
}

#[test]
fn sections_come_once_in_order_and_a_list_with_samples() {
    let bare = PushFrame { host: None, facts: None, metrics: None, processes: None, ..push(Vec::new()) };
    let bare = encode(&bare);
    let with = |sections: &[u8]| decode(&[bare.as_slice(), sections].concat());
    assert!(with(&[1, 1, b'a']).is_ok());
    assert!(with(&[1, 1, b'a', 1, 1, b'a']).is_err());
    assert!(with(&[3, 1, 0, 1, 1, b'a']).is_err());
    assert!(with(&[3, 1, 0]).is_err());
}

#[test]
fn readings_count_from_1_and_are_bounded() {
    let bare = |readings, floor| PushFrame { readings, floor, metrics: None, ..push(Vec::new()) };
    let range = |first, last| ReadingRange { first, last };
    let read = |push: PushFrame| decode(&encode(&push)).is_ok_and(|read| read == push);
    assert!(read(bare(range(1, BATCH_READINGS_MAX), 1)));
    assert!(!read(bare(range(1, BATCH_READINGS_MAX + 1), 1)));
    assert!(read(bare(range(u64::MAX, u64::MAX), 1)));
    assert!(!read(bare(range(0, 0), 0)));
    assert!(!read(bare(range(1, 1), 0)));
}

#[test]
fn texts_are_bounded_on_both_sides() {
    let host = |length| decode(&encode(&PushFrame { host: Some("h".repeat(length)), ..push(Vec::new()) }));
    assert!(host(HOST_NAME_BYTES_MAX).is_ok());
    assert_eq!(host(HOST_NAME_BYTES_MAX + 1).unwrap_err().code(), ErrorCode::BodyTooLarge);
    let facts = |length: usize| {
        let empty = serde_json::to_vec(&Facts::default()).unwrap().len();
        let facts = Facts { os: "o".repeat(length - empty), ..Facts::default() };
        decode(&encode(&PushFrame { facts: Some(facts), ..push(Vec::new()) }))
    };
    assert!(facts(FACTS_BYTES_MAX).is_ok());
    assert_eq!(facts(FACTS_BYTES_MAX + 1).unwrap_err().code(), ErrorCode::BodyTooLarge);
}

#[test]
fn a_series_list_is_bounded_in_number_and_in_text() {
    let list = |count: usize| (0..count).map(|n| series(&format!("a{n:05}"))).collect::<Vec<_>>();
    assert_eq!(decode_series(&encode_series(&list(HOST_SERIES_MAX))).as_ref(), Ok(&list(HOST_SERIES_MAX)));
    let over = decode_series(&encode_series(&list(HOST_SERIES_MAX + 1)));
    assert_eq!(over, Err(PushError::TooLarge { what: "series", max: HOST_SERIES_MAX }));
    // The name, its end, and the label's two texts with theirs.
    let text = |bytes: usize| vec![Series { name: "a".repeat(bytes - 12), ..series("") }];
    assert!(decode_series(&encode_series(&text(DICTIONARY_BYTES_MAX))).is_ok());
    let over = decode_series(&encode_series(&text(DICTIONARY_BYTES_MAX + 1)));
    assert_eq!(over.unwrap_err().code(), ErrorCode::BodyTooLarge);
    assert!(decode_series(&[encode_series(&list(2)), vec![0]].concat()).is_err());
    // One label too many is told by validation, more are not even read.
    let labels = |count: usize| (0..count).map(|n| (format!("l{n}"), "v".to_owned())).collect();
    let labelled =
        |count| decode_series(&encode_series(&[Series { name: "a".into(), labels: labels(count) }]));
    assert!(labelled(LABELS_MAX + 1).is_ok() && labelled(LABELS_MAX + 2).is_err());
}

#[test]
fn values_of_every_kind_survive() {
    let odd = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, f64::MAX];
    survives(&[column(odd), column([]), column([0x7ff0_0000_0000_0002].map(f64::from_bits))]);
    survives(&odd.map(|value| column([value])));
    survives(&[column([
        i64::MAX as f64,
        i64::MIN as f64,
        9_007_199_254_740_992.0,
        -9_007_199_254_740_993.0,
    ])]);
    survives(&[column((0..6).map(|n| f64::from(n) * 0.001)), column((0..6).map(|n| f64::from(n) / 1_000.0))]);
    survives(&[]);
    survives(&[column([]), column([])]);
    survives(&vec![column([42.5]); BATCH_SAMPLES_MAX]);
}

#[test]
fn every_scale_has_a_number_of_six_bits() {
    for byte in 64..=u8::MAX {
        assert_eq!(crate::codec::scale::Scale::from_byte(byte), None);
    }
}

#[test]
fn columns_of_nothing_but_a_promise_take_no_memory() {
    let mut bytes = Vec::new();
    crate::codec::bits::put_varint(&mut bytes, 1 << 40);
    assert!(decode_columns(&bytes, HOST_SERIES_MAX, BATCH_SAMPLES_MAX).is_err());
}

fn any_columns() -> impl Strategy<Value = Vec<Vec<Sample>>> {
    let value = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-100_000i64..100_000, 0i32..5).prop_map(|(n, e)| n as f64 / 10f64.powi(e)),
        Just(-0.0),
    ];
    let time = prop_oneof![any::<i64>(), (0i64..10).prop_map(|n| 1_790_000_000_000 + n * 10_000)];
    let sample = (time, value).prop_map(|(time, value)| Sample { time: TimestampMs(time), value });
    proptest::collection::vec(proptest::collection::vec(sample, 0..8), 0..12)
}

proptest! {
    #[test]
    fn any_columns_survive(columns in any_columns()) {
        survives(&columns);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&[&[frame::VERSION], bytes.as_slice()].concat());
        let _ = decode_series(&bytes);
        let _ = decode_columns(&bytes, HOST_SERIES_MAX, BATCH_SAMPLES_MAX);
    }

    #[test]
    fn no_changed_byte_panics(columns in any_columns(), at in any::<prop::sample::Index>(), change in 1u8..) {
        let mut bytes = encode(&push(encode_columns(&columns)));
        *at.get_mut(&mut bytes) ^= change;
        if let Ok(PushFrame { metrics: Some(metrics), .. }) = decode(&bytes) {
            let _ = decode_columns(&metrics.columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX);
        }
    }
}

/// What an agent on a busy machine reads: 71 series, of which 9 are noisy shares, 18 growing counters of three
/// interfaces, 14 bytes and shares that move, 3 loads, 4 of the agent itself, and 23 that stand still.
fn busy_host(readings: i64) -> Vec<Vec<Sample>> {
    let mut state = 7u64;
    let mut noise = move |below: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).cast_signed() % below
    };
    let mut columns = Vec::new();
    let mut add = |start: f64, step: &mut dyn FnMut(f64) -> f64| {
        let mut value = start;
        let sample = |n| {
            value = step(value);
            Sample { time: TimestampMs(1_795_248_000_000 + n * 10_000), value }
        };
        columns.push((0..readings).map(sample).collect::<Vec<_>>());
    };
    (0..9).for_each(|_| add(0.0, &mut |_| noise(10_000) as f64 / 100.0));
    (0..6).for_each(|_| add(411_061_364.0, &mut |last| last + noise(4_000_000) as f64));
    (0..6).for_each(|_| add(1_017_812.0, &mut |last| last + noise(5_000) as f64));
    (0..6).for_each(|_| add(12.0, &mut |last| last + noise(2) as f64));
    (0..7).for_each(|_| add(24_556_097_536.0, &mut |last| last - 4_096.0 * noise(9_000) as f64));
    (0..7).for_each(|_| add(0.0, &mut |_| (4_000 + noise(30)) as f64 / 100.0));
    (0..3).for_each(|_| add(1.5, &mut |last| ((last * 100.0).round() + noise(20) as f64) / 100.0));
    (0..4).for_each(|_| add(1_524.0, &mut |last| last + 10.0));
    (0..23).for_each(|n| add(0.0, &mut |_| f64::from(n % 3) * 270_553_174_016.0));
    columns
}

#[test]
fn a_minute_of_a_busy_host_leaves_room_for_headers_and_token_in_1200_bytes() {
    let columns = busy_host(6);
    assert_eq!(columns.len(), 71);
    survives(&columns);
    let mut push = push(encode_columns(&columns));
    (push.host, push.facts, push.processes) = (None, None, None);
    push.metrics.as_mut().unwrap().series = None;
    let bytes = encode(&push).len();
    // Line, headers and token take 420 at the most (agent/tests), zstd around what it cannot compress 12.
    assert!(bytes <= 1_200 - 420 - 12, "{bytes}");
}
