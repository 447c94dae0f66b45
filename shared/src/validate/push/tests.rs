//! Both sides of every edge of what a compact push may be.

use super::*;
use crate::{
    limits::{LABEL_VALUE_BYTES_MAX, LABELS_MAX, SAMPLE_AGE_MS_MAX, SAMPLE_AHEAD_MS_MAX},
    series::Labels,
};

const NOW: TimestampMs = TimestampMs(1_790_000_000_000);

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Series { name: name.to_owned(), labels: labels.collect() }
}

fn at(ms: i64, value: f64) -> Sample {
    Sample { time: NOW.plus_ms(ms), value }
}

fn push(series: Option<Vec<Series>>, columns: &[Vec<Sample>]) -> PushFrame {
    let dictionary = DictionaryId::of(&encode_series(series.as_deref().unwrap_or_default()));
    PushFrame {
        stream: StreamId(1),
        floor: 1,
        readings: ReadingRange { first: 1, last: 1 },
        host: None,
        facts: None,
        metrics: Some(MetricsSection { dictionary, series, columns: encode_columns(columns) }),
        processes: None,
    }
}

/// What becomes of a list of these series with a sample each.
fn check_list_of(series: Vec<Series>) -> Result<CheckedPush, PushFault> {
    let columns = vec![vec![at(0, 1.0)]; series.len()];
    validate_push(push(Some(series), &columns), NOW)
}

#[test]
fn a_push_is_believed_with_and_without_its_list_and_has_one_checksum() {
    let list = vec![series("cpu_usage_pct", &[("core", "total")]), series("load_1m", &[])];
    let columns = vec![vec![at(0, 1.5), at(10_000, 2.5)], Vec::new()];
    let with = validate_push(push(Some(list.clone()), &columns), NOW).unwrap();
    let mut without = push(Some(list.clone()), &columns);
    without.metrics.as_mut().unwrap().series = None;
    let without = validate_push(without, NOW).unwrap();
    assert_eq!(with.batch.series(), Some(list.as_slice()));
    assert_eq!((without.batch.series(), without.batch.columns()), (None, columns.as_slice()));
    assert_eq!((with.batch.checksum(), with.batch.sample_count()), (without.batch.checksum(), 2));
    assert_eq!(with.batch.bytes(), encode_columns(&columns));
}

#[test]
fn each_fault_of_a_list_has_the_reason_it_has_in_json() {
    let long = "v".repeat(LABEL_VALUE_BYTES_MAX + 1);
    let many: Labels = (0..=LABELS_MAX).map(|n| (format!("l{n}"), "v".to_owned())).collect();
    for (reason, bad) in [
        ("illegal_name", series("9", &[])),
        ("illegal_name", series("cpu.usage_pct", &[])),
        ("unknown_name", series("cpu_usage", &[])),
        ("too_many_labels", Series { labels: many, ..series("app_a", &[]) }),
        ("illegal_label", series("app_a", &[("a.b", "v")])),
        ("reserved_label", series("app_a", &[("host", "v")])),
        ("label_value", series("app_a", &[("a", "")])),
        ("label_value", series("app_a", &[("a", &long)])),
    ] {
        match check_list_of(vec![bad]) {
            Err(PushFault::Series { faults, total: 1 }) => assert_eq!(faults[0].kind.reason(), reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn a_list_is_sorted_and_has_each_series_once() {
    let (a, b) = (series("app_a", &[]), series("app_b", &[]));
    assert!(check_list_of(vec![a.clone(), b.clone()]).is_ok());
    for unsorted in [vec![b, a.clone()], vec![a.clone(), a]] {
        match check_list_of(unsorted) {
            Err(PushFault::Series { faults, total: 1 }) => {
                assert_eq!((faults[0].index, &faults[0].kind), (1, &FaultKind::Unsorted));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_the_first_ten_faults_of_a_list_are_named_and_all_are_counted() {
    let bad = (0..=FAULTS_NAMED_MAX).map(|n| series(&format!("cpu_{n:02}"), &[])).collect();
    match check_list_of(bad) {
        Err(PushFault::Series { faults, total }) => {
            assert_eq!((faults.len(), total), (FAULTS_NAMED_MAX, FAULTS_NAMED_MAX + 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_has_to_be_what_its_id_says_and_as_long_as_there_are_columns() {
    let list = vec![series("app_a", &[])];
    let mut other_id = push(Some(list.clone()), &[vec![at(0, 1.0)]]);
    other_id.metrics.as_mut().unwrap().dictionary.0[0] ^= 1;
    assert_eq!(validate_push(other_id, NOW), Err(PushFault::Dictionary));
    let two = push(Some(list), &[vec![at(0, 1.0)], Vec::new()]);
    assert_eq!(validate_push(two, NOW), Err(PushFault::Shape { columns: 2, series: 1 }));
}

#[test]
fn what_is_not_finite_is_refused_by_the_place_of_its_series() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        match validate_push(push(None, &[vec![at(0, -0.0)], vec![at(0, value)]]), NOW) {
            Err(PushFault::Series { faults, total: 1 }) => {
                assert_eq!((faults[0].index, &faults[0].kind), (1, &FaultKind::Value));
            }
            other => panic!("{value}: {other:?}"),
        }
    }
}

#[test]
fn instants_have_to_ascend() {
    for ms in [0, -1] {
        let columns = [vec![at(0, 1.0)], vec![at(0, 1.0), at(ms, 2.0)]];
        assert_eq!(validate_push(push(None, &columns), NOW), Err(PushFault::Unordered(1)));
    }
}

#[test]
fn a_record_of_processes_counts_within_the_window_and_changes_no_checksum() {
    let plain = push(None, &[vec![at(0, 1.0)]]);
    let checked = |ms: i64| {
        let processes = Some(Processes { time: NOW.plus_ms(ms), ..Processes::default() });
        let checked = validate_push(PushFrame { processes, ..plain.clone() }, NOW).unwrap();
        assert_eq!(checked.batch, validate_push(plain.clone(), NOW).unwrap().batch);
        (checked.processes.is_some(), checked.outside_window)
    };
    assert_eq!([checked(-SAMPLE_AGE_MS_MAX), checked(SAMPLE_AHEAD_MS_MAX)], [(true, 0); 2]);
    assert_eq!([checked(-SAMPLE_AGE_MS_MAX - 1), checked(SAMPLE_AHEAD_MS_MAX + 1)], [(false, 1); 2]);
}

#[test]
fn samples_outside_the_window_are_counted_and_the_rest_is_encoded_anew() {
    let inside = vec![at(-SAMPLE_AGE_MS_MAX, 1.0), at(SAMPLE_AHEAD_MS_MAX, 2.0)];
    let outside = vec![at(-SAMPLE_AGE_MS_MAX - 1, 3.0), at(SAMPLE_AHEAD_MS_MAX + 1, 4.0)];
    let all = [outside[0], inside[0], inside[1], outside[1]].to_vec();
    let raw = push(None, &[all, outside.clone()]);
    let checksum = raw.metrics.as_ref().unwrap().checksum();
    let checked = validate_push(raw, NOW).unwrap();
    assert_eq!((checked.batch.sample_count(), checked.outside_window), (2, 4));
    let columns = vec![inside, Vec::new()];
    assert_eq!(decode_columns(checked.batch.bytes(), 2, 2).as_ref(), Ok(&columns));
    assert_eq!((checked.batch.columns(), checked.batch.checksum()), (columns.as_slice(), checksum));
    let nothing = validate_push(push(None, &[outside]), NOW).unwrap();
    assert_eq!((nothing.batch.sample_count(), nothing.outside_window), (0, 2));
}

#[test]
fn the_number_of_samples_is_bounded_on_both_sides() {
    let many = |count: usize| vec![(0..count as i64).map(|n| at(n, 1.0)).collect::<Vec<_>>()];
    assert_eq!(validate_push(push(None, &[Vec::new()]), NOW), Err(PushFault::Empty));
    assert_eq!(validate_push(PushFrame { metrics: None, ..push(None, &[]) }, NOW), Err(PushFault::Empty));
    let full = validate_push(push(None, &many(BATCH_SAMPLES_MAX)), NOW).unwrap();
    assert_eq!(full.batch.sample_count(), BATCH_SAMPLES_MAX);
    let over = validate_push(push(None, &many(BATCH_SAMPLES_MAX + 1)), NOW).unwrap_err();
    assert_eq!(over.code(), ErrorCode::TooManySamples);
}
