//! A batch that has passed [`crate::validate`]: the only form in which samples reach storage.

use crate::series::SeriesSamples;

/// Samples of one host, grouped by series (sorted, each once), each series in
/// ascending order of time with every instant once. Only [`crate::validate`] builds one.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub(crate) series: Vec<SeriesSamples>,
}

impl Batch {
    /// The series with their samples.
    pub fn series(&self) -> &[SeriesSamples] {
        &self.series
    }

    /// Samples in all series together.
    pub fn sample_count(&self) -> usize {
        self.series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add)
    }
}
