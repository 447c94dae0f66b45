//! A series is a name and sorted labels; a sample is an instant and a value.

use crate::time::TimestampMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Labels of a series, sorted by key, every key once.
pub type Labels = BTreeMap<String, String>;

/// What a line in a graph is identified by, within one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// Prometheus-legal name.
    pub name: String,
    /// Sorted labels, without `host`.
    pub labels: Labels,
}

impl Series {
    /// Bytes of its name and labels.
    pub fn text_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(key, value)| key.len().saturating_add(value.len()));
        labels.fold(self.name.len(), usize::saturating_add)
    }

    /// Whether the series has each of these labels.
    pub fn has(&self, labels: &Labels) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was taken.
    pub time: TimestampMs,
    /// Finite.
    pub value: f64,
}

/// A series with samples in ascending order of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesSamples {
    /// Which series.
    pub series: Series,
    /// Its samples.
    pub samples: Vec<Sample>,
}
