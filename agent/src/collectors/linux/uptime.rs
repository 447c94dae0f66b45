//! Since when the host runs.

use super::{kept::Kept, number_of, text_of};
use crate::collectors::{CollectError, Collector, Reading};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["boot_time_seconds", "uptime_seconds"];

/// Reads the uptime. When the host booted does not change, so it is read once.
pub struct Uptime {
    uptime: Kept,
    boot_time_s: Option<u64>,
}

impl Default for Uptime {
    fn default() -> Self {
        Self { uptime: Kept::new("/proc/uptime"), boot_time_s: None }
    }
}

impl Collector for Uptime {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let uptime_s = uptime_s(self.uptime.text()?)
            .ok_or(CollectError::Absurd("/proc/uptime does not begin with a number"))?;
        readings.push(Reading::plain("uptime_seconds", uptime_s as f64));
        if self.boot_time_s.is_none() {
            self.boot_time_s = number_of(&text_of("/proc/stat")?, "btime");
        }
        let boot_time_s = self.boot_time_s.ok_or(CollectError::Absurd("/proc/stat has no btime"))?;
        readings.push(Reading::plain("boot_time_seconds", boot_time_s as f64));
        Ok(())
    }
}

/// Whole seconds out of `/proc/uptime`.
fn uptime_s(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_is_told_in_whole_seconds() {
        // Linux 6.1, 2026-11-21.
        assert_eq!(uptime_s("2146.58 1933.92\n"), Some(2_146));
        assert_eq!(uptime_s("x\n"), None);
    }
}
