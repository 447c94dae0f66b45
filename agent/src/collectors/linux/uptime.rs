//! Since when the host runs.

use super::{kept::Kept, number_of, text_of, uname};
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
    settings::collection::Naming,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["boot_time_seconds", "uptime_seconds"];

/// Reads the uptime. When the host booted changes with its clock only, so it is not read at every round: there is much
/// else beside it.
pub struct Uptime {
    naming: Naming,
    uptime: Kept,
    boot: Option<Boot>,
}

/// When the host booted, as its clock had it.
struct Boot {
    time_s: u64,
    /// What the clock was ahead of the uptime when this was read.
    ahead_s: i64,
}

impl Uptime {
    /// A collector.
    pub const fn new(naming: Naming) -> Self {
        Self { naming, uptime: Kept::new("/proc/uptime"), boot: None }
    }

    /// When the host booted; read again when its clock was put right since. A second's difference comes of rounding.
    fn boot_time_s(
        &mut self,
        ahead_s: i64,
        read: impl Fn() -> Result<String, CollectError>,
    ) -> Result<u64, CollectError> {
        match &self.boot {
            Some(boot) if boot.ahead_s.abs_diff(ahead_s) <= 1 => Ok(boot.time_s),
            _ => {
                let time_s = number_of(&read()?, "btime");
                let time_s = time_s.ok_or(CollectError::Absurd("/proc/stat has no btime"))?;
                self.boot = Some(Boot { time_s, ahead_s });
                Ok(time_s)
            }
        }
    }
}

impl Collector for Uptime {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let uptime_s = uptime_s(self.uptime.text()?)
            .ok_or(CollectError::Absurd("/proc/uptime does not begin with a number"))?;
        readings.push(Reading::plain("uptime_seconds", uptime_s as f64));
        let ahead_s = (os_clock::wall().0 / 1_000).saturating_sub_unsigned(uptime_s);
        let boot_time_s = self.boot_time_s(ahead_s, || text_of("/proc/stat"))?;
        readings.push(Reading::plain("boot_time_seconds", boot_time_s as f64));
        if self.naming == Naming::NodeExporter {
            readings.push(uname::info());
        }
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

    #[test]
    fn when_the_host_booted_is_read_again_when_its_clock_was_put_right() {
        let mut uptime = Uptime::new(Naming::Edgewatch);
        // A board without a clock of its own begins in 1970.
        for (ahead_s, btime, told) in [
            (0, "btime 0\n", 0),
            (1, "btime 7\n", 0),
            (1_795_262_465, "btime 1795262465\n", 1_795_262_465),
            (1_795_262_464, "btime 7\n", 1_795_262_465),
            (1_795_262_463, "btime 1795262463\n", 1_795_262_463),
        ] {
            let boot_time_s = uptime.boot_time_s(ahead_s, || Ok(format!("cpu 1\n{btime}")));
            assert_eq!(boot_time_s.unwrap(), told, "{ahead_s}");
        }
        assert!(uptime.boot_time_s(0, || Ok("cpu 1\n".to_owned())).is_err());
    }
}
