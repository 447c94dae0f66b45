//! When to collect: at whole multiples of the interval on the corrected clock, so that the
//! readings of a fleet fall together and timestamps compress to nothing.

use edgewatch_shared::TimestampMs;

/// The first multiple of `interval_ms` after `now` that is not `last`: a clock that was set back
/// by a few ms must not make the same tick twice.
pub fn next_tick(now: TimestampMs, last: Option<TimestampMs>, interval_ms: i64) -> TimestampMs {
    let since_tick_ms = now.0.rem_euclid(interval_ms);
    let next = now.plus_ms(interval_ms - since_tick_ms);
    if Some(next) == last { next.plus_ms(interval_ms) } else { next }
}

/// The time a round is stamped with: its tick, unless it comes later by more than a hundredth of the interval.
pub fn stamp(now: TimestampMs, tick: TimestampMs, interval_ms: i64) -> TimestampMs {
    let late_ms = now.ms_since(tick);
    if late_ms.saturating_abs() <= interval_ms / 100 { tick } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_after_now_and_never_the_last_one_again() {
        for (now, last, next) in [
            (0, None, 10_000),
            (1, None, 10_000),
            (9_999, None, 10_000),
            (10_000, None, 20_000),
            (-1, None, 0),
            // The clock went back by 3 ms right after the tick.
            (9_997, Some(10_000), 20_000),
            // It went back by an hour: that tick is new.
            (9_997, Some(3_610_000), 10_000),
        ] {
            let told = next_tick(TimestampMs(now), last.map(TimestampMs), 10_000);
            assert_eq!(told, TimestampMs(next), "{now} after {last:?}");
        }
    }

    #[test]
    fn a_round_bears_its_ticks_time_unless_it_is_late() {
        for (now, stamped) in
            [(10_000, 10_000), (10_100, 10_000), (10_101, 10_101), (9_900, 10_000), (9_899, 9_899)]
        {
            let told = stamp(TimestampMs(now), TimestampMs(10_000), 10_000);
            assert_eq!(told, TimestampMs(stamped), "{now}");
        }
    }
}
