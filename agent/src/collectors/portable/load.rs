//! Load averages.

use crate::collectors::{CollectError, Collector, Reading, to_hundredths};
use sysinfo::{LoadAvg, System};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["load_15m", "load_1m", "load_5m"];

/// Reads load averages.
pub struct Load;

impl Load {
    fn read(&self) -> Result<LoadAvg, CollectError> {
        System::load_average().map_err(|error| CollectError::unreadable("the load average", error))
    }
}

impl Collector for Load {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        readings.extend(samples(&self.read()?));
        Ok(())
    }
}

/// The samples of a reading.
pub fn samples(reading: &LoadAvg) -> Vec<Reading> {
    [("load_1m", reading.one), ("load_5m", reading.five), ("load_15m", reading.fifteen)]
        .map(|(name, load)| Reading::plain(name, to_hundredths(load)))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_to_two_decimals() {
        let reading = LoadAvg { one: 0.1 + 0.2, five: 1.0, fifteen: 0.0 };
        assert_eq!(
            samples(&reading),
            [Reading::plain("load_1m", 0.3), Reading::plain("load_5m", 1.0), Reading::plain("load_15m", 0.0)]
        );
    }
}
