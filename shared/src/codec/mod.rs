//! Samples as bytes: series-major columns, exact to the last bit.
//!
//! ```text
//! head  version   1 byte (1)
//!       names     varint series; each: varint bytes shared with the name before, varint further bytes, bytes
//!                 (a name is the series' name, its labels' keys and values, each ended by 0xff)
//!       instants  varint lists; the lists (times.rs)
//!       columns   for every series the varint number of its list, and its column (column.rs)
//! body            tokens and raw bits of the columns (residuals.rs)
//! ```
//! The head repeats itself and is worth compressing; the body is not.

pub(crate) mod bits;
mod column;
pub(crate) mod names;
mod residuals;
pub(crate) mod scale;
mod times;

use crate::{
    limits::BODY_DECOMPRESSED_BYTES_MAX,
    series::{Sample, SeriesSamples},
    time::TimestampMs,
};
use bits::{Reader, put_varint};
pub use names::text_bytes;

const VERSION: u8 = 1;
/// Bytes of all names and labels together, before shared beginnings are left out: twice what a body can hold.
pub const TEXT_BYTES_MAX: usize = 2 * BODY_DECOMPRESSED_BYTES_MAX;
/// Lists of instants that a series is compared with: each of thousands with a list of its own must not be quadratic.
const RECENT_LISTS: usize = 8;

/// Why bytes are not samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a release that this one does not know.
    #[error("columns of an unknown version")]
    Version,
    /// The end is missing.
    #[error("columns end too early")]
    Truncated,
    /// More than the caller allows, or a length that cannot be.
    #[error("columns with more than is allowed")]
    TooLarge,
    /// Something else that no encoder writes.
    #[error("malformed columns: {0}")]
    Malformed(&'static str),
}

/// The parts of encoded samples: what is worth compressing, and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns<T> {
    /// Names, instants and what describes the columns.
    pub head: T,
    /// The bulk.
    pub body: T,
}

/// Encodes series, each with at least one sample.
pub fn encode(series: &[SeriesSamples]) -> Columns<Vec<u8>> {
    let mut columns = Columns { head: vec![VERSION], body: Vec::new() };
    names::encode(series.iter().map(|entry| &entry.series), &mut columns.head);
    encode_samples(series.iter().map(|entry| entry.samples.as_slice()), &mut columns);
    columns
}

/// Appends lists of samples without the names of their series.
fn encode_samples<'a>(series: impl Iterator<Item = &'a [Sample]>, out: &mut Columns<Vec<u8>>) {
    let mut lists: Vec<Vec<i64>> = Vec::new();
    let mut columns = Vec::new();
    for samples in series {
        let list = list_of(&mut lists, samples);
        put_varint(&mut columns, list as u64);
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        column::encode(&values, &mut columns, &mut out.body);
    }
    put_varint(&mut out.head, lists.len() as u64);
    lists.iter().for_each(|list| times::encode(list, &mut out.head));
    out.head.append(&mut columns);
}

/// The number of a series' list of instants. Series of one host are read together, so it is mostly the last one's.
pub(crate) fn list_of(lists: &mut Vec<Vec<i64>>, samples: &[Sample]) -> usize {
    let is_same = |list: &Vec<i64>| {
        list.len() == samples.len() && list.iter().zip(samples).all(|(time, sample)| *time == sample.time.0)
    };
    let recent = lists.len().saturating_sub(RECENT_LISTS);
    let found = lists.get(recent..).and_then(|lists| lists.iter().rposition(is_same));
    found.map(|at| recent.saturating_add(at)).unwrap_or_else(|| {
        lists.push(samples.iter().map(|sample| sample.time.0).collect());
        lists.len().saturating_sub(1)
    })
}

/// Decodes series with at most `samples_max` samples in all.
pub fn decode(columns: Columns<&[u8]>, samples_max: usize) -> Result<Vec<SeriesSamples>, CodecError> {
    let mut head = Reader::new(columns.head);
    let mut body = Reader::new(columns.body);
    if head.byte()? != VERSION {
        return Err(CodecError::Version);
    }
    let names = names::decode(&mut head, samples_max, TEXT_BYTES_MAX)?;
    let samples = decode_samples(names.len(), &mut head, &mut body, samples_max)?;
    if head.is_empty() && body.is_empty() {
        let together = |(series, samples)| SeriesSamples { series, samples };
        Ok(names.into_iter().zip(samples).map(together).collect())
    } else {
        Err(CodecError::Malformed("bytes are left over"))
    }
}

/// Reads the lists of samples of so many series.
fn decode_samples(
    series: usize,
    head: &mut Reader<'_>,
    body: &mut Reader<'_>,
    samples_max: usize,
) -> Result<Vec<Vec<Sample>>, CodecError> {
    let lists = decode_lists(head, series, samples_max)?;
    let mut left = samples_max;
    let mut columns = Vec::with_capacity(series);
    for _ in 0..series {
        let list = head.length(lists.len().saturating_sub(1))?;
        let times = lists.get(list).ok_or(CodecError::Malformed("a series without instants"))?;
        left = left.checked_sub(times.len()).ok_or(CodecError::TooLarge)?;
        let values = column::decode(times.len(), head, body)?;
        let sample = |(time, value): (&i64, f64)| Sample { time: TimestampMs(*time), value };
        columns.push(times.iter().zip(values).map(sample).collect());
    }
    Ok(columns)
}

fn decode_lists(
    head: &mut Reader<'_>,
    lists_max: usize,
    samples_max: usize,
) -> Result<Vec<Vec<i64>>, CodecError> {
    let count = head.length(lists_max)?;
    let mut left = samples_max;
    let mut lists = Vec::new();
    for _ in 0..count {
        let list = times::decode(head, left)?;
        left = left.saturating_sub(list.len());
        lists.push(list);
    }
    Ok(lists)
}

#[cfg(test)]
mod tests;
