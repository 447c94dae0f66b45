//! Since when the host runs.

use crate::collectors::{CollectError, Collector, Reading};
use sysinfo::System;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["boot_time_seconds", "uptime_seconds"];

/// Both in seconds; the boot time since the epoch, by the host's own clock.
#[derive(Debug)]
pub struct UptimeReading {
    /// When the host booted.
    pub boot_time_s: u64,
    /// For how long it has been running.
    pub uptime_s: u64,
}

/// Reads the uptime.
pub struct Uptime;

impl Uptime {
    fn read(&self) -> Result<UptimeReading, CollectError> {
        let unreadable = |error| CollectError::unreadable("the boot time", error);
        Ok(UptimeReading {
            boot_time_s: System::boot_time().map_err(unreadable)?,
            uptime_s: System::uptime().map_err(unreadable)?,
        })
    }
}

impl Collector for Uptime {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        readings.extend(samples(&self.read()?));
        Ok(())
    }
}

/// The samples of a reading.
pub fn samples(reading: &UptimeReading) -> Vec<Reading> {
    vec![
        Reading::plain("boot_time_seconds", reading.boot_time_s as f64),
        Reading::plain("uptime_seconds", reading.uptime_s as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_and_uptime_in_whole_seconds() {
        let reading = UptimeReading { boot_time_s: 1_795_248_000, uptime_s: 61 };
        assert_eq!(
            samples(&reading),
            [Reading::plain("boot_time_seconds", 1_795_248_000.0), Reading::plain("uptime_seconds", 61.0)]
        );
    }
}
