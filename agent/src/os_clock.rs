//! The operating system's clocks. Nothing else in this crate reads them.

use edgewatch_shared::TimestampMs;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clock that only runs forward. On Linux it also counts the time a machine sleeps, so
/// that a laptop's stamps are right when it wakes.
#[cfg(target_os = "linux")]
const RUNNING: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const RUNNING: ClockId = ClockId::Monotonic;

/// Milliseconds on the clock that only runs forward.
pub fn running_ms() -> i64 {
    milliseconds(clock_gettime(RUNNING))
}

/// What the host itself believes the time to be.
pub fn wall() -> TimestampMs {
    TimestampMs(milliseconds(clock_gettime(ClockId::Realtime)))
}

/// Seconds of processor time this process has used, all threads together.
pub fn process_cpu_s() -> f64 {
    milliseconds(clock_gettime(ClockId::ProcessCPUTime)) as f64 / 1_000.0
}

fn milliseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}
