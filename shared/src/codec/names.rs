//! Names and labels of a list of series, each by what it shares with the one before.

use super::{
    CodecError,
    bits::{Reader, put_varint},
};
use crate::{
    limits::LABELS_MAX,
    series::{Labels, Series, SeriesSamples},
};

/// Ends a name, a label's key and a label's value; no byte of UTF-8.
pub const SEPARATOR: u8 = 0xff;

/// Bytes of the names and labels of some series: at most [`super::TEXT_BYTES_MAX`] may be encoded at a time.
pub fn text_bytes(series: &[SeriesSamples]) -> usize {
    series.iter().map(|entry| name_bytes(&entry.series).len()).fold(0, usize::saturating_add)
}

/// Appends a list of series.
pub fn encode<'a>(series: impl ExactSizeIterator<Item = &'a Series>, out: &mut Vec<u8>) {
    put_varint(out, series.len() as u64);
    let mut last: Vec<u8> = Vec::new();
    for entry in series {
        let name = name_bytes(entry);
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

/// Reads a list of at most `series_max` series with at most `text_bytes_max` bytes of names and labels.
pub fn decode(
    head: &mut Reader<'_>,
    series_max: usize,
    text_bytes_max: usize,
) -> Result<Vec<Series>, CodecError> {
    let count = head.length(series_max)?;
    let mut last: Vec<u8> = Vec::new();
    let mut names = Vec::new();
    // A name that shares all of a long one before it is two bytes here and many in memory.
    let mut text_bytes_left = text_bytes_max;
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
        // One too many is validation's to tell; many of a byte each take far more memory than their text.
        if labels.len() > LABELS_MAX.saturating_add(1) {
            return Err(CodecError::TooLarge);
        }
    }
    Ok(Series { name, labels })
}
