//! Columns that move together: what one leaves over says something about another.
//!
//! Traffic in and out, memory free and cached, the same size in two units: of what a column's prediction left over,
//! a multiple of what an earlier column's left over at the same instant is taken away, up to three times.

use super::prediction::{COST_BITS, cost};
use std::collections::VecDeque;

/// Earlier columns that are looked at.
pub const WINDOW: usize = 96;
/// Of how many a column takes multiples.
pub const KIN_MAX: usize = 3;
/// A multiplier has so many bits at the most…
const FACTOR_BITS: i32 = 12;
/// …and is shifted right by so much at the most.
pub const SHIFT_MAX: u8 = 40;
/// What naming kin costs, in bits, and a little for the noise that looks like kinship.
const PRICE_BITS: u64 = 40;
/// What is beyond so many mean magnitudes counts as much: one outlier must not decide.
const CLIP: f32 = 4.0;
const LANES: usize = 8;
/// The square of a correlation; what is below is noise, of which the best of many columns has as much.
const LIKENESS_MIN: f32 = 0.03;
/// Ratios that a median is taken of.
const RATIOS: usize = 128;

/// A multiple of an earlier column's rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin {
    /// How many kept columns back, from 0 on.
    pub distance: usize,
    /// Times this…
    pub factor: i64,
    /// …shifted right by so much.
    pub shift: u8,
}

impl Kin {
    /// What it says about a rest.
    pub fn share(&self, rest: i64) -> i64 {
        let half = (1i64 << self.shift) >> 1;
        rest.wrapping_mul(self.factor).wrapping_add(half) >> self.shift
    }

    /// Rests without their shares.
    fn taken_from(self, left: &[i64], rests: &[i64]) -> impl Iterator<Item = i64> {
        left.iter().zip(rests).map(move |(left, rest)| left.wrapping_sub(self.share(*rest)))
    }
}

/// What the newest columns' predictions left over, for those that come.
#[derive(Default)]
pub struct Family {
    columns: VecDeque<Member>,
    vacant: Vec<i64>,
}

struct Member {
    rests: Vec<i64>,
    shape: Shape,
}

/// Rests by their mean magnitude, clipped; what correlation is measured on.
#[derive(Default)]
struct Shape {
    lanes: Vec<[f32; LANES]>,
    mean: f32,
    energy: f32,
}

impl Shape {
    fn of(rests: &[i64]) -> Self {
        let sum = rests.iter().map(|rest| rest.unsigned_abs() as f32).fold(0.0, |sum, rest| sum + rest);
        let mean = sum / (rests.len() as f32);
        if mean == 0.0 {
            return Self::default();
        }
        let scaled = |rest: &i64| (*rest as f32 / mean).clamp(-CLIP, CLIP);
        let lanes: Vec<[f32; LANES]> = rests
            .chunks(LANES)
            .map(|chunk| {
                let mut lane = [0.0; LANES];
                lane.iter_mut().zip(chunk).for_each(|(to, from)| *to = scaled(from));
                lane
            })
            .collect();
        let energy = product(&lanes, &lanes);
        Self { lanes, mean, energy }
    }
}

fn product(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().fold(0.0, |sum, part| sum + part)
}

impl Family {
    /// The kin of what a column's prediction left over, and what is left after them.
    pub fn relate(&self, rests: &[i64]) -> (Vec<Kin>, Vec<i64>) {
        let mut left = rests.to_vec();
        let mut kin = Vec::new();
        let mut least = cost(left.iter().copied());
        while kin.len() < KIN_MAX && least > PRICE_BITS << COST_BITS {
            let Some((distance, member)) = self.nearest(&left) else { break };
            let Some((factor, shift)) = usual_ratio(&left, member).and_then(rational) else { break };
            let next = Kin { distance, factor, shift };
            let cost = cost(next.taken_from(&left, &member.rests));
            if cost.saturating_add(PRICE_BITS << COST_BITS) >= least {
                break;
            }
            least = cost;
            left = next.taken_from(&left, &member.rests).collect();
            kin.push(next);
        }
        (kin, left)
    }

    /// The column that moves most alike, if any does.
    fn nearest(&self, left: &[i64]) -> Option<(usize, &Member)> {
        let shape = Shape::of(left);
        let mut most = LIKENESS_MIN * shape.energy;
        let mut best = None;
        for (distance, member) in self.columns.iter().rev().enumerate() {
            if member.rests.len() != left.len() || member.shape.energy == 0.0 {
                continue;
            }
            let product = product(&shape.lanes, &member.shape.lanes);
            let likeness = product * product / member.shape.energy;
            if likeness > most {
                (most, best) = (likeness, Some((distance, member)));
            }
        }
        best
    }

    /// Keeps what a column's prediction left over, for those that take multiples of it.
    pub fn keep(&mut self, rests: Vec<i64>) {
        self.push(Member { rests, shape: Shape::default() });
    }

    /// The same, for those that look for kin.
    pub fn keep_shaped(&mut self, rests: Vec<i64>) {
        let shape = Shape::of(&rests);
        self.push(Member { rests, shape });
    }

    /// An empty list: that of a column which went too far back, or a new one.
    pub fn vacant(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.vacant)
    }

    fn push(&mut self, member: Member) {
        if self.columns.len() >= WINDOW {
            self.vacant = self.columns.pop_front().map(|member| member.rests).unwrap_or_default();
            self.vacant.clear();
        }
        self.columns.push_back(member);
    }

    fn member(&self, distance: usize) -> Option<&Member> {
        self.columns.get(self.columns.len().checked_sub(1)?.checked_sub(distance)?)
    }

    /// What the column so far back left over.
    pub fn rests(&self, distance: usize) -> Option<&[i64]> {
        self.member(distance).map(|member| member.rests.as_slice())
    }
}

/// The median of what a rest is by the member's, where that moves: what columns are to each other most of the time,
/// however far apart they are now and then.
fn usual_ratio(left: &[i64], member: &Member) -> Option<f32> {
    let moves = |rest: i64| rest.unsigned_abs() as f32 * 2.0 >= member.shape.mean;
    let pairs = left.iter().zip(&member.rests).filter(|(_, rest)| moves(**rest));
    let mut ratios: Vec<f32> = pairs.map(|(left, rest)| *left as f32 / *rest as f32).take(RATIOS).collect();
    let middle = ratios.len() / 2;
    if ratios.is_empty() { None } else { Some(*ratios.select_nth_unstable_by(middle, f32::total_cmp).1) }
}

/// A factor as an integer of few bits and a right shift.
fn rational(factor: f32) -> Option<(i64, u8)> {
    if !factor.is_finite() || factor == 0.0 {
        return None;
    }
    let exponent = ((factor.abs().to_bits() >> 23) as i32).wrapping_sub(127);
    let shift = FACTOR_BITS.wrapping_sub(exponent).clamp(0, SHIFT_MAX.into());
    let scaled = (f64::from(factor) * (1u64 << shift) as f64).round_ties_even() as i64;
    let zeros = (scaled.trailing_zeros() as i32).min(shift);
    if scaled == 0 {
        return None;
    }
    Some((scaled >> zeros, shift.wrapping_sub(zeros) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_columns_are_to_each_other_most_of_the_time_is_found() {
        let one: Vec<i64> = (0..360).map(|n| n * n * 7_919 % 1_009 - 504).collect();
        // Every tenth time it is something else, and mostly larger.
        let other = |(at, rest): (usize, &i64)| if at % 10 == 0 { rest * rest % 8_009 } else { -3 * rest };
        let other: Vec<i64> = one.iter().enumerate().map(other).collect();
        let mut family = Family::default();
        family.keep_shaped(one);
        let (kin, left) = family.relate(&other);
        assert_eq!(kin, [Kin { distance: 0, factor: -3, shift: 0 }]);
        assert_eq!(left.iter().filter(|rest| **rest != 0).count(), 36);
    }
}
