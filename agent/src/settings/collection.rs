//! What is collected, and under which names.

use super::patterns::Patterns;
use std::{ops::RangeInclusive, path::PathBuf};

/// Bounds of `traffic_reset_day`. Reason: every month has a 28th.
pub const TRAFFIC_RESET_DAY: RangeInclusive<u8> = 1..=28;

/// Interfaces that are left out: what leads nowhere, and what containers and virtual machines are plugged into.
pub const INTERFACES_EXCLUDE: &str = "lo, veth*, docker*, br-*, virbr*, vnet*, tap*, cni*, flannel*, cali*, cilium*, eni*, azv*, gke*, kube-ipvs0, podman*, lxc*, lxd*, incus*, ifb*, dummy*, fwbr*, fwpr*, fwln*";
/// Devices that are left out: what is no disk, and what lies on disks that are counted themselves.
pub const DEVICES_EXCLUDE: &str = "loop*, ram*, zram*, fd*, sr*, dm-*";
/// File systems that hold no files of their own, or another host's, whom asking can take for ever.
pub const FILE_SYSTEMS_EXCLUDE: &str = "autofs, binfmt_misc, bpf, cgroup*, configfs, debugfs, devfs, devpts, devtmpfs, efivarfs, fuse, fuse.*, fusectl, hugetlbfs, iso9660, mqueue, nsfs, overlay, proc, pstore, ramfs, rpc_pipefs, securityfs, selinuxfs, squashfs, sysfs, tmpfs, tracefs";
/// Mounts that are left out beside those: containers' layers and volumes.
pub const MOUNTS_EXCLUDE: &str =
    "/var/lib/docker/*, /var/lib/containers/*, /var/lib/kubelet/*, /run/*, /snap/*";

/// node_exporter's own defaults, as Debian 12 ships it.
mod node_exporter {
    pub const INTERFACES_EXCLUDE: &str = "lo";
    pub const DEVICES_EXCLUDE: &str = "loop*, ram*, fd*";
    pub const FILE_SYSTEMS_EXCLUDE: &str = "autofs, binfmt_misc, bpf, cgroup, cgroup2, configfs, debugfs, devpts, devtmpfs, fusectl, hugetlbfs, iso9660, mqueue, nsfs, overlay, proc, procfs, pstore, rpc_pipefs, securityfs, selinuxfs, squashfs, sysfs, tracefs, fuse, fuse.*";
    pub const MOUNTS_EXCLUDE: &str = "/dev, /dev/*, /proc, /proc/*, /run, /run/*, /sys, /sys/*, /mnt, /mnt/*, /media, /media/*, /var/lib/docker/*, /var/lib/containers/storage/*";
}

/// Whose names readings go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Our own.
    #[default]
    Edgewatch,
    /// node_exporter's, where it has one.
    NodeExporter,
}

impl Naming {
    /// The naming of a setting's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "edgewatch" => Some(Self::Edgewatch),
            "node_exporter" => Some(Self::NodeExporter),
            _ => None,
        }
    }

    /// What is left out unless somebody says otherwise, as texts of patterns.
    fn excludes(self) -> Excludes<&'static str> {
        match self {
            Self::Edgewatch => Excludes {
                interfaces: INTERFACES_EXCLUDE,
                devices: DEVICES_EXCLUDE,
                file_systems: FILE_SYSTEMS_EXCLUDE,
                mounts: MOUNTS_EXCLUDE,
            },
            Self::NodeExporter => Excludes {
                interfaces: node_exporter::INTERFACES_EXCLUDE,
                devices: node_exporter::DEVICES_EXCLUDE,
                file_systems: node_exporter::FILE_SYSTEMS_EXCLUDE,
                mounts: node_exporter::MOUNTS_EXCLUDE,
            },
        }
    }
}

/// One thing for every kind of what can be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes<T> {
    /// Network interfaces, by name.
    pub interfaces: T,
    /// Block devices, by name.
    pub devices: T,
    /// Kinds of file systems.
    pub file_systems: T,
    /// Mounts, by path.
    pub mounts: T,
}

impl Excludes<Option<String>> {
    /// What was said, else what `naming` leaves out.
    pub fn or_defaults(self, naming: Naming) -> Excludes<Patterns> {
        let defaults = naming.excludes();
        let said = |text: Option<String>, default| Patterns::parse(text.as_deref().unwrap_or(default));
        Excludes {
            interfaces: said(self.interfaces, defaults.interfaces),
            devices: said(self.devices, defaults.devices),
            file_systems: said(self.file_systems, defaults.file_systems),
            mounts: said(self.mounts, defaults.mounts),
        }
    }
}

/// What is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Whose names.
    pub naming: Naming,
    /// Collectors that are switched off, by noun.
    pub off: Patterns,
    /// Metrics that are not sent, by name.
    pub metrics_exclude: Patterns,
    /// What is left out.
    pub exclude: Excludes<Patterns>,
    /// Whether network file systems are asked for their size.
    pub network_file_systems: bool,
    /// Units of systemd whose state is told.
    pub units: Vec<String>,
    /// The socket of Docker or Podman, for containers' names and health.
    pub container_socket: Option<PathBuf>,
    /// The day of the month at which monthly traffic starts anew.
    pub traffic_reset_day: u8,
    /// Where monthly traffic is kept.
    pub state_dir: PathBuf,
}

impl Collection {
    /// Everything at its default, with state in `state_dir`.
    pub fn usual(naming: Naming, state_dir: PathBuf) -> Self {
        Self {
            naming,
            off: Patterns::default(),
            metrics_exclude: Patterns::default(),
            exclude: Excludes::default().or_defaults(naming),
            network_file_systems: false,
            units: Vec::new(),
            container_socket: None,
            traffic_reset_day: 1,
            state_dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containers_and_virtual_machines_are_plugged_into_is_left_out() {
        let excludes = Excludes::default().or_defaults(Naming::Edgewatch);
        for name in [
            "lo",
            "tap100i0",
            "vnet3",
            "eni5f2a1b9c0d3",
            "azv12ab34cd56e",
            "gke0a1b2c3d4e5",
            "cilium_host",
            "cilium_vxlan",
            "lxc_health",
            "lxdbr0",
            "incusbr0",
            "kube-ipvs0",
        ] {
            assert!(excludes.interfaces.matches(name), "{name}");
        }
        for name in [
            "eth0",
            "ens5",
            "enp3s0",
            "eno1",
            "enx001122334455",
            "bond0",
            "wg0",
            "tun0",
            "br0",
            "vmbr0",
            "wlan0",
        ] {
            assert!(!excludes.interfaces.matches(name), "{name}");
        }
    }

    #[test]
    fn what_is_said_goes_before_what_a_naming_leaves_out() {
        let said = Excludes { devices: Some("sd*".to_owned()), ..Excludes::default() };
        let excludes = said.clone().or_defaults(Naming::Edgewatch);
        assert!(excludes.devices.matches("sda") && !excludes.devices.matches("loop0"));
        assert!(excludes.interfaces.matches("veth1") && !excludes.interfaces.matches("eth0"));
        let excludes = said.or_defaults(Naming::NodeExporter);
        assert!(excludes.interfaces.matches("lo") && !excludes.interfaces.matches("veth1"));
        assert!(excludes.mounts.matches("/run/user/0") && !excludes.mounts.matches("/var/lib/docker"));
    }
}
