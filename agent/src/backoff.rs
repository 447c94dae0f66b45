//! How long to wait before a push is tried again.

/// Milliseconds before the first retry.
pub const BACKOFF_MS_MIN: u64 = 1_000;
/// Milliseconds that no wait exceeds, jitter included.
pub const BACKOFF_MS_MAX: u64 = 60_000;
/// Milliseconds up to which a server's `Retry-After` is believed. Reason: a typo there must not silence a host for a day.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// The wait before retry `attempt` (1 is the first): 1 s, doubling, spread by ±25 % with
/// `random` out of `[0, 1)`, so that a fleet that lost its server together does not come
/// back together; 60 s at most.
pub fn backoff_ms(attempt: u32, random: f64) -> u64 {
    if attempt == 0 {
        return 0;
    }
    let doublings = (attempt - 1).min(6);
    let wait_ms = (BACKOFF_MS_MIN << doublings).min(BACKOFF_MS_MAX) as f64;
    let spread_ms = wait_ms * (0.75 + 0.5 * random);
    (spread_ms.round() as u64).min(BACKOFF_MS_MAX)
}

/// The wait before retry `attempt` of a request whose answer may have asked for a pause: whichever is longer.
pub fn retry_ms(attempt: u32, random: f64, retry_after_s: Option<u64>) -> u64 {
    let asked_ms = retry_after_s.unwrap_or_default().saturating_mul(1_000);
    backoff_ms(attempt, random).max(asked_ms.min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_1_s_spread_by_a_quarter_and_end_at_60_s() {
        let almost_1 = 1.0 - f64::EPSILON;
        for (attempt, shortest, middle, longest) in [
            (0, 0, 0, 0),
            (1, 750, 1_000, 1_250),
            (2, 1_500, 2_000, 2_500),
            (3, 3_000, 4_000, 5_000),
            (4, 6_000, 8_000, 10_000),
            (5, 12_000, 16_000, 20_000),
            (6, 24_000, 32_000, 40_000),
            (7, 45_000, 60_000, 60_000),
            (8, 45_000, 60_000, 60_000),
            (u32::MAX, 45_000, 60_000, 60_000),
        ] {
            let waits = [0.0, 0.5, almost_1].map(|random| backoff_ms(attempt, random));
            assert_eq!(waits, [shortest, middle, longest], "attempt {attempt}");
        }
    }

    #[test]
    fn a_longer_retry_after_is_honoured_up_to_an_hour() {
        for (retry_after_s, wait_ms) in [
            (None, 1_000),
            (Some(0), 1_000),
            (Some(1), 1_000),
            (Some(2), 2_000),
            (Some(3_600), RETRY_AFTER_MS_MAX),
            (Some(3_601), RETRY_AFTER_MS_MAX),
            (Some(u64::MAX), RETRY_AFTER_MS_MAX),
        ] {
            assert_eq!(retry_ms(1, 0.5, retry_after_s), wait_ms, "{retry_after_s:?}");
        }
    }
}
