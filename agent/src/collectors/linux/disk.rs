//! Mounted file systems: how large and how full they are.

mod mounts;

pub use mounts::{Mount, Whose, parse};

use super::{kept::Kept, patient::Patient};
use crate::{
    collectors::{CollectError, Collector, Reading, percentage},
    os_clock,
    settings::collection::{Collection, Excludes, Naming},
    settings::patterns::Patterns,
};
use mounts::{mount_table, worth_reading};
use rustix::{fs::statvfs, io::Errno};
use std::{fs, io::ErrorKind};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "disk_inodes_used",
    "disk_inodes_used_pct",
    "disk_read_only",
    "disk_total_bytes",
    "disk_used_bytes",
    "disk_used_pct",
];

/// Milliseconds after which the mount table is read again though the kernel does not call it changed. Reason: it does not
/// say so of a file system that an error makes read-only.
const READ_EVERY_MS: i64 = 30_000;

const ROOT: &str = "/";

/// What a file system has: bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Space {
    /// All bytes.
    pub total: u64,
    /// Free, root's reserve included.
    pub free: u64,
    /// Free for everybody.
    pub available: u64,
    /// All inodes; 0 where there is no fixed number of them.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

/// What a file system says when it is asked how full it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// That.
    Space(Space),
    /// Nothing to us.
    Refused,
    /// There is none.
    None,
}

/// Reads mounts.
pub struct Disk {
    naming: Naming,
    exclude: Excludes<Patterns>,
    with_network: bool,
    table: Kept,
    whose: Whose,
    read_ms: Option<i64>,
    mounts: Vec<Mount>,
    patient: Patient<Told>,
}

impl Disk {
    /// A collector.
    pub fn new(collection: &Collection) -> Self {
        let (table, whose) = mount_table();
        Self {
            naming: collection.naming,
            exclude: collection.exclude.clone(),
            with_network: collection.network_file_systems,
            table,
            whose,
            read_ms: None,
            mounts: Vec::new(),
            patient: Patient::new(ask),
        }
    }

    /// Reads the mount table when it is due or has changed.
    fn read(&mut self, now_ms: i64) -> Result<(), CollectError> {
        let is_due = self.read_ms.is_none_or(|read_ms| now_ms.saturating_sub(read_ms) >= READ_EVERY_MS);
        if self.table.is_news() || is_due {
            self.read_ms = None;
            let table = self.table.text()?.to_owned();
            self.mounts = self.told(&table);
            self.read_ms = Some(now_ms);
        }
        Ok(())
    }

    /// The mounts of a table that are told of.
    fn told(&self, table: &str) -> Vec<Mount> {
        let mut mounts = worth_reading(parse(table, self.whose), &self.exclude, self.naming);
        mounts.retain(|mount| self.with_network || !mount.is_on_network());
        mounts
    }

    /// Asks the mounts.
    fn ask(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let paths: Vec<&str> = self.mounts.iter().map(|mount| mount.path.as_str()).collect();
        // Sorted, so that the root is the first. Whoever cannot ask it cannot run: its own program lies there.
        let roots = usize::from(paths.first() == Some(&ROOT));
        let (root, others) = paths.split_at(roots);
        let answers = root.iter().map(|path| size(path)).chain(self.patient.ask(others));
        let mut result = Ok(());
        for (mount, answer) in self.mounts.iter().zip(answers) {
            let space = match answer {
                Ok(Told::None) => continue,
                Ok(Told::Space(space)) => Some(space),
                Ok(Told::Refused) => None,
                Err(error) => {
                    result = Err(error);
                    None
                }
            };
            readings.extend(space.into_iter().flat_map(|space| samples(mount, space)));
            if self.naming == Naming::NodeExporter {
                readings.extend(node_samples(mount, space));
            }
        }
        result
    }
}

impl Collector for Disk {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        self.read(os_clock::running_ms())?;
        self.ask(readings)
    }
}

/// Asks what is mounted somewhere for its size.
fn ask(path: &str) -> Result<Told, CollectError> {
    match fs::metadata(path) {
        Ok(mounted) if mounted.is_dir() => {}
        // A file that is mounted onto another, as containers do with /etc/hosts, is no file system of interest.
        Ok(_) => return Ok(Told::None),
        Err(error) => match error.kind() {
            // What we do not see of the host.
            ErrorKind::NotFound => return Ok(Told::None),
            ErrorKind::PermissionDenied => return Ok(Told::Refused),
            _ => return Err(CollectError::unreadable(path, error)),
        },
    }
    size(path)
}

/// Asks a file system for its size.
fn size(path: &str) -> Result<Told, CollectError> {
    match statvfs(path) {
        Ok(told) => Ok(Told::Space(Space {
            total: told.f_blocks.saturating_mul(told.f_frsize),
            free: told.f_bfree.saturating_mul(told.f_frsize),
            available: told.f_bavail.saturating_mul(told.f_frsize),
            inodes: told.f_files,
            inodes_free: told.f_ffree,
        })),
        Err(Errno::ACCESS) => Ok(Told::Refused),
        Err(error) => Err(CollectError::unreadable(path, error)),
    }
}

/// The samples of a mount. The share is `df`'s: of what is used and what is available, so that
/// 100 % is where programs get no more.
pub fn samples(mount: &Mount, space: Space) -> Vec<Reading> {
    if space.total == 0 {
        return Vec::new();
    }
    let at = |name, value| Reading::labelled(name, "mount", &mount.path, value);
    let used = space.total.saturating_sub(space.free);
    let reachable = used.saturating_add(space.available).max(1);
    let mut samples = vec![
        at("disk_total_bytes", space.total as f64),
        at("disk_used_bytes", used as f64),
        at("disk_used_pct", percentage(used, reachable)),
        at("disk_read_only", f64::from(u8::from(mount.read_only))),
    ];
    if space.inodes > 0 {
        let used = space.inodes.saturating_sub(space.inodes_free);
        samples.push(at("disk_inodes_used", used as f64));
        samples.push(at("disk_inodes_used_pct", percentage(used, space.inodes)));
    }
    samples
}

/// node_exporter's `filesystem` collector: of one that does not tell its size, that it does not.
pub fn node_samples(mount: &Mount, space: Option<Space>) -> Vec<Reading> {
    let of = |(name, value)| {
        Reading::labelled(name, "device", &mount.device, value as f64)
            .with("fstype", &mount.file_system)
            .with("mountpoint", &mount.path)
    };
    let mut samples = vec![of(("node_filesystem_device_error", u64::from(space.is_none())))];
    let told = space.map(|space| {
        [
            ("node_filesystem_avail_bytes", space.available),
            ("node_filesystem_files", space.inodes),
            ("node_filesystem_files_free", space.inodes_free),
            ("node_filesystem_free_bytes", space.free),
            ("node_filesystem_readonly", u64::from(mount.read_only)),
            ("node_filesystem_size_bytes", space.total),
        ]
    });
    samples.extend(told.into_iter().flatten().map(of));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, path: &str, file_system: &str) -> Mount {
        Mount { device: device.into(), path: path.into(), file_system: file_system.into(), read_only: false }
    }

    #[test]
    fn used_leaves_roots_reserve_out_and_the_share_is_dfs() {
        let space = Space { total: 1_000, free: 400, available: 300, inodes: 50, inodes_free: 40 };
        let at = |name, value| Reading::labelled(name, "mount", "/", value);
        assert_eq!(
            samples(&mount("/dev/vda", "/", "ext4"), space),
            [
                at("disk_total_bytes", 1_000.0),
                at("disk_used_bytes", 600.0),
                at("disk_used_pct", 66.67),
                at("disk_read_only", 0.0),
                at("disk_inodes_used", 10.0),
                at("disk_inodes_used_pct", 20.0),
            ]
        );
        let read_only = Mount { read_only: true, ..mount("/dev/vda", "/", "btrfs") };
        let samples = samples(&read_only, Space { inodes: 0, ..space });
        assert_eq!(samples.last(), Some(&at("disk_read_only", 1.0)), "and nothing about inodes");
    }

    #[test]
    fn a_file_system_without_size_has_no_samples() {
        assert_eq!(samples(&mount("none", "/x", "odd"), Space::default()), []);
    }

    #[test]
    fn another_hosts_file_systems_are_asked_only_if_that_is_wanted() {
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        let table = "1 1 8:0 / / rw - ext4 /dev/vda rw\n2 1 0:9 / /far rw - nfs4 far:/export rw\n";
        let told = |collection: &Collection| Disk::new(collection).told(table).len();
        assert_eq!(told(&collection), 1);
        assert_eq!(told(&Collection { network_file_systems: true, ..collection }), 2);
    }

    #[test]
    fn the_table_is_read_when_it_is_due() {
        // An ordinary file, which the kernel never calls changed.
        let file = tempfile::NamedTempFile::new().unwrap();
        let path: &'static str = file.path().to_str().unwrap().to_owned().leak();
        let write = |mount| fs::write(path, format!("1 1 8:0 / {mount} rw - ext4 /dev/vda rw\n")).unwrap();
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        let mut disk = Disk { table: Kept::with_long_lines(path), ..Disk::new(&collection) };
        for (now_ms, mount, told) in [
            (1_000, "/a", "/a"),
            (1_000 + READ_EVERY_MS - 1, "/b", "/a"),
            (1_000 + READ_EVERY_MS, "/c", "/c"),
        ] {
            write(mount);
            disk.read(now_ms).unwrap();
            assert_eq!(disk.mounts[0].path, told, "{now_ms}");
        }
    }

    #[test]
    fn one_that_cannot_be_asked_is_an_error_and_a_series_of_node_exporters() {
        for naming in [Naming::Edgewatch, Naming::NodeExporter] {
            let mut disk = Disk::new(&Collection::usual(naming, "/nowhere".into()));
            // No path has such a byte; and a file and a path that is not there are no file systems.
            disk.mounts =
                ["/a\0", "/proc/uptime", "/nowhere"].map(|path| mount("/dev/vda", path, "ext4")).into();
            let mut readings = Vec::new();
            disk.ask(&mut readings).unwrap_err();
            let expected = match naming {
                Naming::Edgewatch => Vec::new(),
                Naming::NodeExporter => node_samples(&disk.mounts[0], None),
            };
            assert_eq!(readings, expected, "{naming:?}");
        }
    }

    #[test]
    fn node_exporter_tells_sizes_or_that_there_are_none() {
        let of = |space| {
            let samples = node_samples(&mount("/dev/vda", "/", "ext4"), space).into_iter();
            samples.map(|sample| (sample.name, sample.value)).collect::<Vec<_>>()
        };
        assert_eq!(of(None), [("node_filesystem_device_error", 1.0)]);
        let told = of(Some(Space { total: 9, free: 4, available: 3, inodes: 2, inodes_free: 1 }));
        assert_eq!(
            (told.len(), told[0], told[6]),
            (7, ("node_filesystem_device_error", 0.0), ("node_filesystem_size_bytes", 9.0))
        );
    }

    #[test]
    fn this_host_has_a_root() {
        let mut readings = Vec::new();
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        Disk::new(&collection).collect(&mut readings).unwrap();
        let root = [("mount", "/".to_owned())];
        assert!(readings.iter().any(|reading| reading.labels == root), "{readings:?}");
    }
}
