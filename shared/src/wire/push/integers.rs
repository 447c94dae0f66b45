//! A few integers as bits: the first, and how far each other one is from what the ones before it let expect.
//!
//! Made for the handful of readings that a push has of a series: no table, no byte that is not needed. A number has its
//! length in bits and its bits; a distance is an exponential Golomb code (Teuhola 1978, doi:10.1016/0020-0190(78)90024-8)
//! whose parameter is the best one for its list.

use crate::codec::bits::{BitReader, BitWriter, unzigzag, zigzag};

/// Bits that say how a list goes on.
const KIND_BITS: u32 = 2;
/// Bits of a number's length, 0 to 64.
const LENGTH_BITS: u32 = 7;
/// Bits of a shift, and of a parameter of the Golomb code: 0 to 63.
const SMALL_BITS: u32 = 6;

/// How a list goes on after its first integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every one is zero.
    Zeros,
    /// Every one is the first.
    Constant,
    /// Each is near the last one.
    Last,
    /// Each is near the last one and the last step.
    Line,
}

impl Kind {
    /// Reads a kind.
    pub fn read(bits: &mut BitReader<'_>) -> Self {
        match bits.take(KIND_BITS) {
            0 => Self::Zeros,
            1 => Self::Constant,
            2 => Self::Last,
            _ => Self::Line,
        }
    }

    /// Writes it.
    pub fn write(self, out: &mut BitWriter) {
        let number = match self {
            Self::Zeros => 0,
            Self::Constant => 1,
            Self::Last => 2,
            Self::Line => 3,
        };
        out.put(number, KIND_BITS);
    }
}

/// A list as it is written: what is left of it once all zeros at the end of its integers are shifted out.
pub struct Plan {
    /// How it goes on.
    pub kind: Kind,
    shift: u32,
    first: i64,
    distances: Vec<u64>,
    parameter: u32,
}

impl Plan {
    /// The shortest way to write a list that is not empty.
    pub fn of(integers: &[i64]) -> Self {
        let all_bits = integers.iter().fold(0, |bits, integer| bits | integer);
        let shift = if all_bits == 0 { 0 } else { all_bits.trailing_zeros() };
        let integers: Vec<i64> = integers.iter().map(|integer| integer >> shift).collect();
        let first = integers.first().copied().unwrap_or_default();
        let plan = |kind, distances, parameter| Self { kind, shift, first, distances, parameter };
        if all_bits == 0 {
            return plan(Kind::Zeros, Vec::new(), 0);
        }
        if integers.iter().all(|integer| *integer == first) {
            return plan(Kind::Constant, Vec::new(), 0);
        }
        let [last, line] = [Kind::Last, Kind::Line].map(|kind| distances(kind, &integers));
        let (last_cost, last_parameter) = best_parameter(&last);
        let (line_cost, line_parameter) = best_parameter(&line);
        if line_cost < last_cost {
            plan(Kind::Line, line, line_parameter)
        } else {
            plan(Kind::Last, last, last_parameter)
        }
    }

    /// Writes everything but the kind, which goes before.
    pub fn write(&self, shift_before: &mut u32, out: &mut BitWriter) {
        if self.kind == Kind::Zeros {
            return;
        }
        put_or_repeat(self.shift, shift_before, out);
        put_number(zigzag(self.first), out);
        if self.kind == Kind::Constant {
            return;
        }
        out.put(self.parameter.into(), SMALL_BITS);
        for distance in &self.distances {
            let (quotient, length) = golomb(*distance, self.parameter).unwrap_or_default();
            out.put(0, length);
            out.put(1, 1);
            out.put(quotient, length);
            out.put(*distance, self.parameter);
        }
    }
}

/// Reads `count` integers of a kind and hands each to `each`; `None` if they are not what is ever written.
pub fn read(
    kind: Kind,
    count: usize,
    shift_before: &mut u32,
    bits: &mut BitReader<'_>,
    mut each: impl FnMut(i64),
) -> Option<()> {
    if kind == Kind::Zeros {
        (0..count).for_each(|_| each(0));
        return Some(());
    }
    let shift = take_or_repeat(shift_before, bits);
    let mut last = unzigzag(take_number(bits)?);
    each(last << shift);
    let further = count.saturating_sub(1);
    if kind == Kind::Constant {
        (0..further).for_each(|_| each(last << shift));
        return Some(());
    }
    let parameter = bits.take(SMALL_BITS) as u32;
    let mut step = 0i64;
    for _ in 0..further {
        let length = bits.zeros()?;
        let quotient = (1u64 << length | bits.take(length)).wrapping_sub(1);
        let distance = unzigzag((quotient << parameter) | bits.take(parameter));
        step = if kind == Kind::Line { step.wrapping_add(distance) } else { distance };
        last = last.wrapping_add(step);
        each(last << shift);
    }
    Some(())
}

/// A small number: one bit if it is the one before.
pub fn put_or_repeat(number: u32, before: &mut u32, out: &mut BitWriter) {
    out.put(u64::from(number != *before), 1);
    if number != *before {
        out.put(number.into(), SMALL_BITS);
        *before = number;
    }
}

/// Undoes [`put_or_repeat`].
pub fn take_or_repeat(before: &mut u32, bits: &mut BitReader<'_>) -> u32 {
    if bits.take(1) == 1 {
        *before = bits.take(SMALL_BITS) as u32;
    }
    *before
}

/// A number: its length in bits, and the bits after the first.
pub fn put_number(number: u64, out: &mut BitWriter) {
    let length = 64u32.saturating_sub(number.leading_zeros());
    out.put(length.into(), LENGTH_BITS);
    out.put(number, length.saturating_sub(1));
}

/// Undoes [`put_number`].
pub fn take_number(bits: &mut BitReader<'_>) -> Option<u64> {
    match bits.take(LENGTH_BITS) as u32 {
        0 => Some(0),
        length @ 1..=64 => {
            let further = length.saturating_sub(1);
            Some(1 << further | bits.take(further))
        }
        _ => None,
    }
}

/// What each integer but the first is away from what its kind expects.
fn distances(kind: Kind, integers: &[i64]) -> Vec<u64> {
    let steps = integers.iter().zip(integers.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a));
    let mut last_step = 0;
    let distance = |step: i64| {
        let expected = if kind == Kind::Line { last_step } else { 0 };
        last_step = step;
        zigzag(step.wrapping_sub(expected))
    };
    steps.map(distance).collect()
}

/// The parameter that writes distances in the fewest bits, after how many these are.
fn best_parameter(distances: &[u64]) -> (u64, u32) {
    let cost = |parameter: u32| -> Option<u64> {
        let bits = |distance: &u64| {
            let (_, length) = golomb(*distance, parameter)?;
            Some(u64::from(length).saturating_mul(2).saturating_add(1).saturating_add(parameter.into()))
        };
        distances.iter().map(bits).try_fold(0u64, |sum, bits| Some(sum.saturating_add(bits?)))
    };
    let longest = distances.iter().map(|distance| 64u32.saturating_sub(distance.leading_zeros())).max();
    let costs =
        (0..=longest.unwrap_or(0).min(63)).filter_map(|parameter| Some((cost(parameter)?, parameter)));
    costs.min().unwrap_or_default()
}

/// The quotient of a distance and one, without its highest bit, and its length without that bit. `None` if it does not
/// fit 64 bits.
fn golomb(distance: u64, parameter: u32) -> Option<(u64, u32)> {
    let quotient = (distance >> parameter).checked_add(1)?;
    Some((quotient, 63u32.saturating_sub(quotient.leading_zeros())))
}
