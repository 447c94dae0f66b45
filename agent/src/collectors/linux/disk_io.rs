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
                readings.extend(node_info(&device, &udev(&device)));
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

/// node_exporter's names for what udev knows of a device, with the labels that its properties are told under. What lacks the
/// first of them is not told.
const INFOS: &[(&str, &[(&str, &str)])] = &[
    (
        "node_disk_device_mapper_info",
        &[
            ("name", "DM_NAME"),
            ("lv_layer", "DM_LV_LAYER"),
            ("lv_name", "DM_LV_NAME"),
            ("uuid", "DM_UUID"),
            ("vg_name", "DM_VG_NAME"),
        ],
    ),
    (
        "node_disk_filesystem_info",
        &[
            ("type", "ID_FS_TYPE"),
            ("usage", "ID_FS_USAGE"),
            ("uuid", "ID_FS_UUID"),
            ("version", "ID_FS_VERSION"),
        ],
    ),
];

/// The labels of the one that every device has.
const INFO: &[(&str, &str)] = &[
    ("model", "ID_MODEL"),
    ("path", "ID_PATH"),
    ("revision", "ID_REVISION"),
    ("serial", "ID_SERIAL_SHORT"),
    ("wwn", "ID_WWN"),
];

/// node_exporter's names for numbers that udev knows of an ATA disk.
const ATA: &[(&str, &str)] = &[
    ("node_disk_ata_rotation_rate_rpm", "ID_ATA_ROTATION_RATE_RPM"),
    ("node_disk_ata_write_cache", "ID_ATA_WRITE_CACHE"),
    ("node_disk_ata_write_cache_enabled", "ID_ATA_WRITE_CACHE_ENABLED"),
];

/// What udev has written down of a device; nothing where there is no udev.
fn udev(device: &Device) -> String {
    let [major, minor] = device.major_minor;
    let text = std::fs::read(format!("/run/udev/data/b{major}:{minor}")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// What node_exporter says of a device, with what it knows from udev (`E:KEY=value`): an empty label is an absent one.
fn node_info(device: &Device, udev: &str) -> Vec<Reading> {
    let of = |key: &str| {
        let mut properties = udev.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        properties.find(|(known, _)| *known == key).map(|(_, text)| text).filter(|text| !text.is_empty())
    };
    let named = |name, value| Reading::labelled(name, "device", &device.name, value);
    let with = |info: Reading, labels: &[(&'static str, &str)]| {
        labels.iter().fold(info, |info, (label, key)| match of(key) {
            Some(text) => info.with(label, text),
            None => info,
        })
    };
    let [major, minor] = device.major_minor.map(|number| number.to_string());
    let info = named("node_disk_info", 1.0).with("major", &major).with("minor", &minor);
    let mut samples = vec![with(info, INFO)];
    let has = |(_, key): &(&str, &str)| of(key).is_some();
    let others = INFOS.iter().filter(|(_, labels)| labels.first().is_some_and(has));
    samples.extend(others.map(|(name, labels)| with(named(name, 1.0), labels)));
    if of("ID_ATA").is_some() {
        let number = |key| of(key)?.parse().ok();
        samples.extend(ATA.iter().filter_map(|(name, key)| Some(named(name, number(key)?))));
    }
    samples
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
    }

    fn infos(udev: &str) -> Vec<String> {
        let devices = parse(DISKSTATS, |name| name == "sda");
        node_info(&devices[0], udev).iter().map(|info| format!("{}={}", info.series(), info.value)).collect()
    }

    #[test]
    fn what_udev_knows_of_a_disk_is_told_in_labels() {
        // As systemd 252 writes it of a disk on SATA, cut.
        let disk = "S:disk/by-id/wwn-0x5000\nI:2468\nE:ID_ATA=1\nE:ID_TYPE=disk\nE:ID_MODEL=INTEL_SSDS9X9SI0\n\
            E:ID_REVISION=0100\nE:ID_SERIAL_SHORT=3EWB5Y\nE:ID_ATA_WRITE_CACHE=1\nE:ID_ATA_WRITE_CACHE_ENABLED=0\n\
            E:ID_ATA_ROTATION_RATE_RPM=x\nE:ID_WWN=0x5000\nE:ID_PATH=pci-0000:00:1f.2-ata-4\nE:ID_FS_TYPE=\nG:systemd\n";
        let info = "node_disk_info{device=sda,major=8,minor=0,model=INTEL_SSDS9X9SI0,\
            path=pci-0000:00:1f.2-ata-4,revision=0100,serial=3EWB5Y,wwn=0x5000}=1";
        let expected = [
            info,
            "node_disk_ata_write_cache{device=sda}=1",
            "node_disk_ata_write_cache_enabled{device=sda}=0",
        ];
        assert_eq!(infos(disk), expected);
    }

    #[test]
    fn volumes_and_file_systems_have_infos_of_their_own() {
        let volume = "E:DM_NAME=vg0-root\nE:DM_UUID=LVM-1\nE:DM_VG_NAME=vg0\nE:DM_LV_NAME=root\nE:ID_FS_TYPE=ext4\n\
            E:ID_FS_USAGE=filesystem\nE:ID_FS_UUID=3deafd5f\nE:ID_FS_VERSION=1.0\n";
        let expected = [
            "node_disk_info{device=sda,major=8,minor=0}=1",
            "node_disk_device_mapper_info{device=sda,name=vg0-root,lv_name=root,uuid=LVM-1,vg_name=vg0}=1",
            "node_disk_filesystem_info{device=sda,type=ext4,usage=filesystem,uuid=3deafd5f,version=1.0}=1",
        ];
        assert_eq!(infos(volume), expected);
        assert_eq!(infos(""), expected[..1]);
    }
}
