//! Block devices: what they have read and written, and how long they were busy.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::{collection::Naming, patterns::Patterns},
};
use std::{collections::BTreeMap, path::Path};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "disk_busy_seconds_total",
    "disk_read_bytes_total",
    "disk_read_seconds_total",
    "disk_reads_total",
    "disk_write_seconds_total",
    "disk_writes_total",
    "disk_written_bytes_total",
];

/// Sectors are of 512 bytes here, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// A line of `/proc/diskstats`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The kernel's name.
    pub name: String,
    /// Its numbers.
    pub major_minor: [u64; 2],
    /// The fields behind the name; kernels before 5.5 have fewer than 17.
    pub fields: Vec<u64>,
}

/// What a field of `/proc/diskstats` counts.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    Sectors,
    Milliseconds,
}

use Unit::{Count, Milliseconds, Sectors};

/// Our names for fields by their place (the kernel's `Documentation/admin-guide/iostats.rst`, from 0).
const OURS: &[(usize, &str, Unit)] = &[
    (0, "disk_reads_total", Count),
    (2, "disk_read_bytes_total", Sectors),
    (3, "disk_read_seconds_total", Milliseconds),
    (4, "disk_writes_total", Count),
    (6, "disk_written_bytes_total", Sectors),
    (7, "disk_write_seconds_total", Milliseconds),
    (9, "disk_busy_seconds_total", Milliseconds),
];

/// node_exporter's names for all fields.
const NODE_EXPORTERS: &[(usize, &str, Unit)] = &[
    (0, "node_disk_reads_completed_total", Count),
    (1, "node_disk_reads_merged_total", Count),
    (2, "node_disk_read_bytes_total", Sectors),
    (3, "node_disk_read_time_seconds_total", Milliseconds),
    (4, "node_disk_writes_completed_total", Count),
    (5, "node_disk_writes_merged_total", Count),
    (6, "node_disk_written_bytes_total", Sectors),
    (7, "node_disk_write_time_seconds_total", Milliseconds),
    (8, "node_disk_io_now", Count),
    (9, "node_disk_io_time_seconds_total", Milliseconds),
    (10, "node_disk_io_time_weighted_seconds_total", Milliseconds),
    (11, "node_disk_discards_completed_total", Count),
    (12, "node_disk_discards_merged_total", Count),
    (13, "node_disk_discarded_sectors_total", Count),
    (14, "node_disk_discard_time_seconds_total", Milliseconds),
    (15, "node_disk_flush_requests_total", Count),
    (16, "node_disk_flush_requests_time_seconds_total", Milliseconds),
];

/// Reads block devices.
pub struct DiskIo {
    naming: Naming,
    exclude: Patterns,
    diskstats: Kept,
    /// Whether a device is told of, by its name.
    told: BTreeMap<String, bool>,
}

impl DiskIo {
    /// A collector that leaves these devices out.
    pub fn new(naming: Naming, exclude: Patterns) -> Self {
        Self { naming, exclude, diskstats: Kept::new("/proc/diskstats"), told: BTreeMap::new() }
    }
}

impl Collector for DiskIo {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let is_told = |name: &str| match self.told.get(name) {
            Some(is_told) => *is_told,
            None => {
                let is_told = !self.exclude.matches(name) && !is_partition(name);
                self.told.insert(name.to_owned(), is_told);
                is_told
            }
        };
        for device in parse(self.diskstats.text()?, is_told) {
            readings.extend(samples(&device, OURS));
            if self.naming == Naming::NodeExporter {
                readings.extend(samples(&device, NODE_EXPORTERS));
                readings.push(node_info(&device));
            }
        }
        Ok(())
    }
}

/// A partition's traffic is its disk's.
fn is_partition(name: &str) -> bool {
    // A slash in a device's name is an exclamation mark in /sys.
    Path::new("/sys/class/block").join(name.replace('/', "!")).join("partition").exists()
}

/// Reads the devices of `/proc/diskstats` that are told of by their names.
pub fn parse(diskstats: &str, mut is_told: impl FnMut(&str) -> bool) -> Vec<Device> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let major_minor = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        let name = words.next().filter(|name| is_told(name))?.to_owned();
        let fields: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        (fields.len() >= 11).then_some(Device { name, major_minor, fields })
    };
    diskstats.lines().filter_map(device).collect()
}

/// The samples of a device under these names, as far as its kernel tells them.
fn samples(device: &Device, names: &[(usize, &'static str, Unit)]) -> Vec<Reading> {
    let sample = |(at, name, unit): &(usize, &'static str, Unit)| {
        let raw = *device.fields.get(*at)?;
        let value = match unit {
            Count => raw as f64,
            Sectors => raw.saturating_mul(SECTOR_BYTES) as f64,
            Milliseconds => raw as f64 / 1_000.0,
        };
        Some(Reading::labelled(name, "device", &device.name, value))
    };
    names.iter().filter_map(sample).collect()
}

/// What node_exporter says of a device, without what it knows from udev: an empty label is an absent one.
fn node_info(device: &Device) -> Reading {
    let [major, minor] = device.major_minor.map(|number| number.to_string());
    Reading::labelled("node_disk_info", "device", &device.name, 1.0)
        .with("major", &major)
        .with("minor", &minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.1, 2026-11-21; the second line is as kernels before 4.18 write it.
    const DISKSTATS: &str = " 254 0 vda 189353 12722 13185338 340128 69311 190209 81243760 475511 0 40104 823342 \
        21817 51 10207440 7187 9515 514\n   8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n   8 1 sda1 1 2 3 4\n";

    #[test]
    fn sectors_are_bytes_and_milliseconds_seconds() {
        let devices = parse(DISKSTATS, |_| true);
        assert_eq!(devices.len(), 2, "a line with too few fields is passed over");
        assert_eq!(parse(DISKSTATS, |name| name == "sda"), devices[1..]);
        let of = |name, value| Reading::labelled(name, "device", "vda", value);
        assert_eq!(
            samples(&devices[0], OURS),
            [
                of("disk_reads_total", 189_353.0),
                of("disk_read_bytes_total", 13_185_338.0 * 512.0),
                of("disk_read_seconds_total", 340.128),
                of("disk_writes_total", 69_311.0),
                of("disk_written_bytes_total", 81_243_760.0 * 512.0),
                of("disk_write_seconds_total", 475.511),
                of("disk_busy_seconds_total", 40.104),
            ]
        );
    }

    #[test]
    fn node_exporters_names_are_as_many_as_the_kernel_tells() {
        let devices = parse(DISKSTATS, |_| true);
        assert_eq!(samples(&devices[0], NODE_EXPORTERS).len(), 17);
        assert_eq!(samples(&devices[1], NODE_EXPORTERS).len(), 11);
        let flushes = samples(&devices[0], NODE_EXPORTERS).pop();
        let expected =
            Reading::labelled("node_disk_flush_requests_time_seconds_total", "device", "vda", 0.514);
        assert_eq!(flushes, Some(expected));
        assert_eq!(node_info(&devices[0]).labels[1], ("major", "254".to_owned()));
    }
}
