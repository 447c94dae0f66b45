//! Load averages.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::collection::Naming,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["load_15m", "load_1m", "load_5m"];

/// Reads load averages.
pub struct Load {
    naming: Naming,
    loadavg: Kept,
}

impl Load {
    /// A collector.
    pub fn new(naming: Naming) -> Self {
        Self { naming, loadavg: Kept::new("/proc/loadavg") }
    }
}

impl Collector for Load {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let averages = parse(self.loadavg.text()?)
            .ok_or(CollectError::Absurd("/proc/loadavg does not begin with three numbers"))?;
        readings.extend(samples(averages, ["load_1m", "load_5m", "load_15m"]));
        if self.naming == Naming::NodeExporter {
            readings.extend(samples(averages, ["node_load1", "node_load5", "node_load15"]));
        }
        Ok(())
    }
}

/// The averages of `/proc/loadavg` (`man 5 proc_loadavg`), which has them to two decimals.
pub fn parse(loadavg: &str) -> Option<[f64; 3]> {
    let mut numbers = loadavg.split_whitespace().map(|word| word.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// The samples of a reading.
pub fn samples(averages: [f64; 3], names: [&'static str; 3]) -> impl Iterator<Item = Reading> {
    names.into_iter().zip(averages).map(|(name, load)| Reading::plain(name, load))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_are_read_as_they_are_told() {
        // Linux 6.1, 2026-11-21.
        let averages = parse("2.05 1.51 1.23 4/166 2461\n").unwrap();
        let samples: Vec<Reading> = samples(averages, ["load_1m", "load_5m", "load_15m"]).collect();
        let expected = [("load_1m", 2.05), ("load_5m", 1.51), ("load_15m", 1.23)];
        assert_eq!(samples, expected.map(|(name, load)| Reading::plain(name, load)));
    }

    #[test]
    fn fewer_numbers_are_no_reading() {
        for bad in ["", "1.0", "1.0 2.0", "1.0 x 3.0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
