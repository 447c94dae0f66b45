//! Memory and swap.

use crate::collectors::{CollectError, Collector, Reading, percentage};
use sysinfo::{MemoryRefreshKind, System};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "mem_available_bytes",
    "mem_total_bytes",
    "mem_used_bytes",
    "mem_used_pct",
    "swap_total_bytes",
    "swap_used_bytes",
    "swap_used_pct",
];

/// Sizes in bytes.
#[derive(Debug)]
pub struct MemoryReading {
    /// Usable memory.
    pub total: u64,
    /// What programs can still get without swapping.
    pub available: u64,
    /// Swap; 0 without any.
    pub swap_total: u64,
    /// Swap that nobody uses.
    pub swap_free: u64,
}

/// Reads memory and swap.
pub struct Memory {
    system: Result<System, String>,
}

impl Memory {
    /// A collector.
    pub fn new() -> Self {
        Self { system: System::new().map_err(|error| error.to_string()) }
    }

    fn read(&mut self) -> Result<MemoryReading, CollectError> {
        let system = self.system.as_mut().map_err(|error| CollectError::unreadable("memory", error))?;
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        Ok(MemoryReading {
            total: system.total_memory(),
            available: system.available_memory(),
            swap_total: system.total_swap(),
            swap_free: system.free_swap(),
        })
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Memory {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let reading = self.read()?;
        if reading.total == 0 {
            return Err(CollectError::Absurd("the operating system tells of no memory"));
        }
        readings.extend(samples(&reading));
        Ok(())
    }
}

/// The samples of a reading. Used is what is not available; a host without swap has no share of it.
pub fn samples(reading: &MemoryReading) -> Vec<Reading> {
    let used = reading.total.saturating_sub(reading.available);
    let swap_used = reading.swap_total.saturating_sub(reading.swap_free);
    let mut samples = vec![
        Reading::plain("mem_total_bytes", reading.total as f64),
        Reading::plain("mem_available_bytes", reading.available as f64),
        Reading::plain("mem_used_bytes", used as f64),
        Reading::plain("mem_used_pct", percentage(used, reading.total)),
        Reading::plain("swap_total_bytes", reading.swap_total as f64),
        Reading::plain("swap_used_bytes", swap_used as f64),
    ];
    if reading.swap_total > 0 {
        samples.push(Reading::plain("swap_used_pct", percentage(swap_used, reading.swap_total)));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_what_is_not_available() {
        let reading = MemoryReading { total: 3_000, available: 1_000, swap_total: 800, swap_free: 700 };
        assert_eq!(
            samples(&reading),
            [
                Reading::plain("mem_total_bytes", 3_000.0),
                Reading::plain("mem_available_bytes", 1_000.0),
                Reading::plain("mem_used_bytes", 2_000.0),
                Reading::plain("mem_used_pct", 66.67),
                Reading::plain("swap_total_bytes", 800.0),
                Reading::plain("swap_used_bytes", 100.0),
                Reading::plain("swap_used_pct", 12.5),
            ]
        );
    }

    #[test]
    fn without_swap_there_is_no_share_of_it() {
        let reading = MemoryReading { total: 1, available: 2, swap_total: 0, swap_free: 0 };
        let samples = samples(&reading);
        assert!(samples.iter().all(|sample| sample.name != "swap_used_pct"));
        assert!(samples.contains(&Reading::plain("mem_used_bytes", 0.0)));
    }
}
