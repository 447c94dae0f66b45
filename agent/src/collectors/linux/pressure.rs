//! Pressure: how long tasks have waited for a resource.

use super::kept::Kept;
use crate::collectors::{CollectError, Collector, Reading};
use rustix::io::Errno;
use std::io;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["pressure_full_seconds_total", "pressure_some_seconds_total"];

/// Reads pressure.
pub struct Pressure {
    resources: [(&'static str, Kept); 3],
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            resources: [
                ("cpu", Kept::new("/proc/pressure/cpu")),
                ("memory", Kept::new("/proc/pressure/memory")),
                ("io", Kept::new("/proc/pressure/io")),
            ],
        }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        for (resource, file) in &mut self.resources {
            match file.read() {
                Ok(text) => readings.extend(samples(resource, text)),
                Err(error) if has_none(&error) => {}
                Err(error) => return Err(CollectError::unreadable(resource, error)),
            }
        }
        Ok(())
    }
}

/// Whether that is what a kernel says that has nothing to tell: one before 4.20 or built without pressure has no such
/// file, and one that was started without has files that cannot be read.
fn has_none(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
}

/// The samples of one file (the kernel's `Documentation/accounting/psi.rst`), microseconds to three decimals. That all
/// tasks wait for a processor cannot be, so it is left out.
pub fn samples(resource: &str, text: &str) -> Vec<Reading> {
    let sample = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let name = match kind {
            "some" => "pressure_some_seconds_total",
            "full" if resource != "cpu" => "pressure_full_seconds_total",
            _ => return None,
        };
        let total_us: u64 = rest.split_once("total=")?.1.trim().parse().ok()?;
        let seconds = (total_us / 1_000) as f64 / 1_000.0;
        Some(Reading::labelled(name, "resource", resource, seconds))
    };
    text.lines().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/pressure/io` of a virtual machine with Linux 6.1, 2026-11-21.
    const IO: &str = "some avg10=0.88 avg60=1.83 avg300=1.85 total=24867360\n\
        full avg10=0.00 avg60=0.40 avg300=0.77 total=15212427\n";

    #[test]
    fn both_kinds_are_counted_in_seconds() {
        assert_eq!(
            samples("io", IO),
            [
                Reading::labelled("pressure_some_seconds_total", "resource", "io", 24.867),
                Reading::labelled("pressure_full_seconds_total", "resource", "io", 15.212),
            ]
        );
    }

    #[test]
    fn a_kernel_without_pressure_has_none_and_any_other_fault_is_one() {
        assert!(has_none(&io::ErrorKind::NotFound.into()));
        assert!(has_none(&io::Error::from_raw_os_error(Errno::OPNOTSUPP.raw_os_error())));
        assert!(!has_none(&io::ErrorKind::PermissionDenied.into()));
    }

    #[test]
    fn processors_have_no_full_pressure_and_damage_no_sample() {
        assert_eq!(samples("cpu", IO).len(), 1);
        assert_eq!(samples("io", "some\nsome total=x\nhalf total=1\n"), []);
    }
}
