//! Samples and bodies of pushes.

use edgewatch_shared::{
    TimestampMs,
    wire::{MetricSample, MetricsBody, WireTime},
};

/// A sample without labels.
pub fn sample(name: &str, time: TimestampMs, value: f64) -> MetricSample {
    MetricSample { time: WireTime(time), host: None, name: name.to_owned(), value, labels: None }
}

/// A sample with one label.
pub fn labelled(name: &str, label: (&str, &str), time: TimestampMs, value: f64) -> MetricSample {
    let labels = [(label.0.to_owned(), label.1.to_owned())].into();
    MetricSample { labels: Some(labels), ..sample(name, time, value) }
}

/// Samples of one name, `step_ms` apart, the first at `start`.
pub fn steps(name: &str, start: TimestampMs, step_ms: i64, values: &[f64]) -> Vec<MetricSample> {
    let times = (0..).map(|step| start.plus_ms(step * step_ms));
    times.zip(values).map(|(time, value)| sample(name, time, *value)).collect()
}

/// The JSON of a push.
pub fn body(host: Option<&str>, metrics: &[MetricSample]) -> Vec<u8> {
    let body = MetricsBody { host: host.map(ToOwned::to_owned), facts: None, metrics: metrics.to_vec() };
    serde_json::to_vec(&body).expect("wire types serialize")
}
