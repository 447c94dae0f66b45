//! An entropy coder that learns: a range asymmetric numeral system (rANS, Duda 2009, arXiv:0902.0271) whose
//! tables of 16 symbols follow what they have seen.
//!
//! A table holds where each symbol's share of 2^15 begins. After a symbol all beginnings move a part of the way
//! towards a table in which that symbol has nearly everything; the part shrinks from a quarter to a 64th while a
//! table is young. No table is written: whoever decodes learns the same.
//!
//! The stream: varint words · varint raw bytes · two states u32 LE · words u16 LE · raw bits, least significant first.
//! It is written last symbol first, so that it is read first symbol first. Each symbol belongs to one of two coders,
//! which share the words.

use super::{
    CodecError,
    bits::{BitReader, BitWriter, Reader, put_varint},
};

/// Symbols of a table.
pub const SYMBOLS: usize = 16;
const SHARE_BITS: u32 = 15;
/// The smallest share a symbol is driven to: 12 bits when it comes all the same.
const SHARE_MIN: i16 = 8;
/// What is to be shared beyond that.
const SPARE: i16 = (1i32 << SHARE_BITS).wrapping_sub(SYMBOLS as i32 * SHARE_MIN as i32) as i16;
/// Lower bound of the coder's state; it is filled up 16 bits at a time.
const STATE_MIN: u32 = 1 << 16;
/// How far a new table moves, as a right shift, and how far an old one does.
const RATES: std::ops::RangeInclusive<u8> = 5..=7;

/// A table of frequencies, in a cache line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Model {
    starts: [i16; SYMBOLS],
    seen: u8,
}

impl Model {
    /// A table in which every symbol has a share that is near to its weight's.
    pub fn of_weights(weights: [u32; SYMBOLS]) -> Self {
        let sum: u32 = weights.iter().fold(0, |sum: u32, weight| sum.wrapping_add(*weight)).max(1);
        let mut starts = [0; SYMBOLS];
        let (mut below, mut least) = (0u32, 0u32);
        for (start, weight) in starts.iter_mut().zip(weights) {
            let share =
                u64::from(below).wrapping_mul(SPARE as u64).checked_div(sum.into()).unwrap_or(0) as u32;
            *start = share.wrapping_add(least) as i16;
            below = below.wrapping_add(weight);
            least = least.wrapping_add(SHARE_MIN as u32);
        }
        Self { starts, seen: 0 }
    }

    /// Where a symbol's share begins, and its size.
    #[inline(always)]
    fn share(&self, symbol: usize) -> (u32, u32) {
        let start = self.starts.get(symbol).copied().unwrap_or_default();
        let end = self.starts.get(symbol.wrapping_add(1)).map_or(1 << SHARE_BITS, |end| *end as u32);
        (start as u32, end.wrapping_sub(start as u32))
    }

    /// Where a symbol's share begins, and its size; the table learns that it came.
    fn give(&mut self, symbol: usize) -> (u32, u32) {
        let share = self.share(symbol);
        let mut begun = [0; SYMBOLS];
        let up_to = symbol as i16;
        (0i16..)
            .zip(&mut begun)
            .for_each(|(number, begun)| *begun = number.wrapping_sub(up_to).wrapping_sub(1) >> 15);
        self.learn(begun);
        share
    }

    /// The symbol whose share holds `slot`, where that begins, and its size; the table learns that it came.
    #[inline(always)]
    fn take(&mut self, slot: u32) -> (usize, u32, u32) {
        // The sign of a difference instead of a comparison: what is learned need not wait for the symbol's number.
        let begun = self.starts.map(|start| start.wrapping_sub(slot as i16).wrapping_sub(1) >> 15);
        let count = begun.iter().fold(0i16, |count, begun| count.wrapping_sub(*begun));
        let symbol = usize::from(count.cast_unsigned()).wrapping_sub(1);
        let (start, size) = self.share(symbol);
        self.learn(begun);
        (symbol, start, size)
    }

    /// Moves towards the last symbol that has begun: -1 for all up to it, 0 for those above.
    #[inline(always)]
    fn learn(&mut self, begun: [i16; SYMBOLS]) {
        let rate = (*RATES.start()).wrapping_add(self.seen >> 5).min(*RATES.end());
        self.seen = self.seen.saturating_add(1);
        let half = (1i16 << rate) >> 1;
        let mut low: i16 = 0;
        for (start, begun) in self.starts.iter_mut().zip(begun) {
            let target = low.wrapping_add(SPARE & !begun);
            *start = start.wrapping_add((target.wrapping_sub(*start).wrapping_add(half)) >> rate);
            low = low.wrapping_add(SHARE_MIN);
        }
    }
}

/// Coders that take turns as the caller likes, so that a processor can follow one while the other one waits.
const CODERS: usize = 2;

/// Takes symbols and raw bits, first to last.
#[derive(Default)]
pub struct Writer {
    symbols: Vec<Written>,
    raw: BitWriter,
}

/// A symbol's share when it came, and its coder.
struct Written {
    start: u16,
    size: u16,
    coder: u16,
}

impl Writer {
    /// Appends a symbol for one of the coders; the table learns it.
    pub fn put(&mut self, coder: u16, model: &mut Model, symbol: usize) {
        let (start, size) = model.give(symbol);
        self.symbols.push(Written { start: start as u16, size: size as u16, coder });
    }

    /// Appends the lowest `count` bits of `value` as they are.
    pub fn put_raw(&mut self, value: u64, count: u32) {
        self.raw.put(value, count);
    }

    /// Appends the stream; nothing if there was no symbol.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.symbols.is_empty() {
            return;
        }
        let mut words = Vec::new();
        let mut states = [STATE_MIN; CODERS];
        for Written { start, size, coder } in self.symbols.into_iter().rev() {
            let (start, size) = (u32::from(start), u32::from(size));
            let Some(state) = states.get_mut(usize::from(coder)) else { continue };
            if *state >= size << (32 - SHARE_BITS) {
                words.push(*state as u16);
                *state >>= 16;
            }
            let quotient = state.checked_div(size).unwrap_or(0);
            let remainder = state.wrapping_sub(quotient.wrapping_mul(size));
            *state = (quotient << SHARE_BITS).wrapping_add(remainder).wrapping_add(start);
        }
        let raw = self.raw.finish();
        put_varint(out, words.len() as u64);
        put_varint(out, raw.len() as u64);
        out.extend(states.iter().flat_map(|state| state.to_le_bytes()));
        out.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
        out.extend(raw);
    }
}

/// Gives symbols and raw bits back.
#[derive(Clone)]
pub struct Source<'a> {
    states: [u32; CODERS],
    words: &'a [[u8; 2]],
    /// Words that were taken, also beyond the end.
    taken: usize,
    raw: BitReader<'a>,
    raw_bytes: usize,
}

impl<'a> Source<'a> {
    /// Reads a stream from the front of `body`.
    pub fn open(body: &mut Reader<'a>) -> Result<Self, CodecError> {
        let words = body.length(body.remaining())?;
        let raw_bytes = body.length(body.remaining())?;
        let mut states = [0; CODERS];
        for state in &mut states {
            *state = u32::from_le_bytes(body.bytes(4)?.try_into().map_err(|_| CodecError::Truncated)?);
        }
        let words = body.bytes(words.saturating_mul(2))?.as_chunks::<2>().0;
        let raw = BitReader::new(body.bytes(raw_bytes)?);
        Ok(Self { states, words, taken: 0, raw, raw_bytes })
    }

    /// The next symbol of one of the coders; the table learns it.
    #[inline(always)]
    pub fn symbol<const CODER: usize>(&mut self, model: &mut Model) -> usize {
        const { assert!(CODER < CODERS) };
        let state = self.states.get(CODER).copied().unwrap_or_default();
        let slot = state & ((1 << SHARE_BITS) - 1);
        let (symbol, start, size) = model.take(slot);
        let state = size.wrapping_mul(state >> SHARE_BITS).wrapping_add(slot).wrapping_sub(start);
        // Without a branch: whether a word is needed cannot be foreseen.
        let word = u16::from_le_bytes(self.words.get(self.taken).copied().unwrap_or_default());
        let is_low = state < STATE_MIN;
        self.taken = self.taken.wrapping_add(usize::from(is_low));
        if let Some(kept) = self.states.get_mut(CODER) {
            *kept = if is_low { (state << 16) | u32::from(word) } else { state };
        }
        symbol
    }

    /// The next `count` bits.
    #[inline(always)]
    pub fn raw(&mut self, count: u32) -> u64 {
        self.raw.take(count)
    }

    /// Whether all that was taken was there.
    pub fn check(&self) -> Result<(), CodecError> {
        let is_short =
            self.taken > self.words.len() || self.raw.position() > self.raw_bytes.saturating_mul(8);
        if is_short { Err(CodecError::Truncated) } else { Ok(()) }
    }

    /// Whether it ends where its writer ended.
    pub fn finish(self) -> Result<(), CodecError> {
        self.check()?;
        let is_read = self.raw.position().div_ceil(8) == self.raw_bytes && self.taken == self.words.len();
        if is_read && self.states == [STATE_MIN; CODERS] {
            Ok(())
        } else {
            Err(CodecError::Malformed("symbols do not end where they should"))
        }
    }
}
