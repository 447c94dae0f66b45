//! Mounted file systems: how large and how full they are.

use super::{kept::Kept, patient::Patient};
use crate::{
    collectors::{CollectError, Collector, Reading, percentage},
    os_clock,
    settings::collection::{Collection, Excludes, Naming},
    settings::patterns::Patterns,
};
use rustix::{fs::statvfs, io::Errno};
use std::{collections::BTreeMap, path::Path};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "disk_inodes_used",
    "disk_inodes_used_pct",
    "disk_read_only",
    "disk_total_bytes",
    "disk_used_bytes",
    "disk_used_pct",
];

/// File systems that lie on another host, which need not answer.
const NETWORK: &[&str] =
    &["9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"];

/// Milliseconds after which the mount table is read again though the kernel does not call it changed. Reason: it does not
/// say so of a file system that an error makes read-only.
const READ_EVERY_MS: i64 = 30_000;

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// What is mounted: a device, or what a file system without one calls itself.
    pub device: String,
    /// Where.
    pub path: String,
    /// Kind of file system.
    pub file_system: String,
    /// Whether nobody can write, be it for the mount or, after an error, for the file system (ext4 says `emergency_ro`
    /// since Linux 6.15).
    pub read_only: bool,
}

impl Mount {
    fn is_on_network(&self) -> bool {
        NETWORK.contains(&self.file_system.as_str())
    }
}

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

/// Reads mounts.
pub struct Disk {
    naming: Naming,
    exclude: Excludes<Patterns>,
    with_network: bool,
    table: Kept,
    read_ms: Option<i64>,
    mounts: Vec<Mount>,
    patient: Patient<Option<Space>>,
}

impl Disk {
    /// A collector.
    pub fn new(collection: &Collection) -> Self {
        Self {
            naming: collection.naming,
            exclude: collection.exclude.clone(),
            with_network: collection.network_file_systems,
            table: mount_table(),
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
        let mut mounts = worth_reading(parse(table), &self.exclude, self.naming);
        mounts.retain(|mount| self.with_network || !mount.is_on_network());
        mounts
    }
}

impl Collector for Disk {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        self.read(os_clock::running_ms())?;
        let paths: Vec<&str> = self.mounts.iter().map(|mount| mount.path.as_str()).collect();
        let answers = self.patient.ask(&paths);
        let mut result = Ok(());
        for (mount, answer) in self.mounts.iter().zip(answers) {
            match answer {
                Ok(Some(space)) => {
                    readings.extend(samples(mount, space));
                    if self.naming == Naming::NodeExporter {
                        readings.extend(node_samples(mount, space));
                    }
                }
                Ok(None) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// The host's mounts, as its first process has them: a sandboxed unit's own are read-only for the most part. Where that
/// process is hidden, our own.
fn mount_table() -> Kept {
    let mut first = Kept::new("/proc/1/mounts");
    if first.read().is_ok() { first } else { Kept::new("/proc/self/mounts") }
}

/// Asks a file system for its size. `None` for what is no directory or none of ours.
fn ask(path: &str) -> Result<Option<Space>, CollectError> {
    // A file that is mounted onto another, as containers do with /etc/hosts, is no file system of interest.
    if !Path::new(path).is_dir() {
        return Ok(None);
    }
    match statvfs(path) {
        Ok(told) => Ok(Some(Space {
            total: told.f_blocks.saturating_mul(told.f_frsize),
            free: told.f_bfree.saturating_mul(told.f_frsize),
            available: told.f_bavail.saturating_mul(told.f_frsize),
            inodes: told.f_files,
            inodes_free: told.f_ffree,
        })),
        Err(Errno::ACCESS) => Ok(None),
        Err(error) => Err(CollectError::unreadable(path, error)),
    }
}

/// Reads a `/proc/PID/mounts` (`man 5 fstab`), in which blanks are written in octal.
pub fn parse(mounts: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut words = line.split(' ');
        Some(Mount {
            device: unescaped(words.next()?),
            path: unescaped(words.next()?),
            file_system: words.next()?.to_owned(),
            read_only: words.next()?.split(',').any(|option| matches!(option, "ro" | "emergency_ro")),
        })
    };
    mounts.lines().filter_map(mount).collect()
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) if code.is_ascii() => {
                whole.push(char::from(code));
                whole.push_str(rest);
            }
            _ => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

/// The mounts to read: not what is left out, and of several mounts of one device the one with the shortest path, unless
/// names are node_exporter's, which tells of all. An overlay is left out too, but for a container's own root. Sorted by path.
pub fn worth_reading(mounts: Vec<Mount>, exclude: &Excludes<Patterns>, naming: Naming) -> Vec<Mount> {
    let mut by_identity: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in mounts {
        let own_root = naming == Naming::Edgewatch && mount.path == "/";
        let left_out =
            exclude.file_systems.matches(&mount.file_system) || exclude.mounts.matches(&mount.path);
        if left_out && !own_root {
            continue;
        }
        // Only a device's path says that two mounts are the same.
        let by_device = naming == Naming::Edgewatch && mount.device.starts_with('/');
        let identity = if by_device { mount.device.clone() } else { mount.path.clone() };
        let rank = |mount: &Mount| (mount.path.len(), mount.path.clone());
        match by_identity.get(&identity) {
            // Of two mounts at one path the later one hides the other.
            Some(known) if rank(known) < rank(&mount) => {}
            _ => {
                by_identity.insert(identity, mount);
            }
        }
    }
    let mut kept: Vec<Mount> = by_identity.into_values().collect();
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    kept
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

/// node_exporter's `filesystem` collector.
pub fn node_samples(mount: &Mount, space: Space) -> Vec<Reading> {
    [
        ("node_filesystem_avail_bytes", space.available),
        ("node_filesystem_device_error", 0),
        ("node_filesystem_files", space.inodes),
        ("node_filesystem_files_free", space.inodes_free),
        ("node_filesystem_free_bytes", space.free),
        ("node_filesystem_readonly", u64::from(mount.read_only)),
        ("node_filesystem_size_bytes", space.total),
    ]
    .map(|(name, value)| {
        Reading::labelled(name, "device", &mount.device, value as f64)
            .with("fstype", &mount.file_system)
            .with("mountpoint", &mount.path)
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, path: &str, file_system: &str) -> Mount {
        Mount { device: device.into(), path: path.into(), file_system: file_system.into(), read_only: false }
    }

    fn kept_by(naming: Naming, mounts: &[(&str, &str, &str)]) -> Vec<String> {
        let mounts = mounts.iter().map(|(d, p, f)| mount(d, p, f)).collect();
        let exclude = Excludes::default().or_defaults(naming);
        worth_reading(mounts, &exclude, naming).into_iter().map(|mount| mount.path).collect()
    }

    fn kept(mounts: &[(&str, &str, &str)]) -> Vec<String> {
        kept_by(Naming::Edgewatch, mounts)
    }

    #[test]
    fn a_saved_table_is_read_with_its_blanks() {
        // Linux 6.1, 2026-11-21, and a USB stick.
        let mounts = parse(
            "/dev/vda / ext4 rw,relatime,discard 0 0\n/dev/sdb1 /media/my\\040stick\\134 vfat ro,nosuid 0 0\nx\n\
             /dev/sdc / ext4 rw,relatime,emergency_ro,errors=remount-ro 0 0\n",
        );
        let stick = Mount { read_only: true, ..mount("/dev/sdb1", "/media/my stick\\", "vfat") };
        let broken = Mount { read_only: true, ..mount("/dev/sdc", "/", "ext4") };
        assert_eq!(mounts, [mount("/dev/vda", "/", "ext4"), stick, broken]);
        assert_eq!(unescaped("a\\9z\\"), "a\\9z\\");
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
    fn of_several_mounts_of_a_device_the_shortest_path_stays() {
        let mounts = [
            ("/dev/vda", "/srv/bind", "ext4"),
            ("/dev/vda", "/", "ext4"),
            ("/dev/vda", "/a", "ext4"),
            ("/dev/vdb", "/srv", "xfs"),
        ];
        assert_eq!(kept(&mounts), ["/", "/srv"]);
        assert_eq!(kept_by(Naming::NodeExporter, &mounts), ["/", "/a", "/srv", "/srv/bind"]);
    }

    #[test]
    fn file_systems_without_a_device_are_told_apart_by_path() {
        let mounts = [("tank", "/tank", "zfs"), ("tank", "/backup", "zfs")];
        assert_eq!(kept(&mounts), ["/backup", "/tank"]);
    }

    #[test]
    fn pseudo_file_systems_and_containers_layers_are_left_out() {
        let mounts = [
            ("overlay", "/", "overlay"),
            ("overlay", "/var/lib/docker/overlay2/1/merged", "overlay"),
            ("/dev/vdc", "/var/lib/kubelet/pods/1/volumes/a", "ext4"),
            ("me@far:", "/far", "fuse.sshfs"),
            ("/dev/fuse", "/portal", "fuse"),
            ("/dev/sda1", "/usb", "fuseblk"),
            ("none", "/debug", "debugfs"),
            ("systemd-1", "/auto", "autofs"),
        ];
        assert_eq!(kept(&mounts), ["/", "/usb"]);
    }

    #[test]
    fn another_hosts_file_systems_are_asked_only_if_that_is_wanted() {
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        let table = "/dev/vda / ext4 rw 0 0\nfar:/export /far nfs4 rw 0 0\n";
        let told = |collection: &Collection| Disk::new(collection).told(table).len();
        assert_eq!(told(&collection), 1);
        assert_eq!(told(&Collection { network_file_systems: true, ..collection }), 2);
    }

    #[test]
    fn the_table_is_read_when_it_is_due() {
        let collection = Collection::usual(Naming::Edgewatch, "/nowhere".into());
        let mut disk = Disk::new(&collection);
        disk.read(1_000).unwrap();
        for (now_ms, read_ms) in
            [(1_000 + READ_EVERY_MS - 1, 1_000), (1_000 + READ_EVERY_MS, 1_000 + READ_EVERY_MS)]
        {
            // Whoever mounts something meanwhile makes it due earlier.
            if !disk.table.is_news() {
                disk.read(now_ms).unwrap();
                assert_eq!(disk.read_ms, Some(read_ms), "{now_ms}");
            }
        }
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
