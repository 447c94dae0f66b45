//! Durations that were measured by a clock which ticks more coarsely than it is read.
//!
//! A counter of 24 or 100 MHz behind a clock of nanoseconds makes every duration a whole number of ticks: of 10 or 42
//! neighbouring integers only one or two occur. A column of such integers is kept as ticks, and how far each
//! integer is from where its tick begins.

/// Periods have so many bits behind the point.
const POINT_BITS: u32 = 28;
/// Integers of ticks are smaller, so that nothing overflows.
const INTEGER_MAX: u64 = 1 << 34;
/// Periods that are looked for.
const PERIODS: std::ops::RangeInclusive<f64> = 4.0..=64.0;
/// Distances among which a period is looked for, in so many parts of a cycle.
const DISTANCES: usize = 256;
const CYCLE: usize = 2_048;
/// How far integers lie from their ticks: 16 distances, one of which is this one.
pub const ON_TIME: i64 = 7;
const OFFSETS: std::ops::Range<i64> = -ON_TIME..16 - ON_TIME;
/// Shorter columns gain nothing.
const LENGTH_MIN: usize = 24;
/// Bits that distances from ticks cost where the period is well known: a little more than one of two.
const ENOUGH_BITS: f64 = 1.1;
/// Bits that ticks have to save for each integer.
const GAIN_MIN: f64 = 0.5;

/// The period of a clock, in 2^-28 of a column's integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period(pub i64);

impl Period {
    fn of(period: f64) -> Self {
        Self((period * f64::from(1u32 << POINT_BITS)) as i64)
    }

    fn as_f64(self) -> f64 {
        self.0 as f64 / f64::from(1u32 << POINT_BITS)
    }

    /// Where a tick begins, and an eighth of the way to the next integer: the table for the distance from it.
    pub fn start_of(self, tick: i64) -> (i64, usize) {
        let exact = tick.wrapping_mul(self.0);
        (exact >> POINT_BITS, ((exact >> (POINT_BITS - 3)) & 7) as usize)
    }

    fn nearest_tick(self, integer: i64) -> i64 {
        (integer as f64 / self.as_f64()).round() as i64
    }
}

/// Looks for ticks in the columns of a chunk.
pub struct Finder {
    last: Period,
    /// Columns that are still searched before none is expected to be found.
    searches_left: u32,
}

impl Default for Finder {
    fn default() -> Self {
        Self { last: Period::default(), searches_left: 3 }
    }
}

/// Integers as ticks.
pub struct Ticks {
    /// Of which period.
    pub period: Period,
    /// The ticks.
    pub ticks: Vec<i64>,
    /// The integers' distances from them, from 0 to 15.
    pub offsets: Vec<usize>,
}

impl Finder {
    /// The integers as ticks, if that saves something.
    pub fn find(&mut self, integers: &[i64]) -> Option<Ticks> {
        let is_in_range = |integer: &i64| integer.unsigned_abs() < INTEGER_MAX;
        if integers.len() < LENGTH_MIN || !integers.iter().all(is_in_range) {
            return None;
        }
        if self.last != Period::default() {
            let known = ticks(integers, self.last);
            if known.as_ref().is_some_and(|(gain, _)| self.last.as_f64().log2() - gain < ENOUGH_BITS) {
                return self.better(known, None);
            }
            // Longer durations know the period better.
            let sorted = sorted(integers);
            let refined = refined(&sorted, self.last.as_f64()).and_then(|period| ticks(integers, period));
            return self.better(known, refined);
        }
        if self.searches_left == 0 {
            return None;
        }
        let sorted = sorted(integers);
        let span = sorted.last()?.saturating_sub(*sorted.first()?);
        if sorted.len() < LENGTH_MIN || span < DISTANCES as i64 {
            return None;
        }
        self.searches_left = self.searches_left.saturating_sub(1);
        let found = refined(&sorted, period_among(&sorted)?).and_then(|period| ticks(integers, period));
        self.better(found, None)
    }

    fn better(&mut self, known: Option<(f64, Ticks)>, other: Option<(f64, Ticks)>) -> Option<Ticks> {
        let is_other = match (&known, &other) {
            // A new period is written: 5 bytes of what it saves.
            (Some((known, ticks)), Some((other, _))) => (other - known) * ticks.ticks.len() as f64 > 40.0,
            (known, _) => known.is_none(),
        };
        let (_, ticks) = if is_other { other } else { known }?;
        self.last = ticks.period;
        Some(ticks)
    }
}

/// Different integers in order.
fn sorted(integers: &[i64]) -> Vec<i64> {
    let mut sorted = integers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// The period that distances of neighbours are multiples of, as well as can be told.
fn period_among(sorted: &[i64]) -> Option<f64> {
    let mut counts = [0i64; DISTANCES];
    let mut pairs: i64 = 0;
    for (at, from) in sorted.iter().enumerate() {
        let near = sorted.iter().skip(at.saturating_add(1)).map(|to| to.saturating_sub(*from));
        for distance in near.take_while(|distance| *distance < DISTANCES as i64).take(8) {
            if let Some(count) = counts.get_mut(distance as usize) {
                *count = count.saturating_add(1);
                pairs = pairs.saturating_add(1);
            }
        }
    }
    let (shortest, longest) = (*PERIODS.start() as usize, *PERIODS.end() as usize);
    let frequencies = CYCLE.checked_div(longest)?..=CYCLE.checked_div(shortest)?;
    // 512 where a distance is a whole number of cycles, -512 half way between.
    let fit = |frequency: usize| {
        let fits = counts.iter().enumerate().map(|(distance, count)| {
            let phase = (frequency.wrapping_mul(distance) % CYCLE) as i64;
            let off =
                phase.saturating_sub(CYCLE as i64 / 2).saturating_abs().saturating_sub(CYCLE as i64 / 4);
            off.saturating_mul(*count)
        });
        fits.fold(0, i64::saturating_add)
    };
    let fits: Vec<(usize, i64)> = frequencies.map(|frequency| (frequency, fit(frequency))).collect();
    let best = fits.iter().map(|(_, fit)| *fit).max()?;
    if pairs < LENGTH_MIN as i64 || best < pairs.saturating_mul(CYCLE as i64 / 8) {
        return None;
    }
    // A half of the period fits nearly as well: the top of the first rise that is as high is the period itself.
    let mut rise = fits.into_iter().skip_while(|(_, fit)| fit.saturating_mul(10) < best.saturating_mul(9));
    let first = rise.next()?;
    let (frequency, _) = rise
        .scan(first.1, |top, next| {
            let is_higher = next.1 > *top;
            *top = next.1;
            is_higher.then_some(next)
        })
        .last()
        .unwrap_or(first);
    Some(CYCLE as f64 / frequency as f64)
}

/// A period told ever better from ever larger distances.
fn refined(sorted: &[i64], mut period: f64) -> Option<Period> {
    let mut span = DISTANCES as i64;
    let last = *sorted.last()?;
    loop {
        let (mut products, mut squares) = (0.0, 0.0);
        let mut from = sorted.iter().peekable();
        for to in sorted {
            while from.next_if(|from| to.saturating_sub(**from) > span).is_some() {}
            // A duration is a multiple itself; before the period is known so well, its distance from another one.
            let nearest = from.peek().map_or(0, |from| **from);
            let distance = if *to <= span { *to } else { to.saturating_sub(nearest) };
            let ticks = (distance as f64 / period).round();
            // What is off by much is no multiple, and would pull the others along.
            if (distance as f64 - ticks * period).abs() < period / 4.0 {
                products += distance as f64 * ticks;
                squares += ticks * ticks;
            }
        }
        if squares > 0.0 {
            period = products / squares;
        }
        if !PERIODS.contains(&period) {
            return None;
        }
        if span > last.saturating_mul(2) {
            return Some(Period::of(period));
        }
        span = span.saturating_mul(3);
    }
}

/// Integers as ticks of a period, and how many bits each one saves.
fn ticks(integers: &[i64], period: Period) -> Option<(f64, Ticks)> {
    let mut counts = [0u32; 16];
    let mut found = Ticks { period, ticks: Vec::with_capacity(integers.len()), offsets: Vec::new() };
    for integer in integers {
        let tick = period.nearest_tick(*integer);
        let offset = integer.saturating_sub(period.start_of(tick).0);
        if !OFFSETS.contains(&offset) {
            return None;
        }
        let symbol = offset.saturating_add(ON_TIME) as usize;
        if let Some(count) = counts.get_mut(symbol) {
            *count = count.saturating_add(1);
        }
        found.ticks.push(tick);
        found.offsets.push(symbol);
    }
    let all = integers.len() as f64;
    let bits = |count: &u32| {
        let share = f64::from(*count) / all;
        if *count == 0 { 0.0 } else { -share * share.log2() }
    };
    let entropy = counts.iter().map(bits).fold(0.0, |sum, bits| sum + bits);
    let gain = period.as_f64().log2() - entropy;
    (gain >= GAIN_MIN).then_some((gain, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations of so many ticks, read from a clock of whole integers.
    fn durations(period: f64, count: u64) -> Vec<i64> {
        let noise = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        let duration = |n: u64| {
            let (begin, ticks) = (noise(n) as f64 * 0.37, (500 + noise(n + count) % 1_000) as f64);
            (begin + ticks * period).floor() as i64 - begin.floor() as i64
        };
        (0..count).map(duration).collect()
    }

    #[test]
    fn the_period_of_a_coarse_clock_is_found() {
        for period in [10.015_014_5, 41.666_666_7, 40.5, 8.3] {
            let found = Finder::default().find(&durations(period, 200)).unwrap();
            assert!((found.period.as_f64() - period).abs() < 1e-3, "{period}: {}", found.period.as_f64());
            let near = |offset: &&usize| (ON_TIME - 1..=ON_TIME + 2).contains(&(**offset as i64));
            let near = found.offsets.iter().filter(near).count();
            assert!(near > 190, "{period}: {near}, {}", found.period.as_f64());
        }
    }

    #[test]
    fn a_fine_clock_has_no_ticks_and_is_not_searched_for_ever() {
        let noise: Vec<i64> =
            (0..200u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as i64).collect();
        let mut finder = Finder::default();
        for left in [2, 1, 0, 0] {
            assert!(finder.find(&noise).is_none());
            assert_eq!(finder.searches_left, left);
        }
    }

    #[test]
    fn integers_too_large_for_ticks_are_left_alone() {
        let mut durations = durations(10.015, 200);
        durations[0] = INTEGER_MAX as i64;
        assert!(Finder::default().find(&durations).is_none());
    }
}
