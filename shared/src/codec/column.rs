//! One series' values: scaled to integers, predicted, and what is left over coded.

use super::{
    CodecError,
    bits::{Reader, put_signed, put_varint, unzigzag, zigzag},
    residuals::{self, Coder},
    scale::Scale,
};

/// What the next integer is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prediction {
    /// A constant: levels that jump about.
    Constant,
    /// The last one: levels that drift.
    Last,
    /// The last one and a constant step: counters of something steady.
    Step,
    /// The last one and the last step: counters whose pace drifts.
    Line,
}

const PREDICTIONS: [Prediction; 4] =
    [Prediction::Constant, Prediction::Last, Prediction::Step, Prediction::Line];

/// Appends a column.
pub fn encode(values: &[f64], head: &mut Vec<u8>, body: &mut Vec<u8>) {
    let scale = Scale::of(values);
    let integers: Vec<i64> = values.iter().map(|value| scale.to_integer(*value)).collect();
    let base = integers.first().copied().unwrap_or_default();
    let unit = if scale == Scale::Bits { 1 } else { unit_of(&integers, base) };
    let reduced = |integer: &i64| integer.wrapping_sub(base).checked_div(unit).unwrap_or(0);
    let integers: Vec<i64> = integers.iter().map(reduced).collect();
    let (prediction, constant) = best(&integers);
    let residuals: Vec<u64> = Predictor::new(prediction, constant).residuals(&integers).collect();

    let flags_at = head.len();
    head.push(0);
    head.push(scale.to_byte());
    put_signed(head, base);
    if unit != 1 {
        put_varint(head, unit.cast_unsigned());
    }
    put_signed(head, constant);
    let coder = residuals::encode(&residuals, head, body);
    let coder = match coder {
        Coder::Zeros => 0,
        Coder::Varints => 1,
        Coder::Table => 2,
    };
    let prediction = PREDICTIONS.iter().position(|other| *other == prediction).unwrap_or_default() as u8;
    if let Some(flags) = head.get_mut(flags_at) {
        *flags = prediction | (coder << 2) | (u8::from(unit != 1) << 4);
    }
}

/// Reads a column of `count` values.
pub fn decode(count: usize, head: &mut Reader<'_>, body: &mut Reader<'_>) -> Result<Vec<f64>, CodecError> {
    let flags = head.byte()?;
    let prediction = PREDICTIONS.get(usize::from(flags & 3)).copied().unwrap_or(Prediction::Last);
    let coder = match (flags >> 2) & 3 {
        0 => Coder::Zeros,
        1 => Coder::Varints,
        2 => Coder::Table,
        _ => return Err(CodecError::Malformed("an unknown coder")),
    };
    let scale = Scale::from_byte(head.byte()?).ok_or(CodecError::Malformed("an unknown scale"))?;
    let base = head.signed()?;
    let unit = if flags & 16 == 0 { 1 } else { head.varint()?.cast_signed() };
    let mut predictor = Predictor::new(prediction, head.signed()?);
    let mut values = Vec::with_capacity(count);
    residuals::decode(coder, count, head, body, |residual| {
        let integer = predictor.integer(residual);
        values.push(scale.to_value(integer.wrapping_mul(unit).wrapping_add(base)));
    })?;
    Ok(values)
}

/// The largest unit that all distances from `base` are multiples of.
fn unit_of(integers: &[i64], base: i64) -> i64 {
    let mut unit: u64 = 0;
    for integer in integers {
        unit = greatest_common_divisor(integer.abs_diff(base), unit);
        if unit == 1 {
            break;
        }
    }
    i64::try_from(unit).unwrap_or(1).max(1)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while let Some(remainder) = a.checked_rem(b) {
        (a, b) = (b, remainder);
    }
    a
}

/// The prediction that leaves the fewest bits over, with its constant.
fn best(integers: &[i64]) -> (Prediction, i64) {
    let steps: Vec<i64> =
        integers.iter().zip(integers.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a)).collect();
    let candidates = [
        (Prediction::Last, 0),
        (Prediction::Constant, median(integers)),
        (Prediction::Step, median(&steps)),
        (Prediction::Line, 0),
    ];
    let cost = |(prediction, constant): &(Prediction, i64)| {
        let bits = |residual: u64| 65u64.saturating_sub(residual.leading_zeros().into());
        Predictor::new(*prediction, *constant).residuals(integers).map(bits).fold(0, u64::saturating_add)
    };
    candidates.into_iter().min_by_key(cost).unwrap_or((Prediction::Last, 0))
}

fn median(integers: &[i64]) -> i64 {
    let mut sorted = integers.to_vec();
    let middle = sorted.len() / 2;
    if sorted.is_empty() { 0 } else { *sorted.select_nth_unstable(middle).1 }
}

/// Turns integers into residuals and back.
struct Predictor {
    prediction: Prediction,
    constant: i64,
    last: i64,
    step: i64,
    seen: u64,
}

impl Predictor {
    fn new(prediction: Prediction, constant: i64) -> Self {
        Self { prediction, constant, last: 0, step: 0, seen: 0 }
    }

    fn expected(&self) -> i64 {
        match self.prediction {
            Prediction::Constant => self.constant,
            Prediction::Last => self.last,
            // The first one has nothing before it.
            Prediction::Step if self.seen == 0 => 0,
            Prediction::Step => self.last.wrapping_add(self.constant),
            Prediction::Line => self.last.wrapping_add(self.step),
        }
    }

    fn see(&mut self, integer: i64) {
        if self.seen > 0 {
            self.step = integer.wrapping_sub(self.last);
        }
        self.last = integer;
        self.seen = self.seen.saturating_add(1);
    }

    fn residuals(mut self, integers: &[i64]) -> impl Iterator<Item = u64> {
        integers.iter().map(move |integer| {
            let residual = zigzag(integer.wrapping_sub(self.expected()));
            self.see(*integer);
            residual
        })
    }

    fn integer(&mut self, residual: u64) -> i64 {
        let integer = self.expected().wrapping_add(unzigzag(residual));
        self.see(integer);
        integer
    }
}
