//! Network interfaces: what they have received and sent, and whether they are up.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::{
        collection::{Collection, Naming},
        patterns::Patterns,
    },
};
use std::path::{Path, PathBuf};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "net_receive_bytes_total",
    "net_receive_dropped_total",
    "net_receive_errors_total",
    "net_receive_packets_total",
    "net_transmit_bytes_total",
    "net_transmit_dropped_total",
    "net_transmit_errors_total",
    "net_transmit_packets_total",
];

/// Our names for columns of `/proc/net/dev`, from 0.
const OURS: &[(usize, &str)] = &[
    (0, "net_receive_bytes_total"),
    (1, "net_receive_packets_total"),
    (2, "net_receive_errors_total"),
    (3, "net_receive_dropped_total"),
    (8, "net_transmit_bytes_total"),
    (9, "net_transmit_packets_total"),
    (10, "net_transmit_errors_total"),
    (11, "net_transmit_dropped_total"),
];

/// node_exporter's names for all of them.
const NODE_EXPORTERS: &[(usize, &str)] = &[
    (0, "node_network_receive_bytes_total"),
    (1, "node_network_receive_packets_total"),
    (2, "node_network_receive_errs_total"),
    (3, "node_network_receive_drop_total"),
    (4, "node_network_receive_fifo_total"),
    (5, "node_network_receive_frame_total"),
    (6, "node_network_receive_compressed_total"),
    (7, "node_network_receive_multicast_total"),
    (8, "node_network_transmit_bytes_total"),
    (9, "node_network_transmit_packets_total"),
    (10, "node_network_transmit_errs_total"),
    (11, "node_network_transmit_drop_total"),
    (12, "node_network_transmit_fifo_total"),
    (13, "node_network_transmit_colls_total"),
    (14, "node_network_transmit_carrier_total"),
    (15, "node_network_transmit_compressed_total"),
];

/// Files of `/sys/class/net/*` that hold a number, with node_exporter's names for them.
const NODE_CLASS: &[(&str, &str)] = &[
    ("addr_assign_type", "node_network_address_assign_type"),
    ("carrier", "node_network_carrier"),
    ("carrier_changes", "node_network_carrier_changes_total"),
    ("carrier_down_count", "node_network_carrier_down_changes_total"),
    ("carrier_up_count", "node_network_carrier_up_changes_total"),
    ("dev_id", "node_network_device_id"),
    ("dormant", "node_network_dormant"),
    ("flags", "node_network_flags"),
    ("ifindex", "node_network_iface_id"),
    ("iflink", "node_network_iface_link"),
    ("link_mode", "node_network_iface_link_mode"),
    ("mtu", "node_network_mtu_bytes"),
    ("name_assign_type", "node_network_name_assign_type"),
    ("netdev_group", "node_network_net_dev_group"),
    ("statistics/rx_nohandler", "node_network_receive_nohandler_total"),
    ("tx_queue_len", "node_network_transmit_queue_length"),
    ("type", "node_network_protocol_type"),
];

/// One interface's counters as the kernel has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The columns of `/proc/net/dev`.
    pub columns: [u64; 16],
}

/// Reads interfaces.
pub struct Network {
    naming: Naming,
    exclude: Patterns,
    dev: Dev,
    class: PathBuf,
}

impl Network {
    /// A collector.
    pub fn new(collection: &Collection) -> Self {
        Self {
            naming: collection.naming,
            exclude: collection.exclude.interfaces.clone(),
            dev: Dev::default(),
            class: "/sys/class/net".into(),
        }
    }
}

impl Collector for Network {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let interfaces = self.dev.read()?;
        if interfaces.is_empty() {
            return Err(CollectError::Absurd("/proc/net/dev lists no network interface"));
        }
        // Kernels of 64 bits count in as many: what is lower than before began anew, be it an interface of the same name.
        for interface in interfaces {
            let counts = !self.exclude.matches(&interface.name);
            if counts {
                readings.extend(samples(&interface, "iface", OURS));
            }
            if self.naming == Naming::NodeExporter {
                if counts {
                    readings.extend(samples(&interface, "device", NODE_EXPORTERS));
                }
                // node_exporter's `netclass` leaves nothing out, not even the loopback.
                if counts || interface.name == "lo" {
                    readings.extend(node_class_samples(&self.class, &interface.name, counts));
                }
            }
        }
        Ok(())
    }
}

/// `/proc/net/dev`.
pub struct Dev(Kept);

impl Default for Dev {
    fn default() -> Self {
        Self(Kept::new("/proc/net/dev"))
    }
}

impl Dev {
    /// The interfaces in it.
    pub fn read(&mut self) -> Result<Vec<Interface>, CollectError> {
        Ok(parse(self.0.text()?))
    }
}

/// Reads `/proc/net/dev`: two lines of names, then a line an interface.
pub fn parse(dev: &str) -> Vec<Interface> {
    let interface = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let mut columns = [0; 16];
        let mut words = rest.split_whitespace();
        for column in &mut columns {
            *column = words.next()?.parse().ok()?;
        }
        Some(Interface { name: name.trim().to_owned(), columns })
    };
    dev.lines().skip(2).filter_map(interface).collect()
}

/// The samples of an interface's columns under these names.
pub fn samples(interface: &Interface, key: &'static str, names: &[(usize, &'static str)]) -> Vec<Reading> {
    let sample = |(at, name): &(usize, &'static str)| {
        let count = *interface.columns.get(*at)?;
        Some(Reading::labelled(name, key, &interface.name, count as f64))
    };
    names.iter().filter_map(sample).collect()
}

/// node_exporter's `netclass` collector. What an interface does not tell is absent.
fn node_class_samples(class: &Path, name: &str, counts: bool) -> Vec<Reading> {
    let dir = class.join(name);
    let told = |file: &str| {
        let text = std::fs::read_to_string(dir.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    let of = |metric, value| Reading::labelled(metric, "device", name, value);
    let mut samples: Vec<Reading> = NODE_CLASS
        .iter()
        .filter(|(file, _)| counts || !file.starts_with("statistics"))
        .filter_map(|(file, metric)| Some(of(metric, number(&told(file)?)?)))
        .collect();
    // A speed is in megabits a second, and -1 where nobody knows it: that is told as it is there.
    samples.extend(
        told("speed")
            .and_then(|text| number(&text))
            .map(|mbit| of("node_network_speed_bytes", mbit * 1_000_000.0 / 8.0)),
    );
    let state = told("operstate").unwrap_or_default();
    samples.push(of("node_network_up", f64::from(u8::from(state == "up"))));
    let mut info = of("node_network_info", 1.0);
    for (key, file) in [
        ("address", "address"),
        ("broadcast", "broadcast"),
        ("duplex", "duplex"),
        ("ifalias", "ifalias"),
        ("operstate", "operstate"),
    ] {
        // An empty label is an absent one.
        if let Some(text) = told(file).filter(|text| !text.is_empty()) {
            info = info.with(key, &text);
        }
    }
    samples.push(info);
    samples
}

/// A number, decimal or after `0x`.
fn number(text: &str) -> Option<f64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    Some(value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.1, 2026-11-21.
    const DEV: &str = "Inter-|   Receive                    |  Transmit\n face |bytes    packets errs drop fifo frame\n\
        \u{20}   lo: 257284295   30323    0    0    0     0          0         0 257284295   30323    0    0    0     0       0          0\n\
        eth0:471653923   19469    1    2    3     4          5         6  1050841   11147    7    8    9    10      11         12\n\
        eth1: 1 2 3\n";

    #[test]
    fn every_column_has_its_name() {
        let interfaces = parse(DEV);
        assert_eq!(interfaces.len(), 2, "a line with too few columns is passed over");
        let of = |name, value| Reading::labelled(name, "iface", "eth0", value);
        assert_eq!(
            samples(&interfaces[1], "iface", OURS),
            [
                of("net_receive_bytes_total", 471_653_923.0),
                of("net_receive_packets_total", 19_469.0),
                of("net_receive_errors_total", 1.0),
                of("net_receive_dropped_total", 2.0),
                of("net_transmit_bytes_total", 1_050_841.0),
                of("net_transmit_packets_total", 11_147.0),
                of("net_transmit_errors_total", 7.0),
                of("net_transmit_dropped_total", 8.0),
            ]
        );
        let nodes = samples(&interfaces[1], "device", NODE_EXPORTERS);
        let last = Reading::labelled("node_network_transmit_compressed_total", "device", "eth0", 12.0);
        assert_eq!((nodes.len(), nodes.last()), (16, Some(&last)));
    }

    #[test]
    fn an_interface_that_was_made_anew_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev");
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        let dev = Dev(Kept::new(path.to_str().unwrap().to_owned().leak()));
        let mut network = Network { dev, ..Network::new(&collection) };
        // The first is close to what 32 bits hold.
        for received in [4_200_000_000_u64, 5] {
            std::fs::write(&path, format!("\n\n wg0: {received} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")).unwrap();
            let mut readings = Vec::new();
            network.collect(&mut readings).unwrap();
            assert_eq!(readings[0].value, received as f64);
        }
    }

    #[test]
    fn a_class_tells_what_it_has_and_nothing_else() {
        let class = tempfile::tempdir().unwrap();
        let dir = class.path().join("eth0");
        std::fs::create_dir(&dir).unwrap();
        // As a machine with a gigabit card has them.
        for (file, text) in [
            ("mtu", "1500\n"),
            ("flags", "0x1003\n"),
            ("speed", "1000\n"),
            ("operstate", "up\n"),
            ("address", "02:fc:00:00:00:01\n"),
            ("ifalias", "\n"),
            ("carrier", "x\n"),
        ] {
            std::fs::write(dir.join(file), text).unwrap();
        }
        let of = |name, value| Reading::labelled(name, "device", "eth0", value);
        assert_eq!(
            node_class_samples(class.path(), "eth0", true),
            [
                of("node_network_flags", 4_099.0),
                of("node_network_mtu_bytes", 1_500.0),
                of("node_network_speed_bytes", 125_000_000.0),
                of("node_network_up", 1.0),
                of("node_network_info", 1.0).with("address", "02:fc:00:00:00:01").with("operstate", "up"),
            ]
        );
    }
}
