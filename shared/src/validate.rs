//! The only door from the wire into a [`Batch`], and through [`validate_push`] into a [`crate::batch::ListedBatch`].

mod import;
mod push;

use crate::{
    batch::Batch,
    catalogue,
    limits::{
        BATCH_SAMPLES_MAX, FAULTS_NAMED_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, SAMPLE_AGE_MS_MAX,
        SAMPLE_AHEAD_MS_MAX,
    },
    name,
    series::{Labels, Sample, Series, SeriesSamples},
    time::TimestampMs,
    wire::{MetricSample, MetricsBody},
};
pub use import::{ImportFault, ImportWindow, Imported, validate_import};
pub use push::{CheckedPush, PushFault, validate_push};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// A batch, and how many of its samples were left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What may be stored. It can be empty, if every sample lies outside the window.
    pub batch: Batch,
    /// Samples outside the accepted window of time.
    pub outside_window: usize,
}

/// Why a whole batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No samples.
    #[error("the batch has no samples")]
    Empty,
    /// Over [`BATCH_SAMPLES_MAX`].
    #[error("the batch has more than {BATCH_SAMPLES_MAX} samples; split it")]
    TooManySamples,
    /// At least one sample is at fault; the first [`FAULTS_NAMED_MAX`] are here.
    #[error("{total} samples are at fault, nothing was stored; the first: {}", first_fault(.faults))]
    Faults {
        /// The first faults, by index.
        faults: Vec<Fault>,
        /// How many samples are at fault in all.
        total: usize,
    },
}

/// A sample at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Position in the body, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What can be wrong with a sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Of a series list: not after the series before it.
    #[error("the series list is not sorted, or has a series twice")]
    Unsorted,
    /// Of a series list: a name that is stored under another one.
    #[error("name {0:?}: a series list has names as they are stored")]
    NotStored(String),
    /// Not a legal name.
    #[error("name {0:?}: {1}")]
    Name(String, name::NameError),
    /// Not in the catalogue and under no free prefix.
    #[error(
        "unknown metric name {name:?}; did you mean {nearest:?}? Names of your own start with app_ or custom_"
    )]
    UnknownName {
        /// As sent.
        name: String,
        /// What it may have meant.
        nearest: &'static str,
    },
    /// NaN or infinite.
    #[error("the value must be finite")]
    Value,
    /// The sample names another host than the batch.
    #[error("the sample is of host {0:?}, the batch is of another")]
    Host(String),
    /// Over [`LABELS_MAX`].
    #[error("more than {LABELS_MAX} labels")]
    TooManyLabels,
    /// An illegal label name.
    #[error("label {0:?}: {1}")]
    LabelName(String, name::NameError),
    /// A name that Edgewatch gives a meaning to.
    #[error("label {0:?} is reserved: the host comes from the batch")]
    ReservedLabel(String),
    /// Empty or too long.
    #[error("label {0:?} must have a value of 1 to {LABEL_VALUE_BYTES_MAX} bytes")]
    LabelValue(String),
}

impl FaultKind {
    /// Stable text of the kind, for clients.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsorted => "unsorted",
            Self::NotStored(_) | Self::Name(..) => "illegal_name",
            Self::UnknownName { .. } => "unknown_name",
            Self::Value => "value_not_finite",
            Self::Host(_) => "host_mismatch",
            Self::TooManyLabels => "too_many_labels",
            Self::LabelName(..) => "illegal_label",
            Self::ReservedLabel(_) => "reserved_label",
            Self::LabelValue(_) => "label_value",
        }
    }
}

fn first_fault(faults: &[Fault]) -> String {
    faults.first().map_or_else(String::new, |fault| format!("sample {}: {}", fault.index, fault.kind))
}

/// Checks a body as it arrived at `now` and groups it by series.
///
/// All or nothing, but for samples outside the window of time (8 days back, 5 minutes
/// ahead), which are counted and left behind: a host with a wrong clock keeps its other data.
/// Of several samples of one series at one instant the last one counts.
pub fn validate(body: MetricsBody, now: TimestampMs) -> Result<Checked, BatchError> {
    match body.metrics.len() {
        0 => return Err(BatchError::Empty),
        count if count > BATCH_SAMPLES_MAX => return Err(BatchError::TooManySamples),
        _ => {}
    }
    let window = window(now);
    let mut by_series: BTreeMap<Series, BTreeMap<TimestampMs, f64>> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut fault_count: usize = 0;
    let mut outside_window: usize = 0;
    for (index, raw) in body.metrics.into_iter().enumerate() {
        let time = raw.time.0;
        let is_named = faults.len() < FAULTS_NAMED_MAX;
        match check_sample(raw, body.host.as_deref(), is_named) {
            Ok(_) if !window.contains(&time) => outside_window = outside_window.saturating_add(1),
            Ok((series, value)) => {
                by_series.entry(series).or_default().insert(time, value);
            }
            Err(kind) => {
                fault_count = fault_count.saturating_add(1);
                if faults.len() < FAULTS_NAMED_MAX {
                    faults.push(Fault { index, kind });
                }
            }
        }
    }
    if fault_count > 0 {
        return Err(BatchError::Faults { faults, total: fault_count });
    }
    Ok(Checked { batch: Batch { series: by_series.into_iter().map(in_order).collect() }, outside_window })
}

/// The instants that a sample arriving at `now` may be of.
fn window(now: TimestampMs) -> RangeInclusive<TimestampMs> {
    now.plus_ms(-SAMPLE_AGE_MS_MAX)..=now.plus_ms(SAMPLE_AHEAD_MS_MAX)
}

fn in_order((series, samples): (Series, BTreeMap<TimestampMs, f64>)) -> SeriesSamples {
    let samples = samples.into_iter().map(|(time, value)| Sample { time, value }).collect();
    SeriesSamples { series, samples }
}

/// `is_named`: whether a fault will be told, so that the nearest known name is worth looking for.
fn check_sample(
    raw: MetricSample,
    batch_host: Option<&str>,
    is_named: bool,
) -> Result<(Series, f64), FaultKind> {
    let name = check_name(raw.name, is_named)?;
    if let Some(host) = raw.host.filter(|host| batch_host.is_some_and(|batch_host| batch_host != host)) {
        return Err(FaultKind::Host(shortened(host)));
    }
    if !raw.value.is_finite() {
        return Err(FaultKind::Value);
    }
    let labels = raw.labels.unwrap_or_default();
    check_labels(&labels)?;
    Ok((Series { name, labels }, raw.value))
}

/// A name as it is stored, if hosts may send it.
fn check_name(raw: String, is_named: bool) -> Result<String, FaultKind> {
    match name::stored_name(&raw) {
        Ok(name) if catalogue::is_accepted(&name) => Ok(name),
        Ok(name) => {
            let nearest = if is_named { catalogue::nearest(&name) } else { "" };
            Err(FaultKind::UnknownName { name: raw, nearest })
        }
        Err(error) => Err(FaultKind::Name(shortened(raw), error)),
    }
}

fn check_labels(labels: &Labels) -> Result<(), FaultKind> {
    if labels.len() > LABELS_MAX {
        return Err(FaultKind::TooManyLabels);
    }
    for (key, value) in labels {
        if let Err(error) = name::check_label_name(key) {
            return Err(FaultKind::LabelName(shortened(key.clone()), error));
        }
        if key == "host" || key.starts_with("__") {
            return Err(FaultKind::ReservedLabel(key.clone()));
        }
        if value.is_empty() || value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(FaultKind::LabelValue(key.clone()));
        }
    }
    Ok(())
}

/// What a message repeats of its input: the first 60 characters.
fn shortened(text: String) -> String {
    if text.chars().nth(60).is_none() { text } else { text.chars().take(60).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
