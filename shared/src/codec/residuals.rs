//! What a prediction left over, as symbols and raw bits.
//!
//! A residual is the length of its magnitude in bits, its sign, up to three bits below the highest one, and the
//! rest raw. The length is one symbol, told relative to what the column had lately; sign and upper bits are
//! another. All columns of a chunk share the tables, since lengths relative to what is usual look much alike.

use super::model::{Model, SYMBOLS, Source, Writer};

/// Lengths told directly: a symbol beyond stands for the others, which follow raw.
const ESCAPE: usize = SYMBOLS - 1;
/// Raw bits of a length that no symbol stands for.
const LENGTH_BITS: u32 = 6;
/// Where the usual length lies among the symbols.
const MIDDLE: u32 = 7;
/// Bits below the highest one that are not raw.
const UPPER_BITS: u32 = 3;
/// The coder of lengths, which the next length's table waits for, and the one of all else.
const LENGTHS: usize = 0;
const UPPERS: usize = 1;
/// Usual lengths below [`MIDDLE`] in halves of a bit, then two for all others; each by what came last.
const CONTEXTS: usize = (2 * MIDDLE as usize + 2) * TRENDS as usize;
/// What came last: nothing, something shorter than usual, or not.
const TRENDS: u32 = 3;
/// Lengths of which all bits below the highest one are upper bits; 0 is one of them.
const SHORTS: usize = 4;
const _: () = assert!(SHORTS == UPPER_BITS as usize + 1);
/// A table for each of the shorts, and one for every symbol of a length.
const SHAPES: usize = SHORTS + SYMBOLS;

/// The tables of a chunk.
pub struct Tables {
    lengths: [Model; CONTEXTS],
    uppers: [Model; SHAPES],
    offsets: [Model; 8],
}

impl Default for Tables {
    fn default() -> Self {
        let mut lengths = [Model::of_weights([1; SYMBOLS]); CONTEXTS];
        for (context, model) in lengths.iter_mut().enumerate() {
            *model = Model::of_weights(expected_lengths(context as u32));
        }
        let mut uppers = [Model::of_weights([1; SYMBOLS]); SHAPES];
        for (length, model) in uppers.iter_mut().enumerate().take(SHORTS) {
            // Shorter residuals have fewer upper bits.
            let mut weights = [0; SYMBOLS];
            weights.iter_mut().take(1 << length).for_each(|weight| *weight = 1);
            *model = Model::of_weights(weights);
        }
        // Most integers lie where their tick begins, or at the next one.
        let mut weights = [1; SYMBOLS];
        weights.iter_mut().skip(super::ticks::ON_TIME as usize).take(2).for_each(|weight| *weight = 64);
        Self { lengths, uppers, offsets: [Model::of_weights(weights); 8] }
    }
}

/// What is expected of a length before anything has been seen: that it is near the usual one.
fn expected_lengths(context: u32) -> [u32; SYMBOLS] {
    let (usual, trend) = ((context / TRENDS).wrapping_mul(2), context % TRENDS);
    let mut weights = [0; SYMBOLS];
    for (symbol, weight) in weights.iter_mut().enumerate() {
        let quarters = (symbol as u32).wrapping_mul(4).abs_diff(usual.wrapping_add(1));
        *weight = (1u32 << 16) >> (quarters / 3).min(12);
    }
    if let (0, Some(zero)) = (trend, weights.first_mut()) {
        *zero = (*zero).max(1 << 15);
    }
    weights
}

/// How long a column's residuals were lately.
struct Recent {
    /// 64ths of a bit.
    fast: u32,
    /// The same, over a longer time.
    slow: u32,
    last: u32,
}

impl Recent {
    fn new(length: u8) -> Self {
        let usual = u32::from(length) << 6;
        Self { fast: usual, slow: usual, last: length.into() }
    }

    fn see(&mut self, length: u32) {
        let now = length << 6;
        self.fast = self.fast.wrapping_add(now >> 1).wrapping_sub(self.fast >> 1);
        self.slow = self.slow.wrapping_add(now >> 4).wrapping_sub(self.slow >> 4);
        self.last = length;
    }

    /// The usual length in quarters of a bit.
    fn usual(&self) -> u32 {
        (self.fast.wrapping_add(self.slow.wrapping_mul(3))) >> 6
    }

    /// The table for the next length, and the length that its first symbol after zero stands for, less one.
    fn context(&self) -> (usize, u32) {
        let usual = self.usual();
        let whole = usual >> 2;
        let trend = if self.last == 0 {
            0
        } else if (self.last << 2) < usual {
            1
        } else {
            2
        };
        // Once the base follows the length, only whether that is nearer to the next one matters.
        let (halves, base) = if whole < MIDDLE {
            (usual >> 1, 0)
        } else {
            ((2 * MIDDLE) | ((usual >> 1) & 1), whole.wrapping_sub(MIDDLE))
        };
        (halves.wrapping_mul(TRENDS).wrapping_add(trend) as usize, base)
    }
}

/// Bits of a magnitude.
fn length_of(magnitude: u64) -> u32 {
    64u32.saturating_sub(magnitude.leading_zeros())
}

/// What the residuals of a column begin with: their mean length.
pub fn usual_length(residuals: &[i64]) -> u8 {
    let lengths = residuals.iter().map(|residual| u64::from(length_of(residual.unsigned_abs())));
    let sum: u64 = lengths.fold(0, u64::wrapping_add);
    sum.checked_div(residuals.len() as u64).unwrap_or(0) as u8
}

fn symbol_of(length: u32, base: u32) -> usize {
    let above = length.wrapping_sub(base);
    match length {
        0 => 0,
        _ if length > base && (above as usize) < ESCAPE => above as usize,
        _ => ESCAPE,
    }
}

/// The table for sign and upper bits of a residual so long.
fn shape(length: u32, symbol: usize) -> usize {
    if length <= UPPER_BITS { length as usize } else { symbol.wrapping_add(SHORTS) }
}

impl Tables {
    /// Writes the residuals of a column whose usual length is told elsewhere.
    pub fn encode(&mut self, residuals: &[i64], usual_length: u8, out: &mut Writer) {
        let mut recent = Recent::new(usual_length);
        for residual in residuals {
            let magnitude = residual.unsigned_abs();
            let length = length_of(magnitude);
            let (context, base) = recent.context();
            let symbol = symbol_of(length, base);
            if let Some(model) = self.lengths.get_mut(context) {
                out.put(LENGTHS as u16, model, symbol);
            }
            if symbol == ESCAPE {
                out.put_raw(u64::from(length.wrapping_sub(1)), LENGTH_BITS);
            }
            if length > 0 {
                let below = length.wrapping_sub(1);
                let upper_bits = below.min(UPPER_BITS);
                let raw_bits = below.wrapping_sub(upper_bits);
                let upper = (magnitude >> raw_bits) & (1u64 << upper_bits).wrapping_sub(1);
                let sign = u64::from(*residual < 0);
                if let Some(model) = self.uppers.get_mut(shape(length, symbol)) {
                    out.put(UPPERS as u16, model, ((upper << 1) | sign) as usize);
                }
                out.put_raw(magnitude, raw_bits);
            }
            recent.see(length);
        }
    }

    /// Writes distances from ticks, each with its table's number.
    pub fn encode_offsets(&mut self, offsets: impl Iterator<Item = (usize, usize)>, out: &mut Writer) {
        for (table, offset) in offsets {
            if let Some(model) = self.offsets.get_mut(table) {
                out.put(UPPERS as u16, model, offset);
            }
        }
    }

    /// Reads a distance from a tick.
    pub fn decode_offset(&mut self, table: usize, source: &mut Source<'_>) -> usize {
        self.offsets.get_mut(table).map_or(0, |model| source.symbol::<UPPERS>(model))
    }

    /// Reads residuals until `rests`, which are zeros, are full. What is read beyond the end is for the source to tell.
    pub fn decode(&mut self, rests: &mut [i64], usual_length: u8, source: &mut Source<'_>) {
        let mut recent = Recent::new(usual_length);
        for rest in rests {
            let (context, base) = recent.context();
            let Some(model) = self.lengths.get_mut(context) else { return };
            let symbol = source.symbol::<LENGTHS>(model);
            let length = match symbol {
                0 => 0,
                ESCAPE => (source.raw(LENGTH_BITS) as u32).wrapping_add(1),
                above => (above as u32).wrapping_add(base).min(64),
            };
            recent.see(length);
            if length == 0 {
                continue;
            }
            let below = length.wrapping_sub(1);
            let upper_bits = below.min(UPPER_BITS);
            let raw_bits = below.wrapping_sub(upper_bits);
            let Some(model) = self.uppers.get_mut(shape(length, symbol)) else { return };
            let both = source.symbol::<UPPERS>(model) as u64;
            let upper = (1u64 << upper_bits) | ((both >> 1) & (1u64 << upper_bits).wrapping_sub(1));
            let magnitude = ((upper << raw_bits) | source.raw(raw_bits)).cast_signed();
            // Without a branch: signs cannot be foreseen.
            let negative = (both & 1).cast_signed().wrapping_neg();
            *rest = (magnitude ^ negative).wrapping_sub(negative);
        }
    }
}
