//! A compact push: its list of series if it brings one, its instants and its values.

use super::{Fault, FaultKind, check_labels, check_name, window};
use crate::{
    batch::ListedBatch,
    code::ErrorCode,
    limits::{BATCH_SAMPLES_MAX, FAULTS_NAMED_MAX, HOST_SERIES_MAX},
    series::{Sample, Series},
    time::TimestampMs,
    wire::{
        Facts,
        push::{
            DictionaryId, MetricsSection, Processes, PushError, PushFrame, ReadingRange, StreamId,
            decode_columns, encode_columns, encode_series,
        },
    },
};

/// A push that may be stored, and how many of its samples were left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedPush {
    /// Whose numbering the readings are of.
    pub stream: StreamId,
    /// All readings below are acknowledged or given up.
    pub floor: u64,
    /// The readings, and the push's identity within the stream.
    pub readings: ReadingRange,
    /// The host's name, where the push says it.
    pub host: Option<String>,
    /// What is known of the host, where the push says it.
    pub facts: Option<Facts>,
    /// The samples. None of them may be left, if every one lies outside the window.
    pub batch: ListedBatch,
    /// The host's processes, where the push brings them and they are of the accepted window of time.
    pub processes: Option<Processes>,
    /// Samples outside the accepted window of time, and the record of processes if it is.
    pub outside_window: usize,
}

/// Why a push is refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushFault {
    /// Its columns do not decode.
    #[error(transparent)]
    Columns(#[from] PushError),
    /// No samples.
    #[error("the push has no samples")]
    Empty,
    /// At least one series is at fault; the first [`FAULTS_NAMED_MAX`] are here, by their place in the list.
    #[error("{total} series are at fault, nothing was stored; the first: {}", first_fault(.faults))]
    Series {
        /// The first faults, by index.
        faults: Vec<Fault>,
        /// How many series are at fault in all.
        total: usize,
    },
    /// The series list is not what its id says.
    #[error("the series list does not have the id that the push says")]
    Dictionary,
    /// Another number of columns than of series.
    #[error("{columns} columns for a list of {series} series")]
    Shape {
        /// Columns.
        columns: usize,
        /// Series.
        series: usize,
    },
    /// Samples of a series that are not in ascending order of time.
    #[error("the samples of series {0} are not in ascending order of time")]
    Unordered(usize),
}

impl PushFault {
    /// What clients are told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Columns(error) => error.code(),
            Self::Empty => ErrorCode::EmptyBatch,
            Self::Series { .. } => ErrorCode::InvalidBatch,
            Self::Dictionary | Self::Shape { .. } | Self::Unordered(_) => ErrorCode::MalformedBody,
        }
    }
}

fn first_fault(faults: &[Fault]) -> String {
    faults.first().map_or_else(String::new, |fault| format!("series {}: {}", fault.index, fault.kind))
}

/// Checks a push as it arrived at `now`: names and labels by the same rules as in JSON if it brings its series list,
/// values and instants always.
///
/// All or nothing, but for samples outside the window of time, which are counted and left behind. Whether a list that
/// does not come along is known, and of as many series as there are columns, is the shard's to say.
pub fn validate_push(push: PushFrame, now: TimestampMs) -> Result<CheckedPush, PushFault> {
    let PushFrame { stream, floor, readings, host, facts, metrics, processes } = push;
    let metrics = metrics.ok_or(PushFault::Empty)?;
    let mut columns = decode_columns(&metrics.columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX)?;
    if columns.iter().all(Vec::is_empty) {
        return Err(PushFault::Empty);
    }
    if let Some(series) = &metrics.series {
        check_list(series, metrics.dictionary, columns.len())?;
    }
    check_samples(&columns)?;
    let checksum = metrics.checksum();
    let outside_window = leave_behind(&mut columns, now);
    let MetricsSection { dictionary, series, columns: as_sent } = metrics;
    let bytes = if outside_window == 0 { as_sent } else { encode_columns(&columns) };
    let batch = ListedBatch { dictionary, series, columns, bytes, checksum };
    let is_old = processes.as_ref().is_some_and(|processes| !window(now).contains(&processes.time));
    let processes = processes.filter(|_| !is_old);
    let outside_window = outside_window.saturating_add(is_old.into());
    Ok(CheckedPush { stream, floor, readings, host, facts, batch, processes, outside_window })
}

/// Checks a series list: what it is called, how many series it has, and each of them.
fn check_list(series: &[Series], id: DictionaryId, columns: usize) -> Result<(), PushFault> {
    if DictionaryId::of(&encode_series(series)) != id {
        return Err(PushFault::Dictionary);
    }
    if series.len() != columns {
        return Err(PushFault::Shape { columns, series: series.len() });
    }
    let before = std::iter::once(None).chain(series.iter().map(Some));
    collect_faults(series.iter().zip(before), |(entry, before), is_named| {
        check_series(entry, before, is_named)
    })
}

fn check_series(series: &Series, before: Option<&Series>, is_named: bool) -> Result<(), FaultKind> {
    if check_name(series.name.clone(), is_named)? != series.name {
        return Err(FaultKind::NotStored(series.name.clone()));
    }
    check_labels(&series.labels)?;
    if before.is_some_and(|before| before >= series) { Err(FaultKind::Unsorted) } else { Ok(()) }
}

/// Checks that values are finite and instants ascend.
fn check_samples(columns: &[Vec<Sample>]) -> Result<(), PushFault> {
    let is_finite = |samples: &Vec<Sample>| samples.iter().all(|sample| sample.value.is_finite());
    collect_faults(
        columns.iter(),
        |samples, _| if is_finite(samples) { Ok(()) } else { Err(FaultKind::Value) },
    )?;
    let ascends = |samples: &Vec<Sample>| samples.is_sorted_by(|a, b| a.time < b.time);
    match columns.iter().position(|samples| !ascends(samples)) {
        None => Ok(()),
        Some(at) => Err(PushFault::Unordered(at)),
    }
}

/// Checks everything of a list; collects the first faults, and how many there are. `check` is told whether a fault
/// will be named, so that the nearest known name is worth looking for.
fn collect_faults<T>(
    list: impl Iterator<Item = T>,
    check: impl Fn(T, bool) -> Result<(), FaultKind>,
) -> Result<(), PushFault> {
    let mut faults = Vec::new();
    let mut total: usize = 0;
    for (index, entry) in list.enumerate() {
        let is_named = faults.len() < FAULTS_NAMED_MAX;
        if let Err(kind) = check(entry, is_named) {
            total = total.saturating_add(1);
            if is_named {
                faults.push(Fault { index, kind });
            }
        }
    }
    if total == 0 { Ok(()) } else { Err(PushFault::Series { faults, total }) }
}

/// Drops the samples outside the window, and says how many there were.
fn leave_behind(columns: &mut [Vec<Sample>], now: TimestampMs) -> usize {
    let window = window(now);
    let mut outside: usize = 0;
    for samples in columns {
        let before = samples.len();
        samples.retain(|sample| window.contains(&sample.time));
        outside = outside.saturating_add(before.saturating_sub(samples.len()));
    }
    outside
}

#[cfg(test)]
mod tests;
