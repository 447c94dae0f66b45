//! Whether somebody keeps the clock right.

use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
    settings::collection::Naming,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["time_error_seconds", "time_offset_seconds", "time_synchronized"];

/// The kernel's clock discipline, as `adjtimex` tells it (`man 2 adjtimex`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeReading {
    /// Whether the clock is disciplined.
    pub is_synchronized: bool,
    /// The last offset, in nanoseconds if `is_nano`, else in microseconds.
    pub offset: i64,
    /// The unit of `offset`.
    pub is_nano: bool,
    /// The largest error there can be, in microseconds.
    pub error_us: i64,
}

/// Reads the clock discipline.
pub struct Time {
    naming: Naming,
}

impl Time {
    /// A collector.
    pub const fn new(naming: Naming) -> Self {
        Self { naming }
    }

    #[expect(unsafe_code, reason = "none of our dependencies wraps adjtimex, and nothing else tells this")]
    fn read() -> Result<(TimeReading, libc::timex), CollectError> {
        // SAFETY: `timex` is a struct of integers, for which zeros are values.
        let mut told: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live `timex` of our own; with no modes set, the call only fills it.
        let state = unsafe { libc::adjtimex(&raw mut told) };
        if state < 0 {
            return Err(CollectError::unreadable("the clock discipline", std::io::Error::last_os_error()));
        }
        let reading = TimeReading {
            is_synchronized: state != libc::TIME_ERROR,
            offset: told.offset,
            is_nano: told.status & libc::STA_NANO != 0,
            error_us: told.maxerror,
        };
        Ok((reading, told))
    }
}

impl Collector for Time {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let (reading, told) = Self::read()?;
        readings.extend(samples(reading));
        if self.naming == Naming::NodeExporter {
            readings.push(Reading::plain("node_time_seconds", os_clock::wall().0 as f64 / 1_000.0));
            readings.extend(node_samples(&told));
        }
        Ok(())
    }
}

/// The samples of a reading: an offset to a hundred-thousandth of a second, an error to a thousandth.
pub fn samples(reading: TimeReading) -> [Reading; 3] {
    let per_s = if reading.is_nano { 1e9 } else { 1e6 };
    let rounded = |seconds: f64, digits: f64| (seconds * digits).round() / digits;
    [
        Reading::plain("time_error_seconds", rounded(reading.error_us as f64 / 1e6, 1e3)),
        Reading::plain("time_offset_seconds", rounded(reading.offset as f64 / per_s, 1e5)),
        Reading::plain("time_synchronized", f64::from(u8::from(reading.is_synchronized))),
    ]
}

/// node_exporter's `timex` collector, but for what has a name of ours too and for pulses per second.
fn node_samples(told: &libc::timex) -> [Reading; 6] {
    [
        ("node_timex_estimated_error_seconds", told.esterror as f64 / 1e6),
        // The kernel tells parts per million, of which it counts 65,536ths.
        ("node_timex_frequency_adjustment_ratio", 1.0 + told.freq as f64 / 65_536e6),
        ("node_timex_loop_time_constant", told.constant as f64),
        ("node_timex_status", f64::from(told.status)),
        ("node_timex_tai_offset_seconds", f64::from(told.tai)),
        ("node_timex_tick_seconds", told.tick as f64 / 1e6),
    ]
    .map(|(name, value)| Reading::plain(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_in_the_unit_that_the_kernel_says() {
        let reading =
            TimeReading { is_synchronized: true, offset: -1_234_567, is_nano: true, error_us: 16_000_499 };
        let told = |offset, synchronized| {
            [
                Reading::plain("time_error_seconds", 16.0),
                Reading::plain("time_offset_seconds", offset),
                Reading::plain("time_synchronized", synchronized),
            ]
        };
        assert_eq!(samples(reading), told(-0.00123, 1.0));
        let reading = TimeReading { is_synchronized: false, is_nano: false, ..reading };
        assert_eq!(samples(reading), told(-1.23457, 0.0));
    }

    #[test]
    fn this_hosts_kernel_tells() {
        let (reading, told) = Time::read().unwrap();
        assert!(reading.error_us >= 0);
        let of =
            |name: &str| node_samples(&told).into_iter().find(|sample| sample.name == name).unwrap().value;
        // What the kernel lets anybody set.
        assert!((0.009..=0.011).contains(&of("node_timex_tick_seconds")));
        assert!((0.999..=1.001).contains(&of("node_timex_frequency_adjustment_ratio")));
    }
}
