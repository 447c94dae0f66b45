//! Pressure: how long tasks have waited for a resource.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::collection::Naming,
};
use rustix::io::Errno;
use std::io;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["pressure_full_seconds_total", "pressure_some_seconds_total"];

/// Reads pressure.
pub struct Pressure {
    naming: Naming,
    resources: [(&'static str, Kept); 3],
    /// Told under node_exporter's names only.
    interrupts: Kept,
}

impl Pressure {
    /// A collector.
    pub const fn new(naming: Naming) -> Self {
        let resources = [
            ("cpu", Kept::new("/proc/pressure/cpu")),
            ("memory", Kept::new("/proc/pressure/memory")),
            ("io", Kept::new("/proc/pressure/io")),
        ];
        Self { naming, resources, interrupts: Kept::new("/proc/pressure/irq") }
    }
}

impl Collector for Pressure {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        for (resource, file) in &mut self.resources {
            match file.read() {
                Ok(text) => {
                    readings.extend(samples(resource, text));
                    if self.naming == Naming::NodeExporter {
                        readings.extend(node_samples(resource, text));
                    }
                }
                Err(error) if has_none(&error) => {}
                Err(error) => return Err(CollectError::unreadable(resource, error)),
            }
        }
        // Kernels before 6.1 do not tell it.
        if self.naming == Naming::NodeExporter
            && let Ok(text) = self.interrupts.read()
        {
            readings.extend(node_samples("irq", text));
        }
        Ok(())
    }
}

/// Whether that is what a kernel says that has nothing to tell: one before 4.20 or built without pressure has no such
/// file, and one that was started without has files that cannot be read.
fn has_none(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
}

/// The kinds of a file (the kernel's `Documentation/accounting/psi.rst`) and their seconds, to three decimals.
fn kinds(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(' ')?;
        let total_us: u64 = rest.split_once("total=")?.1.trim().parse().ok()?;
        Some((kind, (total_us / 1_000) as f64 / 1_000.0))
    })
}

/// The samples of one file. That all tasks wait for a processor cannot be, so it is left out.
pub fn samples(resource: &str, text: &str) -> Vec<Reading> {
    let sample = |(kind, seconds)| {
        let name = match kind {
            "some" => "pressure_some_seconds_total",
            "full" if resource != "cpu" => "pressure_full_seconds_total",
            _ => return None,
        };
        Some(Reading::labelled(name, "resource", resource, seconds))
    };
    kinds(text).filter_map(sample).collect()
}

/// node_exporter's `pressure` collector.
pub fn node_samples(resource: &str, text: &str) -> Vec<Reading> {
    let sample = |(kind, seconds)| {
        let name = match (resource, kind) {
            ("cpu", "some") => "node_pressure_cpu_waiting_seconds_total",
            ("memory", "some") => "node_pressure_memory_waiting_seconds_total",
            ("memory", "full") => "node_pressure_memory_stalled_seconds_total",
            ("io", "some") => "node_pressure_io_waiting_seconds_total",
            ("io", "full") => "node_pressure_io_stalled_seconds_total",
            ("irq", "full") => "node_pressure_irq_stalled_seconds_total",
            _ => return None,
        };
        Some(Reading::plain(name, seconds))
    };
    kinds(text).filter_map(sample).collect()
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
    fn node_exporters_names_have_the_resource_in_them() {
        let expected = [
            Reading::plain("node_pressure_io_waiting_seconds_total", 24.867),
            Reading::plain("node_pressure_io_stalled_seconds_total", 15.212),
        ];
        assert_eq!(node_samples("io", IO), expected);
        assert_eq!(node_samples("cpu", IO).len(), 1);
        // Linux 6.12.
        let irq = node_samples("irq", "full avg10=0.00 avg60=0.00 avg300=0.00 total=8494\n");
        assert_eq!(irq, [Reading::plain("node_pressure_irq_stalled_seconds_total", 0.008)]);
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
