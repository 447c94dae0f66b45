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

mod bits;
mod column;
mod residuals;
mod scale;
mod times;

use crate::{
    limits::BODY_DECOMPRESSED_BYTES_MAX,
    series::{Labels, Sample, Series, SeriesSamples},
    time::TimestampMs,
};
use bits::{Reader, put_varint};

const VERSION: u8 = 1;
/// Bytes of all names and labels together, before shared beginnings are left out: twice what a body can hold.
pub const TEXT_BYTES_MAX: usize = 2 * BODY_DECOMPRESSED_BYTES_MAX;
/// Lists of instants that a series is compared with: each of thousands with a list of its own must not be quadratic.
const RECENT_LISTS: usize = 8;
/// Ends a name, a label's key and a label's value; no byte of UTF-8.
const SEPARATOR: u8 = 0xff;

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

/// Bytes of the names and labels of some series: at most [`TEXT_BYTES_MAX`] may be encoded at a time.
pub fn text_bytes(series: &[SeriesSamples]) -> usize {
    series.iter().map(|entry| name_bytes(&entry.series).len()).fold(0, usize::saturating_add)
}

/// Encodes series, each with at least one sample.
pub fn encode(series: &[SeriesSamples]) -> Columns<Vec<u8>> {
    let mut names = Vec::new();
    encode_names(series, &mut names);
    let mut lists: Vec<Vec<i64>> = Vec::new();
    let mut columns = Vec::new();
    let mut body = Vec::new();
    for entry in series {
        let list = list_of(&mut lists, entry);
        put_varint(&mut columns, list as u64);
        let values: Vec<f64> = entry.samples.iter().map(|sample| sample.value).collect();
        column::encode(&values, &mut columns, &mut body);
    }
    let mut head = vec![VERSION];
    head.append(&mut names);
    put_varint(&mut head, lists.len() as u64);
    lists.iter().for_each(|list| times::encode(list, &mut head));
    head.append(&mut columns);
    Columns { head, body }
}

/// The number of a series' list of instants. Series of one host are read together, so it is mostly the last one's.
fn list_of(lists: &mut Vec<Vec<i64>>, entry: &SeriesSamples) -> usize {
    let is_same = |list: &Vec<i64>| {
        list.len() == entry.samples.len()
            && list.iter().zip(&entry.samples).all(|(time, sample)| *time == sample.time.0)
    };
    let recent = lists.len().saturating_sub(RECENT_LISTS);
    let found = lists.get(recent..).and_then(|lists| lists.iter().rposition(is_same));
    found.map(|at| recent.saturating_add(at)).unwrap_or_else(|| {
        lists.push(entry.samples.iter().map(|sample| sample.time.0).collect());
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
    let names = decode_names(&mut head, samples_max)?;
    let lists = decode_lists(&mut head, names.len(), samples_max)?;
    let mut left = samples_max;
    let mut series = Vec::with_capacity(names.len());
    for name in names {
        let list = head.length(lists.len().saturating_sub(1))?;
        let times = lists.get(list).ok_or(CodecError::Malformed("a series without instants"))?;
        left = left.checked_sub(times.len()).ok_or(CodecError::TooLarge)?;
        let values = column::decode(times.len(), &mut head, &mut body)?;
        let sample = |(time, value): (&i64, f64)| Sample { time: TimestampMs(*time), value };
        series.push(SeriesSamples { series: name, samples: times.iter().zip(values).map(sample).collect() });
    }
    if head.is_empty() && body.is_empty() {
        Ok(series)
    } else {
        Err(CodecError::Malformed("bytes are left over"))
    }
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

fn encode_names(series: &[SeriesSamples], out: &mut Vec<u8>) {
    put_varint(out, series.len() as u64);
    let mut last: Vec<u8> = Vec::new();
    for entry in series {
        let name = name_bytes(&entry.series);
        let shared = name.iter().zip(&last).take_while(|(a, b)| a == b).count();
        let rest = name.get(shared..).unwrap_or_default();
        put_varint(out, shared as u64);
        put_varint(out, rest.len() as u64);
        out.extend(rest);
        last = name;
    }
}

fn name_bytes(series: &Series) -> Vec<u8> {
    let labels = series.labels.iter().flat_map(|(key, value)| [key, value]);
    let mut bytes = Vec::new();
    for text in std::iter::once(&series.name).chain(labels) {
        bytes.extend(text.as_bytes());
        bytes.push(SEPARATOR);
    }
    bytes
}

fn decode_names(head: &mut Reader<'_>, series_max: usize) -> Result<Vec<Series>, CodecError> {
    let count = head.length(series_max)?;
    let mut last: Vec<u8> = Vec::new();
    let mut names = Vec::new();
    // A name that shares all of a long one before it is two bytes here and many in memory.
    let mut text_bytes_left = TEXT_BYTES_MAX;
    for _ in 0..count {
        let shared = head.length(last.len())?;
        let further = head.length(head.remaining())?;
        last.truncate(shared);
        last.extend(head.bytes(further)?);
        text_bytes_left = text_bytes_left.checked_sub(last.len()).ok_or(CodecError::TooLarge)?;
        names.push(series_of(&last)?);
    }
    Ok(names)
}

fn series_of(bytes: &[u8]) -> Result<Series, CodecError> {
    let malformed = CodecError::Malformed("a series' name");
    let bytes = bytes.strip_suffix(&[SEPARATOR]).ok_or(malformed)?;
    let mut texts = bytes
        .split(|byte| *byte == SEPARATOR)
        .map(|text| std::str::from_utf8(text).map(ToOwned::to_owned).map_err(|_| malformed));
    let name = texts.next().ok_or(malformed)??;
    let mut labels = Labels::new();
    while let Some(key) = texts.next() {
        labels.insert(key?, texts.next().ok_or(malformed)??);
    }
    Ok(Series { name, labels })
}

#[cfg(test)]
mod tests;
