//! Samples as bytes: series-major columns, exact to the last bit.
//!
//! ```text
//! head  version   1 byte (2)
//!       names     varint series; each: varint bytes shared with the name before, varint further bytes, bytes
//!                 (a name is the series' name, its labels' keys and values, each ended by 0xff)
//!       columns   varint lists of instants; then lists and columns (column.rs): the flags of all, the scales of
//!                 the columns, the numbers of all
//! body            what the columns' predictions left over (residuals.rs), as symbols and raw bits (model.rs)
//! ```
//! The head repeats itself and is worth compressing; the body is not. A column is scaled to integers (scale.rs), each
//! is predicted (prediction.rs), and of what is left over the share of other columns is taken away (kin.rs).

pub(crate) mod bits;
mod column;
mod kin;
mod known;
mod model;
pub(crate) mod names;
mod prediction;
mod residuals;
pub(crate) mod scale;
mod ticks;

use crate::{
    limits::BODY_DECOMPRESSED_BYTES_MAX,
    series::{Sample, Series, SeriesSamples},
    time::TimestampMs,
};
use bits::{Reader, put_varint};
use column::{Decoder, Encoder, Values};
pub use known::known_names;
pub use names::text_bytes;
use scale::Scale;

const VERSION: u8 = 2;
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
    let series: Vec<&[Sample]> = series.collect();
    let mut lists: Vec<Vec<i64>> = Vec::new();
    let list_numbers: Vec<usize> = series.iter().map(|samples| list_of(&mut lists, samples)).collect();
    let mut encoder = Encoder::default();
    lists.iter().for_each(|list| encoder.instants(list));
    let mut values: Vec<f64> = Vec::new();
    for (samples, list) in series.iter().zip(list_numbers) {
        values.clear();
        match samples.split_first() {
            // Most columns are like that, and nothing else need be known of them.
            Some((first, rest)) if rest.iter().all(|next| next.value.to_bits() == first.value.to_bits()) => {
                encoder.value(first.value, list);
            }
            _ => {
                values.extend(samples.iter().map(|sample| sample.value));
                encoder.values(&values, list);
            }
        }
    }
    put_varint(&mut out.head, lists.len() as u64);
    encoder.finish(&mut out.head, &mut out.body);
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
    let mut found = Vec::new();
    decode_each(columns, samples_max, &mut |_| true, &mut |series| found.push(series))?;
    Ok(found)
}

/// Decodes the same and hands each series that is `wanted` to `each`, one at a time: what nobody wants takes no memory.
/// The others are read and checked all the same; on an error, what was handed over counts for nothing.
pub fn decode_each(
    columns: Columns<&[u8]>,
    samples_max: usize,
    wanted: &mut dyn FnMut(&Series) -> bool,
    each: &mut dyn FnMut(SeriesSamples),
) -> Result<(), CodecError> {
    let mut head = Reader::new(columns.head);
    let mut body = Reader::new(columns.body);
    if head.byte()? != VERSION {
        return Err(CodecError::Version);
    }
    let names = names::decode(&mut head, samples_max, TEXT_BYTES_MAX)?;
    let lists = head.length(names.len())?;
    let mut decoder = Decoder::new(lists, names.len(), &mut head, &mut body)?;
    let mut left = samples_max;
    let mut instants = Vec::new();
    for _ in 0..lists {
        let list = decoder.instants(left)?;
        left = left.saturating_sub(list.len());
        instants.push(list);
    }
    let mut left = samples_max;
    for series in names {
        let (list, flags) = decoder.list(lists)?;
        let times = instants.get(list).ok_or(CodecError::Malformed("a series without instants"))?;
        left = left.checked_sub(times.len()).ok_or(CodecError::TooLarge)?;
        let values = decoder.values(flags, times.len())?;
        if wanted(&series) {
            each(SeriesSamples { series, samples: samples(times, values) });
        }
    }
    decoder.finish()?;
    if head.is_empty() && body.is_empty() {
        Ok(())
    } else {
        Err(CodecError::Malformed("bytes are left over"))
    }
}

fn samples(times: &[i64], values: Values<'_>) -> Vec<Sample> {
    let sample = |time: &i64, value| Sample { time: TimestampMs(*time), value };
    match values {
        Values::Same(value) => times.iter().map(|time| sample(time, value)).collect(),
        // The usual scales have loops of their own.
        Values::Each(Scale::Divided(0), integers) => {
            times.iter().zip(integers).map(|(time, integer)| sample(time, *integer as f64)).collect()
        }
        Values::Each(Scale::Divided(e), integers) => {
            let power = scale::power_of_ten(e);
            times.iter().zip(integers).map(|(time, integer)| sample(time, *integer as f64 / power)).collect()
        }
        Values::Each(scale, integers) => {
            times.iter().zip(integers).map(|(time, integer)| sample(time, scale.to_value(*integer))).collect()
        }
    }
}

#[cfg(test)]
mod tests;
