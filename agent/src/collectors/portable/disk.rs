//! Mounted file systems: how large and how full they are.

use crate::{
    collectors::{CollectError, Collector, Reading, percentage},
    settings::{collection::Excludes, patterns::Patterns},
};
use sysinfo::{DiskRefreshKind, Disks};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["disk_read_only", "disk_total_bytes", "disk_used_bytes", "disk_used_pct"];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Where.
    pub path: String,
    /// Size in bytes.
    pub total: u64,
    /// Bytes that programs can still get.
    pub available: u64,
    /// Whether nobody can write.
    pub read_only: bool,
}

/// Reads mounts.
pub struct Disk {
    disks: Result<Disks, String>,
    exclude: Excludes<Patterns>,
}

impl Disk {
    /// A collector.
    pub fn new(exclude: Excludes<Patterns>) -> Self {
        Self { disks: Disks::new().map_err(|error| error.to_string()), exclude }
    }

    fn read(&mut self) -> Result<Vec<Mount>, CollectError> {
        let disks = self.disks.as_mut().map_err(|error| CollectError::unreadable("the mounts", error))?;
        disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        let mut mounts = Vec::new();
        for disk in disks.iter() {
            let path = disk.mount_point().to_string_lossy().into_owned();
            let kind = disk.file_system().to_string_lossy();
            if self.exclude.file_systems.matches(&kind) || self.exclude.mounts.matches(&path) {
                continue;
            }
            mounts.push(Mount {
                path,
                total: disk.total_space(),
                available: disk.available_space(),
                read_only: disk.is_read_only(),
            });
        }
        Ok(mounts)
    }
}

impl Collector for Disk {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        readings.extend(self.read()?.iter().flat_map(samples));
        Ok(())
    }
}

/// The samples of a mount; what is not available is used.
pub fn samples(mount: &Mount) -> Vec<Reading> {
    if mount.total == 0 {
        return Vec::new();
    }
    let used = mount.total.saturating_sub(mount.available);
    [
        ("disk_total_bytes", mount.total as f64),
        ("disk_used_bytes", used as f64),
        ("disk_used_pct", percentage(used, mount.total)),
        ("disk_read_only", f64::from(u8::from(mount.read_only))),
    ]
    .map(|(name, value)| Reading::labelled(name, "mount", &mount.path, value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_is_used() {
        let mount = Mount { path: "C:\\".into(), total: 1_000, available: 250, read_only: true };
        let at = |name, value| Reading::labelled(name, "mount", "C:\\", value);
        let expected = [
            at("disk_total_bytes", 1_000.0),
            at("disk_used_bytes", 750.0),
            at("disk_used_pct", 75.0),
            at("disk_read_only", 1.0),
        ];
        assert_eq!(samples(&mount), expected);
        assert_eq!(samples(&Mount { total: 0, ..mount }), []);
    }
}
