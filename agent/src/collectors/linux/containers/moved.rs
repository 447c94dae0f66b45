//! Bytes that containers have read and written, each counted once, though it passes several devices: what is written to a
//! volume of LVM is written to the disk below it too, and the kernel counts both (`io.stat`, the kernel's
//! `Documentation/admin-guide/cgroup-v2.rst`). The topmost device is the one that counts: below LUKS writes are nobody's.

use std::{fs, mem, path::PathBuf};

/// A block device's numbers.
type Device = (u32, u32);

/// Which devices lie below others, as far as it was looked up. A host has few.
pub struct Stacks {
    devices: PathBuf,
    below: Vec<(Device, Vec<Device>)>,
}

impl Stacks {
    /// Those of a tree such as `/sys/dev/block`.
    pub const fn new(devices: PathBuf) -> Self {
        Self { devices, below: Vec::new() }
    }

    /// Has all looked up anew.
    pub fn forget(&mut self) {
        self.below.clear();
    }

    /// Whether a device lies below one of these.
    fn is_below(&mut self, device: Device, others: &[(Device, [u64; 2])]) -> bool {
        others.iter().any(|(other, _)| self.below(*other).contains(&device))
    }

    fn below(&mut self, device: Device) -> &[Device] {
        let known = self.below.iter().position(|(known, _)| *known == device);
        let at = known.unwrap_or_else(|| {
            self.below.push((device, self.look_up(device)));
            self.below.len() - 1
        });
        self.below.get(at).map_or(&[], |(_, below)| below)
    }

    fn look_up(&self, (major, minor): Device) -> Vec<Device> {
        let mut below = Vec::new();
        let parts = fs::read_dir(self.devices.join(format!("{major}:{minor}/slaves")));
        for part in parts.into_iter().flatten().filter_map(Result::ok) {
            // Of a partition control groups only know the disk.
            let dev = if part.path().join("partition").exists() { "../dev" } else { "dev" };
            let dev = fs::read_to_string(part.path().join(dev)).unwrap_or_default();
            below.extend(parse_device(dev.trim()));
        }
        below
    }
}

/// What a container has moved by device, and what that comes to: a device that goes away takes nothing with it.
#[derive(Debug, Default)]
pub struct Moved {
    devices: Vec<(Device, [u64; 2])>,
    total: [u64; 2],
}

impl Moved {
    /// Bytes read and written, after this was read.
    pub fn next(&mut self, io_stat: &str, stacks: &mut Stacks) -> [u64; 2] {
        let told: Vec<(Device, [u64; 2])> = io_stat.lines().filter_map(parse).collect();
        for (device, bytes) in &told {
            let before = self.replace(*device, *bytes);
            if stacks.is_below(*device, &told) {
                continue;
            }
            for ((total, now), before) in self.total.iter_mut().zip(bytes).zip(before) {
                // One that is lower than before is another device.
                *total = total.saturating_add(now.checked_sub(before).unwrap_or(*now));
            }
        }
        self.total
    }

    /// What a device had moved before.
    fn replace(&mut self, device: Device, bytes: [u64; 2]) -> [u64; 2] {
        match self.devices.iter_mut().find(|(known, _)| *known == device) {
            Some((_, before)) => mem::replace(before, bytes),
            None => {
                self.devices.push((device, bytes));
                [0; 2]
            }
        }
    }
}

/// Device and bytes of a line: `8:0 rbytes=1 wbytes=2 rios=3 …`.
fn parse(line: &str) -> Option<(Device, [u64; 2])> {
    let (device, rest) = line.split_once(' ')?;
    let bytes = |key| rest.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok());
    Some((parse_device(device)?, [bytes("rbytes=")?, bytes("wbytes=")?]))
}

fn parse_device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::symlink, path::Path};

    /// A host whose disk 8:0 has a volume of LVM, 253:0, on a partition, under it LUKS, 253:1, and a mirror, 9:0, of it
    /// and the whole of 8:16.
    fn stacks(dir: &Path) -> Stacks {
        for (path, dev) in [
            ("sda", "8:0"),
            ("sda/sda1", "8:1"),
            ("sda/sda2", "8:2"),
            ("sdb", "8:16"),
            ("dm-0", "253:0"),
            ("dm-1", "253:1"),
            ("md0", "9:0"),
        ] {
            let device = dir.join(path);
            fs::create_dir_all(device.join("slaves")).unwrap();
            fs::write(device.join("dev"), format!("{dev}\n")).unwrap();
            if path.contains('/') {
                fs::write(device.join("partition"), "1\n").unwrap();
            }
            symlink(&device, dir.join(dev)).unwrap();
        }
        for (upper, lower) in [("dm-0", "sda/sda2"), ("dm-1", "dm-0"), ("md0", "sda/sda1"), ("md0", "sdb")] {
            let name = lower.rsplit('/').next().unwrap();
            symlink(dir.join(lower), dir.join(upper).join("slaves").join(name)).unwrap();
        }
        Stacks::new(dir.into())
    }

    #[test]
    fn a_byte_counts_once_however_many_devices_it_passes() {
        let dir = tempfile::tempdir().unwrap();
        let mut stacks = stacks(dir.path());
        for (io_stat, expected) in [
            // A container on a volume of LVM, Linux 6.1.
            (
                "8:0 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
                 253:0 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n",
                [1_459_200, 314_773_504],
            ),
            // LUKS on it: what it writes below is done by the kernel's own threads.
            (
                "8:0 rbytes=10 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n\
                 253:0 rbytes=10 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n\
                 253:1 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
                [10, 20],
            ),
            // A mirror writes everything twice.
            ("8:0 rbytes=1 wbytes=20\n8:16 rbytes=1 wbytes=20\n9:0 rbytes=2 wbytes=20\n", [2, 20]),
            // Disks side by side.
            ("8:0 rbytes=1 wbytes=2\n8:16 rbytes=10 wbytes=20\n", [11, 22]),
            // Devices without counts, as some kernels list them, and what is none.
            ("253:7 \n8:0 rbytes=1 wbytes=x\n(unknown) rbytes=1 wbytes=2\n", [0, 0]),
            ("", [0, 0]),
        ] {
            assert_eq!(Moved::default().next(io_stat, &mut stacks), expected, "{io_stat}");
        }
    }

    #[test]
    fn what_was_moved_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut stacks = stacks(dir.path());
        let mut moved = Moved::default();
        for (io_stat, expected) in [
            ("8:0 rbytes=100 wbytes=0\n8:16 rbytes=50 wbytes=5\n", [150, 5]),
            // One is detached, comes back as it was, and then as another.
            ("8:0 rbytes=101 wbytes=0\n", [151, 5]),
            ("8:0 rbytes=101 wbytes=0\n8:16 rbytes=51 wbytes=5\n", [152, 5]),
            ("8:0 rbytes=101 wbytes=0\n8:16 rbytes=3 wbytes=1\n", [155, 6]),
            // A volume appears above the disk.
            ("8:0 rbytes=108 wbytes=9\n253:0 rbytes=7 wbytes=9\n", [162, 15]),
            ("8:0 rbytes=109 wbytes=9\n", [163, 15]),
        ] {
            assert_eq!(moved.next(io_stat, &mut stacks), expected, "{io_stat}");
        }
    }

    #[test]
    fn devices_are_looked_up_anew_when_they_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut stacks = stacks(dir.path());
        assert_eq!(stacks.below((253, 0)), [(8, 0)]);
        fs::remove_file(dir.path().join("dm-0/slaves/sda2")).unwrap();
        assert_eq!(stacks.below((253, 0)), [(8, 0)]);
        stacks.forget();
        assert_eq!(stacks.below((253, 0)), &[]);
    }
}
