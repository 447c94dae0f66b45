//! Both sides of every edge of validation.

use super::*;
use crate::{limits::NAME_BYTES_MAX, wire::WireTime};

const NOW: TimestampMs = TimestampMs(1_790_000_000_000);

fn sample(change: impl FnOnce(&mut MetricSample)) -> MetricSample {
    let mut sample = MetricSample {
        time: WireTime(NOW),
        host: None,
        name: "cpu.usage_pct".into(),
        value: 1.5,
        labels: Some(Labels::from([("core".into(), "total".into())])),
    };
    change(&mut sample);
    sample
}

fn check(metrics: Vec<MetricSample>) -> Result<Checked, BatchError> {
    validate(MetricsBody { host: Some("web-01".into()), facts: None, metrics }, NOW)
}

fn labels(count: usize) -> Option<Labels> {
    Some((0..count).map(|n| (format!("l{n}"), "v".to_owned())).collect())
}

#[test]
fn a_good_sample_is_stored_under_its_legal_name() {
    let checked = check(vec![sample(|_| ())]).unwrap();
    assert_eq!(checked.batch.sample_count(), 1);
    assert_eq!(checked.batch.series()[0].series.name, "cpu_usage_pct");
}

#[test]
fn each_fault_has_its_reason() {
    let cases: Vec<(&str, MetricSample)> = vec![
        ("illegal_name", sample(|s| s.name = "9".into())),
        ("illegal_name", sample(|s| s.name = "a".repeat(NAME_BYTES_MAX + 1))),
        ("unknown_name", sample(|s| s.name = "cpu.usage".into())),
        ("value_not_finite", sample(|s| s.value = f64::NAN)),
        ("value_not_finite", sample(|s| s.value = f64::NEG_INFINITY)),
        ("host_mismatch", sample(|s| s.host = Some("web-02".into()))),
        ("too_many_labels", sample(|s| s.labels = labels(LABELS_MAX + 1))),
        ("illegal_label", sample(|s| s.labels = Some([("a.b".into(), "v".into())].into()))),
        ("illegal_label", sample(|s| s.labels = Some([(String::new(), "v".into())].into()))),
        ("reserved_label", sample(|s| s.labels = Some([("host".into(), "v".into())].into()))),
        ("reserved_label", sample(|s| s.labels = Some([("__name__".into(), "v".into())].into()))),
        ("label_value", sample(|s| s.labels = Some([("a".into(), String::new())].into()))),
        (
            "label_value",
            sample(|s| s.labels = Some([("a".into(), "v".repeat(LABEL_VALUE_BYTES_MAX + 1))].into())),
        ),
    ];
    for (reason, bad) in cases {
        match check(vec![sample(|_| ()), bad]) {
            Err(BatchError::Faults { faults, total: 1 }) => {
                assert_eq!((faults[0].index, faults[0].kind.reason()), (1, reason));
            }
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn what_lies_on_the_edge_is_taken() {
    let on_the_edge = vec![
        sample(|s| s.name = format!("app_{}", "a".repeat(NAME_BYTES_MAX - 4))),
        sample(|s| s.labels = labels(LABELS_MAX)),
        sample(|s| s.labels = Some([("a".into(), "v".repeat(LABEL_VALUE_BYTES_MAX))].into())),
        sample(|s| s.host = Some("web-01".into())),
        sample(|s| s.labels = None),
    ];
    let count = on_the_edge.len();
    assert_eq!(check(on_the_edge).unwrap().batch.sample_count(), count);
}

#[test]
fn an_unknown_name_is_told_the_nearest() {
    let error = check(vec![sample(|s| s.name = "cpu.usage_pc".into())]).unwrap_err();
    assert!(error.to_string().contains("did you mean \"cpu_usage_pct\""), "{error}");
}

#[test]
fn only_the_first_ten_faults_are_named_and_all_are_counted() {
    let bad = vec![sample(|s| s.value = f64::NAN); FAULTS_NAMED_MAX + 1];
    match check(bad) {
        Err(BatchError::Faults { faults, total }) => {
            assert_eq!((faults.len(), total), (FAULTS_NAMED_MAX, FAULTS_NAMED_MAX + 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_number_of_samples_is_bounded_on_both_sides() {
    let many = |count: i64| (0..count).map(|n| sample(|s| s.time = WireTime(NOW.plus_ms(-n)))).collect();
    assert_eq!(check(Vec::new()), Err(BatchError::Empty));
    assert_eq!(check(many(10_000)).unwrap().batch.sample_count(), BATCH_SAMPLES_MAX);
    assert_eq!(check(many(10_001)), Err(BatchError::TooManySamples));
}

#[test]
fn samples_outside_the_window_are_counted_and_the_rest_is_kept() {
    let at = |ms: i64| sample(|s| s.time = WireTime(NOW.plus_ms(ms)));
    let inside = [-SAMPLE_AGE_MS_MAX, SAMPLE_AHEAD_MS_MAX].map(at);
    let outside = [-SAMPLE_AGE_MS_MAX - 1, SAMPLE_AHEAD_MS_MAX + 1, i64::MIN].map(at);
    let checked = check(inside.into_iter().chain(outside).collect()).unwrap();
    assert_eq!((checked.batch.sample_count(), checked.outside_window), (2, 3));
}

#[test]
fn of_two_samples_at_one_instant_the_last_one_counts() {
    let checked = check(vec![sample(|s| s.value = 1.0), sample(|s| s.value = 2.0)]).unwrap();
    assert_eq!(checked.batch.series()[0].samples, [Sample { time: NOW, value: 2.0 }]);
}

#[test]
fn a_batch_is_in_order_whatever_the_order_it_came_in() {
    let mixed = [3, 1, 2].map(|n| sample(|s| s.time = WireTime(NOW.plus_ms(n))));
    let times: Vec<_> =
        check(mixed.into()).unwrap().batch.series()[0].samples.iter().map(|s| s.time.0 - NOW.0).collect();
    assert_eq!(times, [1, 2, 3]);
}

proptest::proptest! {
    #[test]
    fn no_body_panics(text in r#"\{"metrics":\[\{"time":[0-9-]{1,19},"name":"[a-z._]{0,9}","value":[0-9.e+-]{1,9}\}\]\}"#) {
        if let Ok(body) = serde_json::from_str(&text) {
            let _ = validate(body, NOW);
        }
    }
}
