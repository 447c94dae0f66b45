//! Samples of many series, a few of each, without names.
//!
//! ```text
//! varint series
//! bits   number lists; each: number instants, and these as integers
//!        for every series: its list (nothing if there is one list; else one bit whether it is another than the last
//!        series', and if so as many bits as the highest number of a list has), and if the list has instants
//!        the kind, the scale (one bit whether it is another than before, and if so six) unless all is zero, the rest
//!        of the integers
//! ```
//! What a number, a kind and integers are stands in `integers.rs`. Nothing here is worth compressing further.

use super::{
    PushError,
    integers::{self, Kind, Plan},
};
use crate::{
    codec::{
        bits::{BitReader, BitWriter, Reader, put_varint},
        list_of,
        scale::Scale,
    },
    series::Sample,
    time::TimestampMs,
};

/// What a push can have too many of.
pub(super) const SAMPLES: &str = "samples";
const SERIES: &str = "series";
const BROKEN: PushError = PushError::Malformed("columns that no encoder writes");

/// Encodes one list of samples for every series, in the order of the series list; a list may be empty.
pub fn encode_columns(columns: &[Vec<Sample>]) -> Vec<u8> {
    let mut lists = Vec::new();
    let places: Vec<usize> = columns.iter().map(|samples| list_of(&mut lists, samples)).collect();
    let mut bits = BitWriter::default();
    let mut state = State::default();
    integers::put_number(lists.len() as u64, &mut bits);
    for list in &lists {
        integers::put_number(list.len() as u64, &mut bits);
        if !list.is_empty() {
            let plan = Plan::of(list);
            plan.kind.write(&mut bits);
            plan.write(&mut state.shift, &mut bits);
        }
    }
    for (samples, place) in columns.iter().zip(places) {
        if lists.len() > 1 {
            bits.put(u64::from(place != state.list), 1);
            if place != state.list {
                bits.put(place as u64, place_bits(lists.len()));
                state.list = place;
            }
        }
        if !samples.is_empty() {
            encode_column(samples, &mut state, &mut bits);
        }
    }
    let mut bytes = Vec::new();
    put_varint(&mut bytes, columns.len() as u64);
    bytes.extend(bits.finish());
    bytes
}

/// What a column is told by saying that it is as the last one's. All begin with zero.
#[derive(Default)]
struct State {
    list: usize,
    scale: u32,
    shift: u32,
}

/// Bits of the place of one out of so many lists.
fn place_bits(lists: usize) -> u32 {
    usize::BITS.saturating_sub(lists.saturating_sub(1).leading_zeros())
}

fn encode_column(samples: &[Sample], state: &mut State, bits: &mut BitWriter) {
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    let scale = Scale::of(&values);
    let integers: Vec<i64> = values.iter().map(|value| scale.to_integer(*value)).collect();
    let plan = Plan::of(&integers);
    plan.kind.write(bits);
    if plan.kind != Kind::Zeros {
        integers::put_or_repeat(scale.to_byte().into(), &mut state.scale, bits);
        plan.write(&mut state.shift, bits);
    }
}

/// Decodes columns of at most `series_max` series with at most `samples_max` samples in all.
pub fn decode_columns(
    bytes: &[u8],
    series_max: usize,
    samples_max: usize,
) -> Result<Vec<Vec<Sample>>, PushError> {
    let too_many_samples = PushError::TooLarge { what: SAMPLES, max: samples_max };
    let mut reader = Reader::new(bytes);
    let of_series = |error| PushError::of_codec(error, SERIES, series_max);
    let series = reader.length(series_max).map_err(of_series)?;
    let bytes = reader.bytes(reader.remaining()).map_err(of_series)?;
    let mut bits = BitReader::new(bytes);
    let mut state = State::default();
    let lists = decode_lists(&mut bits, &mut state, series, samples_max)?;
    let mut left = samples_max;
    let mut columns = Vec::with_capacity(series);
    for _ in 0..series {
        if lists.len() > 1 && bits.take(1) == 1 {
            state.list = bits.take(place_bits(lists.len())) as usize;
        }
        let times = lists.get(state.list).ok_or(BROKEN)?;
        left = left.checked_sub(times.len()).ok_or_else(|| too_many_samples.clone())?;
        columns.push(decode_column(times, &mut state, &mut bits)?);
    }
    // All of the bytes, and in the last one nothing but zeros after the end.
    let end = bits.position();
    let spare = bytes.len().saturating_mul(8).checked_sub(end).ok_or(PushError::Truncated)?;
    if spare < 8 && bits.take(7) == 0 { Ok(columns) } else { Err(BROKEN) }
}

fn decode_lists(
    bits: &mut BitReader<'_>,
    state: &mut State,
    series: usize,
    samples_max: usize,
) -> Result<Vec<Vec<i64>>, PushError> {
    let count = integers::take_number(bits).ok_or(BROKEN)?;
    if count > series as u64 {
        return Err(BROKEN);
    }
    let mut left = samples_max;
    let mut lists = Vec::new();
    for _ in 0..count {
        let length = integers::take_number(bits).ok_or(BROKEN)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= left);
        let length = length.ok_or(PushError::TooLarge { what: SAMPLES, max: samples_max })?;
        left = left.saturating_sub(length);
        let mut list = Vec::with_capacity(length);
        if length > 0 {
            let kind = Kind::read(bits);
            integers::read(kind, length, &mut state.shift, bits, |time| list.push(time)).ok_or(BROKEN)?;
        }
        lists.push(list);
    }
    Ok(lists)
}

fn decode_column(
    times: &[i64],
    state: &mut State,
    bits: &mut BitReader<'_>,
) -> Result<Vec<Sample>, PushError> {
    let mut samples = Vec::with_capacity(times.len());
    if times.is_empty() {
        return Ok(samples);
    }
    let kind = Kind::read(bits);
    let mut scale = Scale::Divided(0);
    if kind != Kind::Zeros {
        let byte = u8::try_from(integers::take_or_repeat(&mut state.scale, bits)).map_err(|_| BROKEN)?;
        scale = Scale::from_byte(byte).ok_or(BROKEN)?;
    }
    let mut instants = times.iter();
    let each = |integer| {
        let time = TimestampMs(instants.next().copied().unwrap_or_default());
        samples.push(Sample { time, value: scale.to_value(integer) });
    };
    integers::read(kind, times.len(), &mut state.shift, bits, each).ok_or(BROKEN)?;
    Ok(samples)
}
