//! What others ask of node_exporter's names: the dashboard "Node Exporter Full" (Grafana's number 1860) in its variables and
//! panels, and the rules and dashboards of node_exporter's own mixin, of what our collectors read.

use super::{disk, memory, pressure, saved, sockets};
use crate::{
    clock::Clock,
    collectors::{Collectors, Reading},
    counters::Counters,
    settings::collection::{Collection, Naming},
};
use edgewatch_shared::{TimestampMs, catalogue::find};
use std::{collections::BTreeSet, sync::Arc};

/// What hosts are found by, and what the first row and the rules reckon with.
const ESSENTIAL: &[&str] = &[
    "node_boot_time_seconds",
    "node_cpu_seconds_total",
    "node_load1",
    "node_load15",
    "node_load5",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_time_seconds",
    "node_uname_info",
];

/// By the end of the name, what each of these families is asked for.
const FAMILIES: &[(&str, &str)] = &[
    ("node_cpu_", "guest_seconds_total"),
    (
        "node_",
        "context_switches_total filefd_allocated filefd_maximum forks_total intr_total procs_blocked procs_running",
    ),
    (
        "node_disk_",
        "discard_time_seconds_total discards_completed_total discards_merged_total io_now io_time_seconds_total \
         io_time_weighted_seconds_total read_bytes_total read_time_seconds_total reads_completed_total \
         reads_merged_total write_time_seconds_total writes_completed_total writes_merged_total written_bytes_total",
    ),
    ("node_filesystem_", "avail_bytes device_error files files_free free_bytes readonly size_bytes"),
    (
        "node_memory_",
        "Active_anon_bytes Active_bytes Active_file_bytes AnonHugePages_bytes AnonPages_bytes Buffers_bytes \
         Cached_bytes CommitLimit_bytes Committed_AS_bytes DirectMap2M_bytes DirectMap4k_bytes Dirty_bytes \
         HugePages_Free HugePages_Rsvd HugePages_Surp HugePages_Total Hugepagesize_bytes Inactive_anon_bytes \
         Inactive_bytes Inactive_file_bytes KernelStack_bytes Mapped_bytes MemFree_bytes Mlocked_bytes \
         PageTables_bytes Percpu_bytes SReclaimable_bytes SUnreclaim_bytes Shmem_bytes Slab_bytes SwapCached_bytes \
         SwapFree_bytes SwapTotal_bytes Unevictable_bytes VmallocTotal_bytes VmallocUsed_bytes Writeback_bytes",
    ),
    (
        "node_netstat_",
        "Icmp_InErrors Icmp_InMsgs Icmp_OutMsgs IpExt_InOctets IpExt_OutOctets TcpExt_ListenDrops \
         TcpExt_ListenOverflows TcpExt_SyncookiesFailed TcpExt_SyncookiesRecv TcpExt_SyncookiesSent \
         TcpExt_TCPOFOQueue TcpExt_TCPRcvQDrop TcpExt_TCPSynRetrans TcpExt_TCPTimeouts Tcp_ActiveOpens \
         Tcp_CurrEstab Tcp_InErrs Tcp_InSegs Tcp_OutRsts Tcp_OutSegs Tcp_PassiveOpens Tcp_RetransSegs \
         UdpLite_InErrors Udp_InDatagrams Udp_InErrors Udp_NoPorts Udp_OutDatagrams Udp_RcvbufErrors \
         Udp_SndbufErrors",
    ),
    (
        "node_network_",
        "mtu_bytes receive_bytes_total receive_compressed_total receive_drop_total receive_errs_total \
         receive_fifo_total receive_frame_total receive_multicast_total receive_packets_total transmit_bytes_total \
         transmit_carrier_total transmit_colls_total transmit_compressed_total transmit_drop_total \
         transmit_errs_total transmit_fifo_total transmit_packets_total up",
    ),
    (
        "node_pressure_",
        "cpu_waiting_seconds_total io_stalled_seconds_total io_waiting_seconds_total memory_stalled_seconds_total \
         memory_waiting_seconds_total",
    ),
    (
        "node_sockstat_",
        "FRAG_inuse FRAG_memory RAW_inuse TCP_alloc TCP_inuse TCP_mem TCP_mem_bytes TCP_orphan TCP_tw \
         UDPLITE_inuse UDP_inuse UDP_mem UDP_mem_bytes sockets_used",
    ),
    (
        "node_timex_",
        "estimated_error_seconds frequency_adjustment_ratio loop_time_constant maxerror_seconds offset_seconds \
         sync_status tai_offset_seconds tick_seconds",
    ),
    ("node_vmstat_", "oom_kill pgfault pgmajfault pgpgin pgpgout pswpin pswpout"),
];

/// Asked for as well, where the hardware or a newer kernel has it.
const ELSEWHERE: &[&str] = &[
    "node_cpu_scaling_frequency_hertz",
    "node_cpu_scaling_frequency_max_hertz",
    "node_cpu_scaling_frequency_min_hertz",
    "node_disk_flush_requests_total",
    "node_memory_DirectMap1G_bytes",
    "node_memory_HardwareCorrupted_bytes",
    "node_memory_NFS_Unstable_bytes",
    "node_memory_Zswapped_bytes",
    "node_network_carrier",
    "node_network_speed_bytes",
    "node_pressure_irq_stalled_seconds_total",
];

/// What the collectors send of this host and what they make of saved texts, which have what this host may lack.
fn sent() -> BTreeSet<&'static str> {
    let clock = Arc::new(Clock::new(|| 0, TimestampMs(0)));
    let collection = Collection::usual(Naming::NodeExporter, "/nowhere".into());
    let mut collectors =
        Collectors::of_this_host(&collection, &clock, Arc::new(Counters::default()), Box::new(|| 0));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mount =
        disk::Mount { device: "d".into(), path: "/".into(), file_system: "f".into(), read_only: false };
    let readings: Vec<Reading> = [
        collectors.collect(),
        memory::node_samples(&text(saved::MEMINFO)),
        memory::node_event_samples(&text(saved::VMSTAT)),
        pressure::node_samples("cpu", &text(saved::PRESSURE_CPU)),
        pressure::node_samples("io", &text(saved::PRESSURE_IO)),
        pressure::node_samples("memory", &text(saved::PRESSURE_MEMORY)),
        sockets::node_sockets(&text(saved::SOCKSTAT), 4_096),
        sockets::node_sockets(&text(saved::SOCKSTAT6), 4_096),
        sockets::node_protocols(&text(saved::SNMP)),
        sockets::node_protocols(&text(saved::NETSTAT)),
        sockets::node_protocols_of_six(&text(saved::SNMP6)),
        disk::node_samples(&mount, Some(disk::Space::default())),
    ]
    .concat();
    readings.iter().map(|reading| reading.name).collect()
}

#[test]
fn every_name_that_dashboards_and_rules_ask_for_is_sent() {
    let sent = sent();
    let of_family = |(family, ends): &(&str, &str)| -> Vec<String> {
        ends.split_whitespace().map(|end| format!("{family}{end}")).collect()
    };
    let asked = FAMILIES.iter().flat_map(of_family).chain(ESSENTIAL.iter().map(|name| (*name).to_owned()));
    let missing: Vec<String> = asked.filter(|name| !sent.contains(name.as_str())).collect();
    assert_eq!(missing, [""; 0]);
    let unknown: Vec<&str> = ELSEWHERE.iter().copied().filter(|name| find(name).is_none()).collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn under_node_exporters_names_nothing_is_sent_twice() {
    let ours = ["pressure_", "socket_", "mem_oom_kills_total", "swap_in_bytes_total", "time_", "load_5m"];
    let twice: Vec<&str> =
        sent().into_iter().filter(|name| ours.iter().any(|prefix| name.starts_with(prefix))).collect();
    assert_eq!(twice, [""; 0]);
}
