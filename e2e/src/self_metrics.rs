//! `/metrics`, read.

use std::collections::BTreeMap;

/// Every line of a scrape: name and labels as they are printed, and the value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Reads Prometheus' text format, of which Edgewatch uses neither timestamps nor spaces in labels.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
            (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number in {line:?}")))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).map(line).collect())
    }

    /// The value of a series; 0 if there is no such line.
    pub fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    /// `edgewatch_refused_total` of a reason.
    pub fn refused(&self, reason: &str) -> f64 {
        self.get(&format!("edgewatch_refused_total{{reason=\"{reason}\"}}"))
    }

    /// Rows written to shards and to D1.
    pub fn rows_written(&self) -> (f64, f64) {
        let rows = |store| self.get(&format!("edgewatch_storage_rows_written_total{{store=\"{store}\"}}"));
        (rows("shard"), rows("d1"))
    }

    /// The series that have a lower value than in an `earlier` scrape, or are gone.
    pub fn jumped_back_since(&self, earlier: &Self) -> Vec<String> {
        let lower =
            |(series, value): &(&String, &f64)| self.0.get(*series).is_none_or(|later| later < *value);
        earlier.0.iter().filter(lower).map(|(series, _)| series.clone()).collect()
    }
}
