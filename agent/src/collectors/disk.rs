//! Mounted file systems: how large and how full they are.

use super::{CollectError, Collector, Reading, percentage};
use rustix::{fs::statvfs, io::Errno};
use std::{collections::BTreeMap, path::Path};
use sysinfo::{DiskRefreshKind, Disks};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["disk_total_bytes", "disk_used_bytes", "disk_used_pct"];

/// File systems that hold no files of their own, beyond those that sysinfo leaves out (`proc`, `tmpfs`, network …).
/// What comes through FUSE is another program's or another host's, and asking it can hang.
const PSEUDO: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "configfs",
    "debugfs",
    "efivarfs",
    "fuse",
    "fusectl",
    "nsfs",
    "ramfs",
    "securityfs",
    "selinuxfs",
    "tracefs",
];

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// What is mounted: a device, or what a file system without one calls itself.
    pub device: String,
    /// Where.
    pub path: String,
    /// Kind of file system.
    pub file_system: String,
}

/// A file system's size in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// Free, root's reserve included.
    pub free: u64,
    /// Free for everybody.
    pub available: u64,
}

/// Reads mounts.
pub struct Disk {
    disks: Result<Disks, String>,
}

impl Disk {
    /// A collector.
    pub fn new() -> Self {
        Self { disks: Disks::new().map_err(|error| error.to_string()) }
    }

    fn read_mounts(&mut self) -> Result<Vec<Mount>, CollectError> {
        let disks = self.disks.as_mut().map_err(|error| CollectError::unreadable("the mounts", error))?;
        // The list alone: sysinfo counts root's reserve as used, so sizes are asked for below.
        disks.refresh_specifics(true, DiskRefreshKind::nothing());
        Ok(disks
            .iter()
            .map(|disk| Mount {
                device: disk.name().to_string_lossy().into_owned(),
                path: disk.mount_point().to_string_lossy().into_owned(),
                file_system: disk.file_system().to_string_lossy().into_owned(),
            })
            .collect())
    }

    fn read_space(mount: &Mount) -> Result<Option<Space>, CollectError> {
        // A file that is mounted onto another, as containers do with /etc/hosts, is no file system of interest.
        if !Path::new(&mount.path).is_dir() {
            return Ok(None);
        }
        match statvfs(mount.path.as_str()) {
            Ok(told) => Ok(Some(Space {
                total: told.f_blocks.saturating_mul(told.f_frsize),
                free: told.f_bfree.saturating_mul(told.f_frsize),
                available: told.f_bavail.saturating_mul(told.f_frsize),
            })),
            Err(Errno::ACCESS) => Ok(None),
            Err(error) => Err(CollectError::unreadable(&mount.path, error)),
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Disk {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let mut result = Ok(());
        for mount in worth_reading(self.read_mounts()?) {
            match Self::read_space(&mount) {
                Ok(Some(space)) => readings.extend(samples(&mount, space)),
                Ok(None) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// The mounts to read: no pseudo file systems, no overlays but the root's, and of several mounts of
/// one device the one with the shortest path. Sorted by path.
pub fn worth_reading(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in mounts {
        let overlay = mount.file_system == "overlay" && mount.path != "/";
        let fuse = mount.file_system.starts_with("fuse.");
        if overlay || fuse || PSEUDO.contains(&mount.file_system.as_str()) {
            continue;
        }
        // Only a device's path says that two mounts are the same.
        let identity = if mount.device.starts_with('/') { mount.device.clone() } else { mount.path.clone() };
        let rank = |mount: &Mount| (mount.path.len(), mount.path.clone());
        match by_device.get(&identity) {
            Some(known) if rank(known) <= rank(&mount) => {}
            _ => {
                by_device.insert(identity, mount);
            }
        }
    }
    let mut kept: Vec<Mount> = by_device.into_values().collect();
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    kept
}

/// The samples of a mount. The share is `df`'s: of what is used and what is available, so that
/// 100 % is where programs get no more.
pub fn samples(mount: &Mount, space: Space) -> Vec<Reading> {
    if space.total == 0 {
        return Vec::new();
    }
    let used = space.total.saturating_sub(space.free);
    let reachable = used.saturating_add(space.available).max(1);
    [
        ("disk_total_bytes", space.total as f64),
        ("disk_used_bytes", used as f64),
        ("disk_used_pct", percentage(used, reachable)),
    ]
    .map(|(name, value)| Reading::labelled(name, "mount", &mount.path, value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, path: &str, file_system: &str) -> Mount {
        Mount { device: device.into(), path: path.into(), file_system: file_system.into() }
    }

    fn kept(mounts: &[(&str, &str, &str)]) -> Vec<String> {
        let mounts = mounts.iter().map(|(d, p, f)| mount(d, p, f)).collect();
        worth_reading(mounts).into_iter().map(|mount| mount.path).collect()
    }

    #[test]
    fn used_leaves_roots_reserve_out_and_the_share_is_dfs() {
        let space = Space { total: 1_000, free: 400, available: 300 };
        let at = |name, value| Reading::labelled(name, "mount", "/", value);
        assert_eq!(
            samples(&mount("/dev/vda", "/", "ext4"), space),
            [at("disk_total_bytes", 1_000.0), at("disk_used_bytes", 600.0), at("disk_used_pct", 66.67)]
        );
    }

    #[test]
    fn a_file_system_without_size_has_no_samples() {
        let nothing = Space { total: 0, free: 0, available: 0 };
        assert_eq!(samples(&mount("none", "/x", "odd"), nothing), []);
    }

    #[test]
    fn of_several_mounts_of_a_device_the_shortest_path_stays() {
        let mounts = [
            ("/dev/vda", "/var/lib/docker", "ext4"),
            ("/dev/vda", "/", "ext4"),
            ("/dev/vda", "/a", "ext4"),
            ("/dev/vdb", "/srv", "xfs"),
        ];
        assert_eq!(kept(&mounts), ["/", "/srv"]);
    }

    #[test]
    fn file_systems_without_a_device_are_told_apart_by_path() {
        let mounts = [("tank", "/tank", "zfs"), ("tank", "/backup", "zfs")];
        assert_eq!(kept(&mounts), ["/backup", "/tank"]);
    }

    #[test]
    fn pseudo_file_systems_and_containers_layers_are_skipped() {
        let mounts = [
            ("overlay", "/", "overlay"),
            ("overlay", "/var/lib/docker/overlay2/1/merged", "overlay"),
            ("me@far:", "/far", "fuse.sshfs"),
            ("/dev/fuse", "/portal", "fuse"),
            ("/dev/sda1", "/usb", "fuseblk"),
            ("none", "/debug", "debugfs"),
        ];
        assert_eq!(kept(&mounts), ["/", "/usb"]);
    }

    #[test]
    fn this_host_has_a_root() {
        let mut readings = Vec::new();
        Disk::new().collect(&mut readings).unwrap();
        let root = [("mount", "/".to_owned())];
        assert!(readings.iter().any(|reading| reading.labels == root), "{readings:?}");
    }
}
