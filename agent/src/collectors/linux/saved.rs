//! Files of `/proc` as kernels have written them: of a virtual machine with Linux 6.18, 2026-11-21, with what older kernels
//! and other machines write beside or in their place.

/// Without most of `intr`.
pub const STAT: &[u8] = include_bytes!("saved/stat");
pub const MEMINFO: &[u8] = include_bytes!("saved/meminfo");
pub const VMSTAT: &[u8] = include_bytes!("saved/vmstat");
/// As CentOS 7 (Linux 3.10) orders it, with a root below the root, names in Latin-1, a sandbox's `/usr`, and a file system
/// that an error made read-only.
pub const MOUNTINFO: &[u8] = include_bytes!("saved/mountinfo");
/// Behind them a disk and a volume as Linux 3.10 writes them, and a controller's disk with a slash in its name.
pub const DISKSTATS: &[u8] = include_bytes!("saved/diskstats");
pub const LOADAVG: &[u8] = include_bytes!("saved/loadavg");
pub const FILE_NR: &[u8] = include_bytes!("saved/file-nr");
pub const NET_DEV: &[u8] = include_bytes!("saved/net_dev");
pub const NETSTAT: &[u8] = include_bytes!("saved/net_netstat");
pub const SNMP: &[u8] = include_bytes!("saved/net_snmp");
pub const SNMP6: &[u8] = include_bytes!("saved/net_snmp6");
pub const SOCKSTAT: &[u8] = include_bytes!("saved/net_sockstat");
pub const SOCKSTAT6: &[u8] = include_bytes!("saved/net_sockstat6");
pub const PRESSURE_CPU: &[u8] = include_bytes!("saved/pressure_cpu");
pub const PRESSURE_IO: &[u8] = include_bytes!("saved/pressure_io");
pub const PRESSURE_MEMORY: &[u8] = include_bytes!("saved/pressure_memory");
/// `/proc/PID/stat` of a process whose name has blanks, parentheses and a byte that is no UTF-8.
pub const PROCESS: &[u8] = include_bytes!("saved/process");
