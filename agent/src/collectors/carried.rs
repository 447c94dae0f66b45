//! Counters of which a system tells 32 bits, as macOS does, carried on over their wraps. Linux tells 64.

use std::collections::BTreeMap;

/// What a counter of 32 bits wraps at.
const WRAP: u64 = 1 << 32;

/// The counters of everything that was named at the last reading, and what their wraps add up to.
#[derive(Debug)]
pub struct Carried<const N: usize>(BTreeMap<String, [Carry; N]>);

impl<const N: usize> Default for Carried<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<const N: usize> Carried<N> {
    /// The counters' values after these were read. Who is not among them is forgotten.
    pub fn next(&mut self, raw: Vec<(String, [u64; N])>) -> Vec<(String, [u64; N])> {
        let mut before = std::mem::take(&mut self.0);
        let mut carry_on = |(name, mut counters): (String, [u64; N])| {
            let mut carries = before.remove(&name).unwrap_or_else(|| [Carry::default(); N]);
            for (counter, carry) in counters.iter_mut().zip(&mut carries) {
                *counter = carry.next(*counter);
            }
            self.0.insert(name.clone(), carries);
            (name, counters)
        };
        raw.into_iter().map(&mut carry_on).collect()
    }
}

/// One counter.
#[derive(Clone, Copy, Debug, Default)]
struct Carry {
    raw: u64,
    offset: u64,
}

impl Carry {
    /// The counter's value after `raw` was read. From the last quarter of 32 bits to the first
    /// is a wrap; any other way down is a reset and passed through as it is: queries know resets.
    fn next(&mut self, raw: u64) -> u64 {
        if raw < self.raw {
            let wrapped = self.raw < WRAP && self.raw > WRAP / 4 * 3 && raw < WRAP / 4;
            self.offset = if wrapped { self.offset.saturating_add(WRAP) } else { 0 };
        }
        self.raw = raw;
        self.offset.saturating_add(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a counter of `eth0` is according to each of a row of readings.
    fn carried(raw: &[u64]) -> Vec<u64> {
        let mut carried = Carried::default();
        raw.iter().map(|raw| carried.next(vec![("eth0".to_owned(), [*raw])])[0].1[0]).collect()
    }

    #[test]
    fn a_wrap_of_32_bits_is_carried_on() {
        assert_eq!(carried(&[WRAP - 10, 5]), [WRAP - 10, WRAP + 5]);
        assert_eq!(carried(&[WRAP - 10, 5, WRAP - 1, 0]), [WRAP - 10, WRAP + 5, 2 * WRAP - 1, 2 * WRAP]);
    }

    #[test]
    fn only_from_the_last_quarter_to_the_first_is_a_wrap() {
        let (last, first) = (WRAP / 4 * 3, WRAP / 4);
        for (before, after, value) in [
            (last + 1, first - 1, WRAP + first - 1),
            (last, first - 1, first - 1),
            (last + 1, first, first),
            (WRAP - 1, 0, WRAP),
            // A counter that was beyond 32 bits does not wrap at them.
            (WRAP, 0, 0),
            (10 * WRAP, 1, 1),
        ] {
            assert_eq!(carried(&[before, after]), [before, value], "{before} to {after}");
        }
    }

    #[test]
    fn a_reset_is_passed_through_and_clears_what_was_carried() {
        let told = carried(&[WRAP - 1, 7, 3, 4]);
        assert_eq!(told, [WRAP - 1, WRAP + 7, 3, 4], "the second decrease is a reset");
    }

    #[test]
    fn what_was_gone_starts_anew() {
        let mut carried = Carried::default();
        carried.next(vec![("eth0".to_owned(), [WRAP - 1])]);
        carried.next(Vec::new());
        assert_eq!(carried.next(vec![("eth0".to_owned(), [5])]), [("eth0".to_owned(), [5])]);
    }
}
