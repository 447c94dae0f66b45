//! Mount tables: whose to read, what they say, and what of it is worth asking.

use crate::{
    collectors::linux::kept::Kept,
    settings::{
        collection::{Excludes, Naming},
        patterns::Patterns,
    },
};
use std::collections::BTreeMap;

/// File systems that lie on another host, which need not answer.
const NETWORK: &[&str] =
    &["9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"];

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// What is mounted: a device, or what a file system without one calls itself.
    pub device: String,
    /// Where.
    pub path: String,
    /// Kind of file system.
    pub file_system: String,
    /// Whether nobody can write: as the table's reader has it ([`Whose`]), or after an error (ext4 says `emergency_ro` since
    /// Linux 6.15).
    pub read_only: bool,
}

impl Mount {
    /// Whether it lies on another host.
    pub fn is_on_network(&self) -> bool {
        NETWORK.contains(&self.file_system.as_str())
    }
}

/// Whose mount table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The host's.
    Hosts,
    /// Our own, in which a sandbox mounts nearly everything read-only: of it only what holds for the file system itself counts.
    Own,
}

/// The host's mounts, as its first process has them, where that is not hidden and has the root that we have: in a container
/// with the host's processes its paths would lead elsewhere.
pub fn mount_table() -> (Kept, Whose) {
    let [mut first, mut own] = ["/proc/1/mountinfo", "/proc/self/mountinfo"].map(Kept::with_long_lines);
    let is_ours = match (first.read(), own.read()) {
        (Ok(first), Ok(own)) => root(first) == root(own),
        _ => false,
    };
    if is_ours { (first, Whose::Hosts) } else { (own, Whose::Own) }
}

/// What is mounted at `/`: the device's numbers, and which of its folders.
fn root(mountinfo: &str) -> Option<[&str; 2]> {
    mountinfo.lines().rev().find_map(|line| {
        let mut words = line.split(' ').skip(2);
        let root = [words.next()?, words.next()?];
        (words.next()? == "/").then_some(root)
    })
}

/// Reads a `/proc/PID/mountinfo` (`man 5 proc_pid_mountinfo`), in which blanks are written in octal.
pub fn parse(mountinfo: &str, whose: Whose) -> Vec<Mount> {
    let mount = |line: &str| {
        // Some fields in the middle may be missing, so what is behind them has a mark before it.
        let (of_mount, of_file_system) = line.split_once(" - ")?;
        let mut words = of_mount.split(' ').skip(4);
        let (path, options) = (unescaped(words.next()?), words.next()?);
        let mut words = of_file_system.split(' ');
        let (file_system, device) = (words.next()?.to_owned(), unescaped(words.next()?));
        let options = if whose == Whose::Hosts { options } else { "" };
        let mut options = options.split(',').chain(words.next()?.split(','));
        let read_only = options.any(|option| matches!(option, "ro" | "emergency_ro"));
        Some(Mount { device, path, file_system, read_only })
    };
    mountinfo.lines().filter_map(mount).collect()
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

/// The mounts to read: not what another hides or what is left out, and of several mounts of one device the one with the
/// shortest path, unless names are node_exporter's, which tells of all. An overlay is left out too, but for a container's own
/// root. Sorted by path.
pub fn worth_reading(mounts: Vec<Mount>, exclude: &Excludes<Patterns>, naming: Naming) -> Vec<Mount> {
    let mut by_path: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in mounts {
        // Of two mounts at one path the later one hides the other.
        by_path.insert(mount.path.clone(), mount);
    }
    let is_told = |mount: &Mount| {
        let is_own_root = naming == Naming::Edgewatch && mount.path == "/";
        (is_own_root || !exclude.file_systems.matches(&mount.file_system))
            && !exclude.mounts.matches(&mount.path)
    };
    let mut by_identity: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in by_path.into_values().filter(is_told) {
        // Only a device's path says that two mounts are the same.
        let by_device = naming == Naming::Edgewatch && mount.device.starts_with('/');
        let identity = if by_device { mount.device.clone() } else { mount.path.clone() };
        match by_identity.get(&identity) {
            Some(known) if known.path.len() <= mount.path.len() => {}
            _ => {
                by_identity.insert(identity, mount);
            }
        }
    }
    let mut kept: Vec<Mount> = by_identity.into_values().collect();
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::linux::saved;

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

    fn parsed(whose: Whose) -> Vec<Mount> {
        parse(&String::from_utf8_lossy(saved::MOUNTINFO), whose)
    }

    #[test]
    fn a_saved_table_is_read_with_its_blanks_and_the_options_of_mount_and_file_system() {
        let at = |path: &str| parsed(Whose::Hosts).into_iter().rfind(|mount| mount.path == path).unwrap();
        let (root, read_only) = ("/dev/mapper/centos-root", true);
        assert_eq!(at("/"), mount(root, "/", "xfs"));
        assert_eq!(
            at("/media/my stick\\"),
            Mount { read_only, ..mount("/dev/sdb1", "/media/my stick\\", "vfat") }
        );
        assert_eq!(at("/broken"), Mount { read_only, ..mount("/dev/sdc", "/broken", "ext4") });
        assert_eq!(at("/usr"), Mount { read_only, ..mount(root, "/usr", "xfs") });
        assert_eq!(parse("1 1 8:1 / /x rw\n1 1 8:1 / /y rw - ext4\nx\n", Whose::Hosts), []);
        assert_eq!(unescaped("a\\9z\\"), "a\\9z\\");
    }

    #[test]
    fn of_our_own_table_only_what_holds_for_the_file_system_is_read_only() {
        let read_only: Vec<String> =
            parsed(Whose::Own).into_iter().filter(|mount| mount.read_only).map(|mount| mount.path).collect();
        assert_eq!(read_only, ["/media/my stick\\", "/broken"], "but not what a sandbox has mounted so");
    }

    #[test]
    fn a_table_with_another_root_is_another_hosts() {
        let hosts = "21 1 253:0 / / rw - xfs /dev/mapper/centos-root rw\n";
        let sandbox = "400 380 253:0 / / ro master:1 - xfs /dev/mapper/centos-root rw\n401 400 0:5 / /dev rw - x x rw\n";
        let container = "900 880 0:99 / / rw - overlay overlay rw\n";
        let folder = "900 880 253:0 /var/lib/machines/a / rw - xfs /dev/mapper/centos-root rw\n";
        let hidden = format!("1 1 0:1 / / rw - rootfs rootfs rw\n{hosts}");
        assert!(root(hosts).is_some());
        for (table, is_same) in
            [(sandbox, true), (&hidden, true), (container, false), (folder, false), ("", false)]
        {
            assert_eq!(root(table) == root(hosts), is_same, "{table}");
        }
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
    fn what_another_mount_hides_is_not_told() {
        // As CentOS 7 lists them.
        let mounts =
            [("rootfs", "/", "rootfs"), ("/dev/mapper/a", "/", "xfs"), ("/dev/sda1", "/boot", "ext4")];
        assert_eq!(kept(&mounts), ["/", "/boot"]);
        let covered = [("/dev/sdb", "/srv", "ext4"), ("shm", "/srv", "tmpfs")];
        for naming in [Naming::Edgewatch, Naming::NodeExporter] {
            let devices = |mounts: &[(&str, &str, &str)]| {
                let mounts = mounts.iter().map(|(d, p, f)| mount(d, p, f)).collect();
                let told = worth_reading(mounts, &Excludes::default(), naming);
                told.into_iter().map(|mount| mount.device).collect::<Vec<_>>()
            };
            assert_eq!(devices(&mounts), ["/dev/mapper/a", "/dev/sda1"], "{naming:?}");
            assert_eq!(devices(&covered), ["shm"], "{naming:?}");
        }
        assert!(kept(&covered).is_empty(), "not even where what hides it is left out");
    }

    #[test]
    fn a_root_can_be_left_out_by_its_path_alone() {
        let said = Excludes { mounts: Some("/".to_owned()), ..Excludes::default() };
        let mounts = vec![mount("/dev/vda", "/", "ext4"), mount("/dev/vdb", "/srv", "ext4")];
        let told = worth_reading(mounts, &said.or_defaults(Naming::Edgewatch), Naming::Edgewatch);
        assert_eq!(told, [mount("/dev/vdb", "/srv", "ext4")]);
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
}
