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
        let mut least = cost(&left);
        while kin.len() < KIN_MAX && least > PRICE_BITS << COST_BITS {
            let Some(next) = self.nearest(&left) else { break };
            let Some(member) = self.member(next.distance) else { break };
            let less = |(left, rest): (&i64, &i64)| left.wrapping_sub(next.share(*rest));
            let tried: Vec<i64> = left.iter().zip(&member.rests).map(less).collect();
            let price = cost(&tried).saturating_add(PRICE_BITS << COST_BITS);
            if price >= least {
                break;
            }
            least = cost(&tried);
            left = tried;
            kin.push(next);
        }
        (kin, left)
    }

    /// The column that moves most alike, with the multiple that fits best.
    fn nearest(&self, left: &[i64]) -> Option<Kin> {
        let shape = Shape::of(left);
        let mut best: Option<(f32, usize, f32)> = None;
        for (distance, member) in self.columns.iter().rev().enumerate() {
            if member.rests.len() != left.len() || member.shape.energy == 0.0 {
                continue;
            }
            let product = product(&shape.lanes, &member.shape.lanes);
            let likeness = product * product / member.shape.energy;
            if best.is_none_or(|(most, ..)| likeness > most) {
                let factor = product / member.shape.energy * shape.mean / member.shape.mean;
                best = Some((likeness, distance, factor));
            }
        }
        let (_, distance, factor) = best?;
        let (factor, shift) = rational(factor)?;
        Some(Kin { distance, factor, shift })
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
