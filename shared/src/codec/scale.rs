//! Values as integers, exactly reversible: most readings are decimals with few digits.
//!
//! A value is `n / 10^e`, or `n × 10^-e` as programs that multiply by 0.001 print it; the
//! two differ in the last bit. What is neither is taken as its bits, in the order of numbers.

/// `10^e` for the exponents that are tried: all exact in an `f64`.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// `10^-e`, as nearest `f64`.
const INVERSES: [f64; 16] =
    [1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15];
/// Integers up to here are exact in an `f64`.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// How integers become values again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// `n / 10^e`
    Divided(u8),
    /// `n × 10^-e`
    Multiplied(u8),
    /// The bits, in the order of numbers.
    Bits,
}

const MULTIPLIED: u8 = 16;
const BITS: u8 = 32;

impl Scale {
    /// The finest scale that gives every value back bit by bit.
    pub fn of(values: &[f64]) -> Self {
        let divided = |value: f64, e: usize| scaled(value, e).map(|n| n / power(&POWERS, e));
        let multiplied = |value: f64, e: usize| scaled(value, e).map(|n| n * power(&INVERSES, e));
        if let Some(e) = exponent(values, divided) {
            return Self::Divided(e);
        }
        exponent(values, multiplied).map_or(Self::Bits, Self::Multiplied)
    }

    /// One byte that stands for it.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Divided(e) => e,
            Self::Multiplied(e) => e.saturating_add(MULTIPLIED),
            Self::Bits => BITS,
        }
    }

    /// Undoes [`Scale::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0..MULTIPLIED => Some(Self::Divided(byte)),
            MULTIPLIED..BITS => Some(Self::Multiplied(byte.saturating_sub(MULTIPLIED))),
            BITS => Some(Self::Bits),
            _ => None,
        }
    }

    /// A value as an integer.
    pub fn to_integer(self, value: f64) -> i64 {
        match self {
            Self::Divided(e) | Self::Multiplied(e) => {
                (value * power(&POWERS, e.into())).round_ties_even() as i64
            }
            Self::Bits => ordered(value.to_bits().cast_signed()),
        }
    }

    /// Undoes [`Scale::to_integer`].
    pub fn to_value(self, integer: i64) -> f64 {
        match self {
            Self::Divided(e) => integer as f64 / power(&POWERS, e.into()),
            Self::Multiplied(e) => integer as f64 * power(&INVERSES, e.into()),
            Self::Bits => f64::from_bits(ordered(integer).cast_unsigned()),
        }
    }
}

/// The bits of negative numbers count backwards; its own inverse.
fn ordered(bits: i64) -> i64 {
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn power(powers: &[f64; 16], e: usize) -> f64 {
    powers.get(e).copied().unwrap_or(1.0)
}

/// `value × 10^e` as a whole number, if it is exact in an `f64`.
fn scaled(value: f64, e: usize) -> Option<f64> {
    let n = (value * power(&POWERS, e)).round_ties_even();
    // By way of an integer, as it is stored: that has one zero only.
    (n.abs() <= EXACT_MAX).then_some(n as i64 as f64)
}

/// The smallest exponent at which `back` gives every value.
fn exponent(values: &[f64], back: impl Fn(f64, usize) -> Option<f64>) -> Option<u8> {
    let fits = |value: f64, e: usize| back(value, e).is_some_and(|found| found.to_bits() == value.to_bits());
    let mut e = 0;
    for value in values {
        while !fits(*value, e) {
            e = e.saturating_add(1);
            if e >= POWERS.len() {
                return None;
            }
        }
    }
    // What fitted a smaller exponent has to fit this one too.
    values.iter().all(|value| fits(*value, e)).then_some(e as u8)
}
