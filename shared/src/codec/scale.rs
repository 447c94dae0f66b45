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
    /// `n / 1000 / 1000`: microseconds that became milliseconds on their way to seconds.
    Twice,
    /// The bits, in the order of numbers.
    Bits,
}

const MULTIPLIED: u8 = 16;
const BITS: u8 = 32;
const TWICE: u8 = 33;

impl Scale {
    /// The finest scale that gives every value back bit by bit.
    pub fn of(values: &[f64]) -> Self {
        let divided = |value: f64, e: usize| scaled(value, e).map(|n| n / power(&POWERS, e));
        let multiplied = |value: f64, e: usize| scaled(value, e).map(|n| n * power(&INVERSES, e));
        if let Some(e) = exponent(values, divided) {
            return Self::Divided(e);
        }
        if let Some(e) = exponent(values, multiplied) {
            return Self::Multiplied(e);
        }
        let is_twice =
            |value: &f64| scaled(*value, 6).is_some_and(|n| (n / 1e3 / 1e3).to_bits() == value.to_bits());
        if values.iter().all(is_twice) { Self::Twice } else { Self::Bits }
    }

    /// One byte that stands for it.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Divided(e) => e,
            Self::Multiplied(e) => e.saturating_add(MULTIPLIED),
            Self::Bits => BITS,
            Self::Twice => TWICE,
        }
    }

    /// Undoes [`Scale::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0..MULTIPLIED => Some(Self::Divided(byte)),
            MULTIPLIED..BITS => Some(Self::Multiplied(byte.saturating_sub(MULTIPLIED))),
            BITS => Some(Self::Bits),
            TWICE => Some(Self::Twice),
            _ => None,
        }
    }

    /// A value as an integer.
    pub fn to_integer(self, value: f64) -> i64 {
        match self {
            Self::Divided(e) | Self::Multiplied(e) => rounded(value * power(&POWERS, e.into())) as i64,
            Self::Twice => rounded(value * 1e6) as i64,
            Self::Bits => ordered(value.to_bits().cast_signed()),
        }
    }

    /// Undoes [`Scale::to_integer`].
    pub fn to_value(self, integer: i64) -> f64 {
        match self {
            Self::Divided(e) => integer as f64 / power(&POWERS, e.into()),
            Self::Multiplied(e) => integer as f64 * power(&INVERSES, e.into()),
            Self::Twice => integer as f64 / 1e3 / 1e3,
            Self::Bits => f64::from_bits(ordered(integer).cast_unsigned()),
        }
    }
}

/// The bits of negative numbers count backwards; its own inverse.
fn ordered(bits: i64) -> i64 {
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// `10^e`
pub fn power_of_ten(e: u8) -> f64 {
    power(&POWERS, e.into())
}

fn power(powers: &[f64; 16], e: usize) -> f64 {
    powers.get(e).copied().unwrap_or(1.0)
}

/// `value × 10^e` as a whole number, if it is exact in an `f64`.
fn scaled(value: f64, e: usize) -> Option<f64> {
    let n = rounded(value * power(&POWERS, e));
    // By way of an integer, as it is stored: that has one zero only.
    (n.abs() <= EXACT_MAX).then_some(n as i64 as f64)
}

/// To the nearest whole number, the even one of two. Without an instruction for it that is a call; adding and
/// taking away a number whose last digit is 1 rounds, too.
fn rounded(value: f64) -> f64 {
    const LAST_DIGIT_IS_ONE: f64 = 6_755_399_441_055_744.0;
    if value.abs() < 2_251_799_813_685_248.0 {
        value + LAST_DIGIT_IS_ONE - LAST_DIGIT_IS_ONE
    } else {
        value.round_ties_even()
    }
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
