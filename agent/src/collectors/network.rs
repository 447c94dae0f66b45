//! Network interfaces: what they have received and sent, as counters.

use super::{CollectError, Collector, Reading};
use std::collections::BTreeMap;
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

/// What a counter of 32 bits wraps at.
const WRAP: u64 = 1 << 32;

/// One interface's counters as the operating system has them, in the order of [`DESCRIBED`].
#[derive(Clone, Debug)]
pub struct InterfaceReading {
    /// Its name.
    pub name: String,
    /// Whether it leads back to this host.
    pub is_loopback: bool,
    /// The counters.
    pub counters: [u64; DESCRIBED.len()],
}

/// Reads interfaces, and remembers their counters.
pub struct Network {
    networks: Result<Networks, String>,
    carried: Carried,
}

impl Network {
    /// A collector that remembers nothing yet.
    pub fn new() -> Self {
        Self { networks: Networks::new().map_err(|error| error.to_string()), carried: Carried::default() }
    }

    fn read(&mut self) -> Result<Vec<InterfaceReading>, CollectError> {
        let networks = self
            .networks
            .as_mut()
            .map_err(|error| CollectError::unreadable("the network interfaces", error))?;
        networks.refresh(true);
        let mut interfaces: Vec<InterfaceReading> = networks
            .iter()
            .map(|(name, data)| InterfaceReading {
                name: name.to_string_lossy().into_owned(),
                is_loopback: name == "lo" || name == "lo0",
                counters: [
                    data.total_received(),
                    data.total_errors_on_received(),
                    data.total_packets_received(),
                    data.total_transmitted(),
                    data.total_errors_on_transmitted(),
                    data.total_packets_transmitted(),
                ],
            })
            .collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(interfaces)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Network {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let interfaces = self.read()?;
        if interfaces.is_empty() {
            return Err(CollectError::Absurd("the operating system lists no network interface"));
        }
        readings.extend(samples(&interfaces, &mut self.carried));
        Ok(())
    }
}

/// The counters of every interface at the last reading, and what their wraps add up to.
#[derive(Debug, Default)]
pub struct Carried(BTreeMap<String, [Carry; DESCRIBED.len()]>);

/// One counter, carried on over the wraps of 32 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Carry {
    raw: u64,
    offset: u64,
}

impl Carry {
    /// The counter's value after `raw` was read. From the last quarter of 32 bits to the first
    /// is a wrap; any other way down is a reset and passed through as it is: queries know resets.
    fn next(&mut self, raw: u64) -> u64 {
        if raw < self.raw {
            let wrapped = self.raw < WRAP && self.raw > WRAP / 4 * 3 && raw < WRAP / 4;
            self.offset = if wrapped { self.offset.saturating_add(WRAP) } else { 0 };
        }
        self.raw = raw;
        self.offset.saturating_add(raw)
    }
}

/// The samples of a reading, without loopback. An interface that is gone is forgotten.
pub fn samples(interfaces: &[InterfaceReading], carried: &mut Carried) -> Vec<Reading> {
    let mut before = std::mem::take(&mut carried.0);
    let mut samples = Vec::with_capacity(interfaces.len() * DESCRIBED.len());
    for interface in interfaces.iter().filter(|interface| !interface.is_loopback) {
        let mut carries = before.remove(&interface.name).unwrap_or_default();
        for ((name, carry), raw) in DESCRIBED.iter().zip(&mut carries).zip(interface.counters) {
            let value = carry.next(raw) as f64;
            samples.push(Reading::labelled(name, "iface", &interface.name, value));
        }
        carried.0.insert(interface.name.clone(), carries);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, received_bytes: u64) -> InterfaceReading {
        InterfaceReading {
            name: name.into(),
            is_loopback: name == "lo",
            counters: [received_bytes, 1, 2, 3, 4, 5],
        }
    }

    /// What `eth0` has received according to each of a row of readings.
    fn received(raw: &[u64]) -> Vec<u64> {
        let mut carried = Carried::default();
        raw.iter().map(|bytes| samples(&[interface("eth0", *bytes)], &mut carried)[0].value as u64).collect()
    }

    #[test]
    fn every_interface_but_loopback_has_its_counters() {
        let samples = samples(&[interface("eth0", 9), interface("lo", 9)], &mut Carried::default());
        let expected: Vec<Reading> = DESCRIBED
            .iter()
            .zip([9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
            .map(|(name, value)| Reading::labelled(name, "iface", "eth0", value))
            .collect();
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_wrap_of_32_bits_is_carried_on() {
        assert_eq!(received(&[WRAP - 10, 5]), [WRAP - 10, WRAP + 5]);
        assert_eq!(received(&[WRAP - 10, 5, WRAP - 1, 0]), [WRAP - 10, WRAP + 5, 2 * WRAP - 1, 2 * WRAP]);
    }

    #[test]
    fn only_from_the_last_quarter_to_the_first_is_a_wrap() {
        let (last, first) = (WRAP / 4 * 3, WRAP / 4);
        for (before, after, value) in [
            (last + 1, first - 1, WRAP + first - 1),
            (last, first - 1, first - 1),
            (last + 1, first, first),
            (WRAP - 1, 0, WRAP),
            // A counter that was beyond 32 bits does not wrap at them.
            (WRAP, 0, 0),
            (10 * WRAP, 1, 1),
        ] {
            assert_eq!(received(&[before, after]), [before, value], "{before} to {after}");
        }
    }

    #[test]
    fn a_reset_is_passed_through_and_clears_what_was_carried() {
        assert_eq!(
            received(&[WRAP - 1, 7, 3, 4]),
            [WRAP - 1, WRAP + 7, 3, 4],
            "the second decrease is a reset"
        );
    }

    #[test]
    fn an_interface_that_was_gone_starts_anew() {
        let mut carried = Carried::default();
        samples(&[interface("eth0", WRAP - 1)], &mut carried);
        samples(&[], &mut carried);
        assert_eq!(samples(&[interface("eth0", 5)], &mut carried)[0].value, 5.0);
    }
}
