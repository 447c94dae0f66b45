//! What the next integer of a column is expected to be.

/// How the next integer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// A constant: levels that jump about.
    Constant,
    /// The last one: levels that drift.
    Last,
    /// The last one and a constant step: counters of something steady.
    Step,
    /// The last one and the last step: counters whose pace drifts.
    Line,
    /// The mean of late: levels that jump about and drift.
    Mean,
    /// The last one and the mean step of late: counters whose pace jumps about and drifts.
    Pace,
}

/// Every prediction, in the order of the numbers that stand for them.
pub const PREDICTIONS: [Prediction; 6] = [
    Prediction::Constant,
    Prediction::Last,
    Prediction::Step,
    Prediction::Line,
    Prediction::Mean,
    Prediction::Pace,
];

/// Means are kept this many bits finer than what they are of…
const MEAN_BITS: u32 = 4;
/// …and move an eighth of the way.
const MEAN_SHIFT: u32 = 3;

impl Prediction {
    /// Whether it needs a constant.
    pub fn has_constant(self) -> bool {
        matches!(self, Self::Constant | Self::Step)
    }
}

/// A mean of late, in 16ths.
#[derive(Default)]
struct Mean {
    mean: i64,
    has_begun: bool,
}

impl Mean {
    fn expected(&self) -> i64 {
        self.mean >> MEAN_BITS
    }

    fn see(&mut self, level: i64) {
        let level = level.wrapping_shl(MEAN_BITS);
        if self.has_begun {
            self.mean = self.mean.wrapping_add(level.wrapping_sub(self.mean) >> MEAN_SHIFT);
        } else {
            (self.mean, self.has_begun) = (level, true);
        }
    }
}

/// What is left of `integers` beyond what was expected, each handed to `each`. Before the first one there was a 0.
fn left_over(integers: &[i64], prediction: Prediction, constant: i64, mut each: impl FnMut(i64)) {
    let (mut last, mut step, mut mean) = (0i64, 0i64, Mean::default());
    let integers = integers.iter().copied();
    match prediction {
        Prediction::Constant => integers.for_each(|now| each(now.wrapping_sub(constant))),
        Prediction::Last | Prediction::Step => integers.for_each(|now| {
            each(now.wrapping_sub(last).wrapping_sub(constant));
            last = now;
        }),
        Prediction::Line => integers.for_each(|now| {
            let now_step = now.wrapping_sub(last);
            each(now_step.wrapping_sub(step));
            (last, step) = (now, now_step);
        }),
        Prediction::Mean => integers.for_each(|now| {
            each(now.wrapping_sub(mean.expected()));
            mean.see(now);
        }),
        Prediction::Pace => integers.for_each(|now| {
            let now_step = now.wrapping_sub(last);
            each(now_step.wrapping_sub(mean.expected()));
            mean.see(now_step);
            last = now;
        }),
    }
}

/// Undoes [`left_over`], in place. The constant is 0 where the prediction has none.
pub fn restore(rests: &mut [i64], prediction: Prediction, constant: i64) {
    let (mut last, mut step, mut mean) = (0i64, 0i64, Mean::default());
    let rests = rests.iter_mut();
    match prediction {
        Prediction::Constant => rests.for_each(|rest| *rest = rest.wrapping_add(constant)),
        Prediction::Last | Prediction::Step => rests.for_each(|rest| {
            last = last.wrapping_add(*rest).wrapping_add(constant);
            *rest = last;
        }),
        Prediction::Line => rests.for_each(|rest| {
            step = step.wrapping_add(*rest);
            last = last.wrapping_add(step);
            *rest = last;
        }),
        Prediction::Mean => rests.for_each(|rest| {
            *rest = rest.wrapping_add(mean.expected());
            mean.see(*rest);
        }),
        Prediction::Pace => rests.for_each(|rest| {
            let now_step = rest.wrapping_add(mean.expected());
            mean.see(now_step);
            last = last.wrapping_add(now_step);
            *rest = last;
        }),
    }
}

/// The prediction that leaves least over, with its constant and what it leaves over.
pub fn best(integers: &[i64]) -> (Prediction, i64, Vec<i64>) {
    let mut steps = Vec::with_capacity(integers.len());
    left_over(integers, Prediction::Last, 0, |step| steps.push(step));
    let level = median(&mut integers.to_vec());
    let pace = median(&mut steps);
    let (mut least, mut best, mut constant) = (u64::MAX, Prediction::Last, 0);
    for prediction in PREDICTIONS {
        let tried = match prediction {
            Prediction::Constant => level,
            Prediction::Step => pace,
            _ => 0,
        };
        // A constant is written, too.
        let price = if prediction.has_constant() { cost_of(tried).saturating_add(8 << COST_BITS) } else { 0 };
        let mut cost = price;
        left_over(integers, prediction, tried, |rest| cost = cost.wrapping_add(cost_of(rest)));
        if cost > price {
            cost = cost.wrapping_add(SOMETHING_BITS << COST_BITS);
        }
        if cost < least {
            (least, best, constant) = (cost, prediction, tried);
        }
    }
    let mut rests = Vec::with_capacity(integers.len());
    left_over(integers, best, constant, |rest| rests.push(rest));
    (best, constant, rests)
}

/// What it costs to leave anything over at all: a column's share of a stream.
const SOMETHING_BITS: u64 = 32;
/// Costs are counted in 16ths of a bit.
pub const COST_BITS: u32 = 4;

/// About what residuals cost.
pub fn cost(residuals: impl Iterator<Item = i64>) -> u64 {
    residuals.map(cost_of).fold(0, u64::wrapping_add)
}

/// The logarithm of a residual's magnitude, and a bit for its sign.
fn cost_of(residual: i64) -> u64 {
    // The exponent and upper digits of a float are its logarithm, near enough.
    let magnitude = (residual as f32).abs() * 2.0 + 1.0;
    u64::from((magnitude.to_bits() >> (23 - COST_BITS)).wrapping_sub(127 << COST_BITS))
}

fn median(integers: &mut [i64]) -> i64 {
    let middle = integers.len() / 2;
    if integers.is_empty() { 0 } else { *integers.select_nth_unstable(middle).1 }
}
