//! What a prediction left over, as unsigned numbers that are mostly small.
//!
//! A number is a token and raw bits: below 4 the token is the number; above, the
//! token says its length and its second-highest bit, the rest follows raw. Tokens
//! are coded by a static range asymmetric numeral system (rANS, Duda 2009,
//! arXiv:0902.0271) with a table of its own for every column; a column that is too
//! short for a table is a row of varints.

use super::{
    CodecError,
    bits::{BitReader, BitWriter, Reader, put_varint},
};

/// Tokens that there are: 0…3, and two for every length from 3 to 64 bits.
const TOKENS: usize = 128;
/// Lower bound of the coder's state; it is filled up 16 bits at a time.
const STATE_MIN: u32 = 1 << 16;
/// Bounds of the table's size, as a power of 2: a longer column earns a finer one, and each of [`TOKENS`] has room.
const TABLE_BITS: std::ops::RangeInclusive<u32> = 7..=11;
const _: () = assert!(TOKENS <= 1 << *TABLE_BITS.start());
/// Shorter columns are varints.
const TABLE_LENGTH_MIN: usize = 24;

fn token_of(value: u64) -> (usize, u32) {
    if value < 4 {
        return (value as usize, 0);
    }
    let raw_bits = 62u32.saturating_sub(value.leading_zeros());
    let second = (value >> raw_bits) & 1;
    ((raw_bits as usize).wrapping_mul(2).wrapping_add(2).wrapping_add(second as usize), raw_bits)
}

/// Undoes [`token_of`]: the number without its raw bits, and how many there are.
fn base_of(token: usize) -> (u64, u32) {
    if token < 4 {
        return (token as u64, 0);
    }
    let raw_bits = ((token.wrapping_sub(2)) / 2) as u32;
    ((2 | (token as u64 & 1)) << raw_bits, raw_bits)
}

/// How residuals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    /// All are zero: nothing is written.
    Zeros,
    /// Varints in the head.
    Varints,
    /// A table in the head, tokens and raw bits in the body.
    Table,
}

/// Writes residuals and says how: small things to `head`, the bulk to `body`.
pub fn encode(residuals: &[u64], head: &mut Vec<u8>, body: &mut Vec<u8>) -> Coder {
    if residuals.iter().all(|residual| *residual == 0) {
        return Coder::Zeros;
    }
    if residuals.len() >= TABLE_LENGTH_MIN {
        encode_table(residuals, head, body);
        return Coder::Table;
    }
    residuals.iter().for_each(|residual| put_varint(head, *residual));
    Coder::Varints
}

/// Reads `count` residuals and hands each to `each`.
pub fn decode(
    coder: Coder,
    count: usize,
    head: &mut Reader<'_>,
    body: &mut Reader<'_>,
    mut each: impl FnMut(u64),
) -> Result<(), CodecError> {
    match coder {
        Coder::Zeros => (0..count).for_each(|_| each(0)),
        Coder::Varints => {
            for _ in 0..count {
                each(head.varint()?);
            }
        }
        Coder::Table => decode_table(count, head, body, each)?,
    }
    Ok(())
}

/// A token's share of the table.
#[derive(Clone, Copy, Default)]
struct Share {
    start: u32,
    frequency: u32,
}

fn encode_table(residuals: &[u64], head: &mut Vec<u8>, body: &mut Vec<u8>) {
    let mut counts = [0u32; TOKENS];
    for residual in residuals {
        if let Some(count) = counts.get_mut(token_of(*residual).0) {
            *count = count.saturating_add(1);
        }
    }
    let table_bits = table_bits(residuals.len());
    let frequencies = normalized(&counts, residuals.len() as u64, table_bits);
    let shares = shares(&frequencies);
    write_frequencies(&frequencies, table_bits, head);

    let mut raw = BitWriter::default();
    for residual in residuals {
        let (_, raw_bits) = token_of(*residual);
        raw.put(*residual, raw_bits);
    }
    let mut words = Vec::new();
    let mut state = STATE_MIN;
    for residual in residuals.iter().rev() {
        let share = shares.get(token_of(*residual).0).copied().unwrap_or_default();
        // A share of the whole table does not fit 32 bits here; the state is below it anyway.
        if u64::from(state) >= u64::from(share.frequency) << 32u32.saturating_sub(table_bits) {
            words.push(state as u16);
            state >>= 16;
        }
        let (quotient, remainder) = (
            state.checked_div(share.frequency).unwrap_or(0),
            state.checked_rem(share.frequency).unwrap_or(0),
        );
        state = (quotient << table_bits).wrapping_add(remainder).wrapping_add(share.start);
    }
    let raw = raw.finish();
    put_varint(head, words.len() as u64);
    put_varint(head, raw.len() as u64);
    body.extend(state.to_le_bytes());
    words.iter().rev().for_each(|word| body.extend(word.to_le_bytes()));
    body.extend(raw);
}

fn decode_table(
    count: usize,
    head: &mut Reader<'_>,
    body: &mut Reader<'_>,
    mut each: impl FnMut(u64),
) -> Result<(), CodecError> {
    let (table_bits, slots) = read_slots(head)?;
    // A state gives at least one token a word, and no column is longer than what its counts allow.
    let words = head.length(count.saturating_mul(2))?;
    let raw_bytes = head.length(count.saturating_mul(8))?;
    let mut state = u32::from_le_bytes(body.bytes(4)?.try_into().map_err(|_| CodecError::Truncated)?);
    let words = body.bytes(words.saturating_mul(2))?;
    let mut words = words.as_chunks::<2>().0.iter();
    let raw = body.bytes(raw_bytes)?;
    let mut bits = BitReader::new(raw);
    let mask = (1u32 << table_bits).wrapping_sub(1);
    for _ in 0..count {
        let slot = slots.get((state & mask) as usize).copied().unwrap_or_default();
        state = slot.frequency.wrapping_mul(state >> table_bits).wrapping_add(slot.offset);
        if state < STATE_MIN {
            let word = words.next().ok_or(CodecError::Truncated)?;
            state = (state << 16) | u32::from(u16::from_le_bytes(*word));
        }
        each(slot.base | bits.take(slot.raw_bits));
    }
    let is_whole =
        bits.position() <= raw_bytes.saturating_mul(8) && state == STATE_MIN && words.next().is_none();
    if is_whole { Ok(()) } else { Err(CodecError::Malformed("residuals do not end where they should")) }
}

/// One slot of the decoding table.
#[derive(Clone, Copy, Default)]
struct Slot {
    base: u64,
    frequency: u32,
    /// Position within the token's share.
    offset: u32,
    raw_bits: u32,
}

fn read_slots(head: &mut Reader<'_>) -> Result<(u32, Vec<Slot>), CodecError> {
    let table_bits = u32::from(head.byte()?);
    if !TABLE_BITS.contains(&table_bits) {
        return Err(CodecError::Malformed("a table of an unknown size"));
    }
    let size = 1usize << table_bits;
    let first = head.length(TOKENS.saturating_sub(1))?;
    let tokens = head.length(TOKENS.saturating_sub(first))?;
    let mut slots = Vec::with_capacity(size);
    for token in first..first.saturating_add(tokens) {
        let frequency = head.length(size.saturating_sub(slots.len()))?;
        let (base, raw_bits) = base_of(token);
        let frequency_32 = frequency as u32;
        slots.extend((0..frequency_32).map(|offset| Slot {
            base,
            frequency: frequency_32,
            offset,
            raw_bits,
        }));
    }
    if slots.len() != size {
        return Err(CodecError::Malformed("a table whose shares do not fill it"));
    }
    Ok((table_bits, slots))
}

fn table_bits(length: usize) -> u32 {
    length.ilog2().clamp(*TABLE_BITS.start(), *TABLE_BITS.end())
}

/// Frequencies that add up to the table's size, none of a token that occurs zero.
fn normalized(counts: &[u32; TOKENS], total: u64, table_bits: u32) -> [u32; TOKENS] {
    let size = 1u32 << table_bits;
    let mut frequencies = [0; TOKENS];
    let mut given: u32 = 0;
    for (frequency, count) in frequencies.iter_mut().zip(counts) {
        if *count > 0 {
            let exact = u64::from(*count).saturating_mul(size.into()).checked_div(total).unwrap_or(0);
            *frequency = (exact as u32).max(1);
            given = given.saturating_add(*frequency);
        }
    }
    // What rounding left over, or took too much, is settled with the most frequent tokens.
    while given != size {
        let Some(largest) = frequencies.iter_mut().max() else { break };
        if given < size {
            *largest = largest.saturating_add(size.saturating_sub(given));
            given = size;
        } else {
            let too_much = given.saturating_sub(size).min(*largest / 2).max(1);
            *largest = largest.saturating_sub(too_much);
            given = given.saturating_sub(too_much);
        }
    }
    frequencies
}

fn shares(frequencies: &[u32; TOKENS]) -> [Share; TOKENS] {
    let mut shares = [Share::default(); TOKENS];
    let mut start: u32 = 0;
    for (share, frequency) in shares.iter_mut().zip(frequencies) {
        *share = Share { start, frequency: *frequency };
        start = start.saturating_add(*frequency);
    }
    shares
}

fn write_frequencies(frequencies: &[u32; TOKENS], table_bits: u32, head: &mut Vec<u8>) {
    let first = frequencies.iter().position(|frequency| *frequency > 0).unwrap_or_default();
    let end =
        frequencies.iter().rposition(|frequency| *frequency > 0).map_or(first, |last| last.saturating_add(1));
    head.push(table_bits as u8);
    put_varint(head, first as u64);
    put_varint(head, end.saturating_sub(first) as u64);
    let present = frequencies.get(first..end).unwrap_or_default();
    present.iter().for_each(|frequency| put_varint(head, u64::from(*frequency)));
}
