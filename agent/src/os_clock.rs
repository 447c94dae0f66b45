//! The operating system's clocks. Nothing else in this crate reads them.

use crate::platform;
use edgewatch_shared::TimestampMs;

pub use platform::running_ms;

/// What the host itself believes the time to be.
pub fn wall() -> TimestampMs {
    TimestampMs(platform::wall_ms())
}

/// Seconds of processor time this process has used, all threads together, where the system tells.
pub fn process_cpu_s() -> Option<f64> {
    platform::process_cpu_ms().map(|ms| ms as f64 / 1_000.0)
}
