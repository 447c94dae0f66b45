//! The nouns of a Linux host, read from `/proc` and `/sys` (`man 5 proc`, the kernel's `Documentation/admin-guide`).

pub mod containers;
pub mod cpu;
#[cfg(test)]
mod dashboards;
pub mod disk;
pub mod disk_io;
pub mod files;
mod frequencies;
mod kept;
pub mod load;
pub mod memory;
pub mod network;
mod patient;
pub mod pressure;
mod processes;
#[cfg(test)]
mod saved;
pub mod sockets;
pub mod temperature;
pub mod time;
pub mod traffic;
mod uname;
pub mod units;
pub mod uptime;

use super::{
    CollectError, Collector,
    itself::{self, Itself},
};
use crate::{clock::Clock, settings::collection::Collection};
use std::{path::Path, sync::Arc};

/// The nouns of this system, in the order in which they are read, and the names each of them emits.
pub const NOUNS: [(&str, &[&str]); 17] = [
    ("cpu", cpu::DESCRIBED),
    ("memory", memory::DESCRIBED),
    ("disk", disk::DESCRIBED),
    ("disk_io", disk_io::DESCRIBED),
    ("network", network::DESCRIBED),
    ("traffic", traffic::DESCRIBED),
    ("load", load::DESCRIBED),
    ("pressure", pressure::DESCRIBED),
    ("sockets", sockets::DESCRIBED),
    ("processes", processes::DESCRIBED),
    ("files", files::DESCRIBED),
    ("temperature", temperature::DESCRIBED),
    ("time", time::DESCRIBED),
    ("units", units::DESCRIBED),
    ("containers", containers::DESCRIBED),
    ("uptime", uptime::DESCRIBED),
    ("itself", itself::DESCRIBED),
];

pub use processes::{ProcessTable, owners};

/// The nouns' collectors, in the order of [`NOUNS`].
pub fn collectors(
    collection: &Collection,
    clock: &Arc<Clock>,
    itself: Itself,
) -> [Box<dyn Collector>; NOUNS.len()] {
    let naming = collection.naming;
    let exclude = &collection.exclude;
    [
        Box::new(cpu::Cpu::new(naming)),
        Box::new(memory::Memory::new(naming)),
        Box::new(disk::Disk::new(collection)),
        Box::new(disk_io::DiskIo::new(naming, exclude.devices.clone())),
        Box::new(network::Network::new(collection)),
        Box::new(traffic::Traffic::new(collection, Arc::clone(clock))),
        Box::new(load::Load::new(naming)),
        Box::new(pressure::Pressure::new(naming)),
        Box::new(sockets::Sockets::new(naming)),
        Box::new(processes::Processes::default()),
        Box::new(files::Files::new(naming)),
        Box::new(temperature::Temperature::default()),
        Box::new(time::Time::new(naming)),
        Box::new(units::Units::new(collection.units.clone())),
        Box::new(containers::Containers::new(collection.container_socket.clone())),
        Box::new(uptime::Uptime::new(naming)),
        Box::new(itself),
    ]
}

/// The text of a file of `/proc` or `/sys`.
fn text_of(path: impl AsRef<Path>) -> Result<String, CollectError> {
    let path = path.as_ref();
    std::fs::read_to_string(path)
        .map_err(|error| CollectError::unreadable(&path.display().to_string(), error))
}

/// Resident memory of this process.
pub struct Resident(kept::Kept);

impl Default for Resident {
    fn default() -> Self {
        Self(kept::Kept::new("/proc/self/statm"))
    }
}

impl Resident {
    /// In bytes.
    pub fn bytes(&mut self) -> Result<Option<u64>, CollectError> {
        resident_of(self.0.text()?, rustix::param::page_size() as u64)
            .map(Some)
            .ok_or(CollectError::Absurd("/proc/self/statm has no second number"))
    }
}

/// Resident bytes out of `/proc/self/statm`: its second number, in pages (`man 5 proc_pid_statm`).
fn resident_of(statm: &str, page_bytes: u64) -> Option<u64> {
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes)
}

/// The number behind `key` in a text of lines `key number …`.
fn number_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The numbers behind these keys in a text of lines `key number …`, found in one go.
fn numbers_of<const N: usize>(text: &str, keys: [&str; N]) -> [Option<u64>; N] {
    let mut numbers = [None; N];
    for line in text.lines() {
        let Some((key, rest)) = line.split_once([' ', ':']) else { continue };
        let wanted = keys.iter().zip(&mut numbers).find(|(wanted, _)| **wanted == key);
        if let Some((_, number)) = wanted {
            *number = rest.split_whitespace().next().and_then(|word| word.parse().ok());
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::collection::Naming;

    #[test]
    fn resident_memory_is_the_second_number_of_statm() {
        // /proc/self/statm of `cat` on Linux 6.1.
        assert_eq!(resident_of("1376 488 403 5 0 113 0\n", 4_096), Some(488 * 4_096));
        for bad in ["", "1376", "1376 x", "1 18446744073709551615"] {
            assert_eq!(resident_of(bad, 4_096), None, "{bad}");
        }
    }

    /// A saved text, and what reads it.
    type Parser = (&'static [u8], fn(&str));

    #[test]
    fn a_text_that_is_cut_anywhere_is_read_without_a_panic() {
        let parsers: &[Parser] = &[
            (saved::STAT, |text| drop(cpu::node_samples(&cpu::parse(text), 0))),
            (saved::MEMINFO, |text| drop((memory::samples(text), memory::node_samples(text)))),
            (saved::VMSTAT, |text| {
                drop((memory::event_samples(text, 4_096), memory::node_event_samples(text)))
            }),
            (saved::MOUNTINFO, |text| drop(disk::parse(text, disk::Whose::Hosts))),
            (saved::DISKSTATS, |text| drop(disk_io::parse(text, |_| true))),
            (saved::NET_DEV, |text| drop(network::parse(text))),
            (saved::LOADAVG, |text| assert!(load::parse(text).is_none_or(|averages| averages[0] >= 0.0))),
            (saved::PRESSURE_IO, |text| {
                drop((pressure::samples("io", text), pressure::node_samples("io", text)))
            }),
            (saved::SOCKSTAT, |text| {
                drop((sockets::samples(text, text), sockets::node_sockets(text, 4_096)))
            }),
            (saved::SNMP, |text| drop((sockets::retransmits(text), sockets::node_protocols(text)))),
            (saved::NETSTAT, |text| drop(sockets::node_protocols(text))),
            (saved::SNMP6, |text| drop(sockets::node_protocols_of_six(text))),
            (saved::PROCESS, |text| drop(processes::table::parse(text, 4_096, 0))),
            (saved::FILE_NR, |text| drop(files::samples(text, Naming::NodeExporter))),
        ];
        for (bytes, parse) in parsers {
            for end in 0..=bytes.len() {
                parse(&String::from_utf8_lossy(&bytes[..end]));
            }
            // And with a byte in its place that is no text.
            for at in (0..bytes.len()).step_by(7) {
                let mut broken = bytes.to_vec();
                broken[at] = 0xff;
                parse(&String::from_utf8_lossy(&broken));
            }
        }
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "pgmajfault_x 1\npgmajfault 5\nMemFree:    7 kB\n";
        assert_eq!(number_of(text, "pgmajfault"), Some(5));
        assert_eq!(number_of(text, "MemFree"), Some(7));
        assert_eq!(number_of(text, "Mem"), None);
        assert_eq!(numbers_of(text, ["MemFree", "Mem", "pgmajfault"]), [Some(7), None, Some(5)]);
    }
}
