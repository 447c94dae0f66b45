//! Samples of many series, a few of each, without names.

use super::PushError;
use crate::{
    codec::{
        self, CodecError, Columns,
        bits::{Reader, put_varint},
    },
    series::Sample,
};

/// What a push can have too many of.
pub(super) const SAMPLES: &str = "samples";
const SERIES: &str = "series";

/// Encodes one list of samples for every series, in the order of the series list; a list may be empty.
pub fn encode_columns(columns: &[Vec<Sample>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, columns.len() as u64);
    let mut encoded = Columns::default();
    codec::encode_samples(columns.iter().map(Vec::as_slice), &mut encoded);
    put_varint(&mut bytes, encoded.head.len() as u64);
    bytes.append(&mut encoded.head);
    bytes.append(&mut encoded.body);
    bytes
}

/// Decodes columns of at most `series_max` series with at most `samples_max` samples in all.
pub fn decode_columns(
    bytes: &[u8],
    series_max: usize,
    samples_max: usize,
) -> Result<Vec<Vec<Sample>>, PushError> {
    let mut reader = Reader::new(bytes);
    let of_series = |error| PushError::of_codec(error, SERIES, series_max);
    let of_samples = |error| PushError::of_codec(error, SAMPLES, samples_max);
    let series = reader.length(series_max).map_err(of_series)?;
    let head = reader.length(reader.remaining()).map_err(|_| PushError::Truncated)?;
    let head = reader.bytes(head).map_err(|_: CodecError| PushError::Truncated)?;
    let mut head = Reader::new(head);
    let columns = codec::decode_samples(series, &mut head, &mut reader, samples_max).map_err(of_samples)?;
    if head.is_empty() && reader.is_empty() {
        Ok(columns)
    } else {
        Err(PushError::Malformed("bytes after the columns"))
    }
}
