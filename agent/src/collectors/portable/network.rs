//! Network interfaces: what they have received and sent, as counters.

use crate::{
    collectors::{CollectError, Collector, Reading, carried::Carried},
    settings::patterns::Patterns,
};
use sysinfo::Networks;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "net_receive_bytes_total",
    "net_receive_errors_total",
    "net_receive_packets_total",
    "net_transmit_bytes_total",
    "net_transmit_errors_total",
    "net_transmit_packets_total",
];

/// Reads interfaces, and remembers their counters.
pub struct Network {
    networks: Result<Networks, String>,
    exclude: Patterns,
    carried: Carried<{ DESCRIBED.len() }>,
}

impl Network {
    /// A collector that remembers nothing yet.
    pub fn new(exclude: Patterns) -> Self {
        let networks = Networks::new().map_err(|error| error.to_string());
        Self { networks, exclude, carried: Carried::default() }
    }

    /// Every interface's counters in the order of [`DESCRIBED`], sorted by name.
    fn read(&mut self) -> Result<Vec<(String, [u64; DESCRIBED.len()])>, CollectError> {
        let networks = self
            .networks
            .as_mut()
            .map_err(|error| CollectError::unreadable("the network interfaces", error))?;
        networks.refresh(true);
        let mut interfaces: Vec<_> = networks
            .iter()
            .map(|(name, data)| {
                let counters = [
                    data.total_received(),
                    data.total_errors_on_received(),
                    data.total_packets_received(),
                    data.total_transmitted(),
                    data.total_errors_on_transmitted(),
                    data.total_packets_transmitted(),
                ];
                (name.to_string_lossy().into_owned(), counters)
            })
            .collect();
        interfaces.sort();
        Ok(interfaces)
    }
}

impl Collector for Network {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let interfaces = self.read()?;
        if interfaces.is_empty() {
            return Err(CollectError::Absurd("the operating system lists no network interface"));
        }
        let counted = self.carried.next(interfaces);
        // macOS calls its loopback lo0.
        let told = counted.iter().filter(|(name, _)| name != "lo0" && !self.exclude.matches(name));
        readings.extend(told.flat_map(|(name, counters)| samples(name, counters)));
        Ok(())
    }
}

/// The samples of an interface.
pub fn samples(name: &str, counters: &[u64; DESCRIBED.len()]) -> Vec<Reading> {
    let sample =
        |(metric, count): (&&'static str, &u64)| Reading::labelled(metric, "iface", name, *count as f64);
    DESCRIBED.iter().zip(counters).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let samples = samples("en0", &[9, 1, 2, 3, 4, 5]);
        let last = Reading::labelled("net_transmit_packets_total", "iface", "en0", 5.0);
        assert_eq!(samples[0], Reading::labelled("net_receive_bytes_total", "iface", "en0", 9.0));
        assert_eq!((samples.len(), samples.last()), (6, Some(&last)));
    }
}
