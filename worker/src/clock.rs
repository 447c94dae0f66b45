//! The only clock: everything else is told the time.

use edgewatch_shared::TimestampMs;

/// Now, by the runtime (with the tests' offset, in a test build).
pub fn now() -> TimestampMs {
    let ms = i64::try_from(worker::Date::now().as_millis()).unwrap_or(i64::MAX);
    #[cfg(feature = "test-hooks")]
    let ms = ms.saturating_add(crate::test_hooks::clock_offset_ms());
    TimestampMs(ms)
}
