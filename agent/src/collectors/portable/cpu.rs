//! Processors: how busy they were since the last reading, all together and one by one.

use crate::collectors::{CollectError, Collector, Reading, to_hundredths};
use std::time::Instant;
use sysinfo::{CpuRefreshKind, MINIMUM_CPU_UPDATE_INTERVAL, System};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["cpu_count", "cpu_usage_pct"];

/// Busy shares in percent.
#[derive(Debug)]
pub struct CpuReading {
    /// The mean of all processors; absent until there are two readings to compare.
    pub total_pct: Option<f64>,
    /// Each processor by the operating system's name (`cpu0`) and its share.
    pub cores: Vec<(String, f64)>,
}

/// Reads processors.
pub struct Cpu {
    system: Result<System, String>,
    read_before: Option<Instant>,
}

impl Cpu {
    /// A collector that has taken its first reading.
    pub fn new() -> Self {
        let mut cpu = Self { system: System::new().map_err(|error| error.to_string()), read_before: None };
        // Whatever fails now fails again when it counts.
        let _first = cpu.read();
        cpu
    }

    fn read(&mut self) -> Result<CpuReading, CollectError> {
        let system =
            self.system.as_mut().map_err(|error| CollectError::unreadable("the processors", error))?;
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        // Below that interval sysinfo repeats its previous answer.
        let comparable =
            self.read_before.is_some_and(|before| before.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL);
        self.read_before.get_or_insert_with(Instant::now);
        let share = |pct: f32| f64::from(pct);
        Ok(CpuReading {
            total_pct: comparable.then(|| share(system.global_cpu_usage())),
            cores: system.cpus().iter().map(|core| (core.name().to_owned(), share(core.usage()))).collect(),
        })
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Cpu {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let reading = self.read()?;
        if reading.cores.is_empty() {
            return Err(CollectError::Absurd("the operating system lists no processor"));
        }
        readings.extend(samples(&reading));
        Ok(())
    }
}

/// The samples of a reading; the first reading after start has no shares.
pub fn samples(reading: &CpuReading) -> Vec<Reading> {
    let mut samples = vec![Reading::plain("cpu_count", reading.cores.len() as f64)];
    if let Some(total_pct) = reading.total_pct {
        let usage = |core: &str, pct| Reading::labelled("cpu_usage_pct", "core", core, to_hundredths(pct));
        samples.push(usage("total", total_pct));
        let number = |name: &str| name.strip_prefix("cpu").unwrap_or(name).to_owned();
        samples.extend(reading.cores.iter().map(|(name, pct)| usage(&number(name), *pct)));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cores(total_pct: Option<f64>) -> CpuReading {
        CpuReading { total_pct, cores: vec![("cpu0".into(), 30.004), ("cpu1".into(), 50.0)] }
    }

    #[test]
    fn total_and_cores_are_told_apart_by_label_and_rounded() {
        let usage = |core, pct| Reading::labelled("cpu_usage_pct", "core", core, pct);
        assert_eq!(
            samples(&two_cores(Some(40.126))),
            [Reading::plain("cpu_count", 2.0), usage("total", 40.13), usage("0", 30.0), usage("1", 50.0)]
        );
    }

    #[test]
    fn the_first_reading_has_no_shares() {
        assert_eq!(samples(&two_cores(None)), [Reading::plain("cpu_count", 2.0)]);
    }

    #[test]
    fn of_two_readings_in_a_row_on_this_host_the_second_is_not_compared() {
        let mut readings = Vec::new();
        Cpu::new().collect(&mut readings).unwrap();
        assert_eq!(readings.len(), 1, "{readings:?}");
    }
}
