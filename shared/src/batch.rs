//! A batch that has passed [`crate::validate`]: the only form in which samples reach storage;
//! or a compact push's, whose series are known by their list's id.

use crate::{
    series::{Sample, Series, SeriesSamples},
    wire::push::DictionaryId,
};

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

/// Samples of one host in the order of a series list, which is there itself only where the push brought it: then it is
/// sorted, each series once. Each series has its samples in ascending order of time. Only [`crate::validate`] builds one.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedBatch {
    pub(crate) dictionary: DictionaryId,
    pub(crate) series: Option<Vec<Series>>,
    pub(crate) columns: Vec<Vec<Sample>>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) checksum: u64,
}

impl ListedBatch {
    /// The list's id.
    pub fn dictionary(&self) -> DictionaryId {
        self.dictionary
    }

    /// The list, if the push brought it; [`crate::wire::push::encode_series`] gives the bytes that have its id.
    pub fn series(&self) -> Option<&[Series]> {
        self.series.as_deref()
    }

    /// For every series of the list its samples; there may be none. Without the list nobody has yet compared how many
    /// series there are.
    pub fn columns(&self) -> &[Vec<Sample>] {
        &self.columns
    }

    /// The columns as they are stored ([`crate::wire::push::decode_columns`]): as they came, unless samples were left out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What tells it from another batch of the same identity: of the push as it came, whatever was left out.
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Samples in all series together.
    pub fn sample_count(&self) -> usize {
        self.columns.iter().map(Vec::len).fold(0, usize::saturating_add)
    }
}
