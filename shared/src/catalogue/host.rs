//! What our agent calls what it reads: every name, and the nine of MiniObserv.

use super::{Metric, counter, gauge};

/// Every metric under our own names, sorted by name.
pub const CATALOGUE: &[Metric] = &[
    counter(
        "agent_collector_failures_total",
        "",
        "Readings that a collector failed to take; absent for one that never failed.",
    )
    .by(&["collector"]),
    counter("agent_cpu_seconds_total", "s", "Processor time the agent has used.")
        .like("process_cpu_seconds_total"),
    counter(
        "agent_dropped_batches_total",
        "",
        "Batches dropped for lack of room in the spool, or for their age.",
    ),
    counter("agent_push_failures_total", "", "Pushes that failed and were tried again."),
    gauge("agent_queue_batches", "", "Batches waiting in the spool."),
    counter(
        "agent_refused_samples_total",
        "",
        "Samples the server refused of batches it took, for their time or for want of room for their series; absent until there are any.",
    ),
    counter("agent_rejected_batches_total", "", "Batches the server refused for good."),
    gauge("agent_resident_bytes", "B", "Resident memory of the agent.").like("process_resident_memory_bytes"),
    counter(
        "agent_spool_damaged_total",
        "",
        "Batches and places in the spool's files that could not be read.",
    ),
    gauge("boot_time_seconds", "s", "When the host booted, in seconds since the epoch.")
        .like("node_boot_time_seconds"),
    gauge("container_count", "", "Running containers."),
    counter("container_cpu_seconds_total", "s", "Processor time a container has used.").by(&["container"]),
    gauge(
        "container_healthy",
        "",
        "1 if a container passes its health check, 0 if not; absent without a check.",
    )
    .by(&["container"]),
    gauge(
        "container_memory_bytes",
        "B",
        "Memory of a container, without what the kernel can take back at once.",
    )
    .by(&["container"]),
    gauge("container_memory_limit_bytes", "B", "Memory that a container may use; absent without a limit.")
        .by(&["container"]),
    counter("container_read_bytes_total", "B", "Bytes a container has read from block devices.")
        .by(&["container"]),
    counter("container_written_bytes_total", "B", "Bytes a container has written to block devices.")
        .by(&["container"]),
    counter("cpu_context_switches_total", "", "Context switches.").like("node_context_switches_total"),
    gauge("cpu_count", "", "Logical processors."),
    counter("cpu_forks_total", "", "Processes and threads that were started.").like("node_forks_total"),
    counter("cpu_interrupts_total", "", "Interrupts that were serviced.").like("node_intr_total"),
    counter("cpu_mode_seconds_total", "s", "Time that all processors together have spent in a mode.")
        .by(&["mode"]),
    gauge("cpu_tasks_blocked", "", "Tasks that wait for a disk.").like("node_procs_blocked"),
    gauge("cpu_tasks_running", "", "Tasks that run or could run.").like("node_procs_running"),
    gauge(
        "cpu_usage_pct",
        "%",
        "Busy share of a processor since the last reading; core=total is the mean of all.",
    )
    .by(&["core"]),
    counter("disk_busy_seconds_total", "s", "Time during which a device had something to do.")
        .by(&["device"])
        .like("node_disk_io_time_seconds_total"),
    gauge("disk_inodes_used", "", "Inodes in use on a mounted file system.").by(&["mount"]),
    gauge("disk_inodes_used_pct", "%", "Used share of the inodes of a mounted file system.").by(&["mount"]),
    counter("disk_read_bytes_total", "B", "Bytes read from a device.")
        .by(&["device"])
        .like("node_disk_read_bytes_total"),
    gauge("disk_read_only", "", "1 if a file system is mounted read-only, else 0.")
        .by(&["mount"])
        .like("node_filesystem_readonly"),
    counter("disk_read_seconds_total", "s", "Time that reads have taken, all together.")
        .by(&["device"])
        .like("node_disk_read_time_seconds_total"),
    counter("disk_reads_total", "", "Reads that a device has completed.")
        .by(&["device"])
        .like("node_disk_reads_completed_total"),
    gauge("disk_total_bytes", "B", "Size of a mounted file system.")
        .by(&["mount"])
        .like("node_filesystem_size_bytes"),
    gauge("disk_used_bytes", "B", "Used bytes of a mounted file system.").by(&["mount"]),
    gauge("disk_used_pct", "%", "Used share of a mounted file system.").by(&["mount"]),
    counter("disk_write_seconds_total", "s", "Time that writes have taken, all together.")
        .by(&["device"])
        .like("node_disk_write_time_seconds_total"),
    counter("disk_writes_total", "", "Writes that a device has completed.")
        .by(&["device"])
        .like("node_disk_writes_completed_total"),
    counter("disk_written_bytes_total", "B", "Bytes written to a device.")
        .by(&["device"])
        .like("node_disk_written_bytes_total"),
    gauge(
        "file_descriptors_limit",
        "",
        "File descriptors that may be open on the host; absent where there is no limit.",
    )
    .like("node_filefd_maximum"),
    gauge("file_descriptors_open", "", "Open file descriptors of the host.").like("node_filefd_allocated"),
    gauge("load_15m", "", "Load average over 15 minutes.").like("node_load15"),
    gauge("load_1m", "", "Load average over 1 minute.").like("node_load1"),
    gauge("load_5m", "", "Load average over 5 minutes.").like("node_load5"),
    gauge("mem_available_bytes", "B", "Memory that programs can still get without swapping.")
        .like("node_memory_MemAvailable_bytes"),
    gauge("mem_buffers_bytes", "B", "Memory that buffers block devices.").like("node_memory_Buffers_bytes"),
    gauge("mem_cached_bytes", "B", "Memory that caches files.").like("node_memory_Cached_bytes"),
    gauge("mem_committed_bytes", "B", "Memory that programs were promised.")
        .like("node_memory_Committed_AS_bytes"),
    gauge("mem_dirty_bytes", "B", "Memory that waits to be written to disk.").like("node_memory_Dirty_bytes"),
    gauge("mem_free_bytes", "B", "Memory that nobody uses.").like("node_memory_MemFree_bytes"),
    counter("mem_major_faults_total", "", "Page faults that had to read from disk."),
    counter("mem_oom_kills_total", "", "Processes that the kernel killed for lack of memory."),
    gauge("mem_shared_bytes", "B", "Shared memory and tmpfs.").like("node_memory_Shmem_bytes"),
    gauge("mem_slab_bytes", "B", "Memory of the kernel's own structures.").like("node_memory_Slab_bytes"),
    gauge("mem_total_bytes", "B", "Usable memory.").like("node_memory_MemTotal_bytes"),
    gauge("mem_used_bytes", "B", "Memory that is neither free nor reclaimable."),
    gauge("mem_used_pct", "%", "Used share of memory."),
    gauge("net_bytes_in", "B", "Bytes received on an interface since the last reading.").by(&["iface"]),
    gauge("net_bytes_out", "B", "Bytes sent on an interface since the last reading.").by(&["iface"]),
    gauge("net_month_receive_bytes", "B", "Bytes received on an interface since the month's reset day.")
        .by(&["iface"]),
    gauge("net_month_transmit_bytes", "B", "Bytes sent on an interface since the month's reset day.")
        .by(&["iface"]),
    counter("net_receive_bytes_total", "B", "Bytes received on an interface.")
        .by(&["iface"])
        .like("node_network_receive_bytes_total"),
    counter("net_receive_dropped_total", "", "Packets that arrived on an interface and were dropped.")
        .by(&["iface"])
        .like("node_network_receive_drop_total"),
    counter("net_receive_errors_total", "", "Receive errors on an interface.")
        .by(&["iface"])
        .like("node_network_receive_errs_total"),
    counter("net_receive_packets_total", "", "Packets received on an interface.")
        .by(&["iface"])
        .like("node_network_receive_packets_total"),
    counter("net_transmit_bytes_total", "B", "Bytes sent on an interface.")
        .by(&["iface"])
        .like("node_network_transmit_bytes_total"),
    counter("net_transmit_dropped_total", "", "Packets that were to leave by an interface and were dropped.")
        .by(&["iface"])
        .like("node_network_transmit_drop_total"),
    counter("net_transmit_errors_total", "", "Transmit errors on an interface.")
        .by(&["iface"])
        .like("node_network_transmit_errs_total"),
    counter("net_transmit_packets_total", "", "Packets sent on an interface.")
        .by(&["iface"])
        .like("node_network_transmit_packets_total"),
    counter("pressure_full_seconds_total", "s", "Time during which all tasks waited for a resource.")
        .by(&["resource"]),
    counter("pressure_some_seconds_total", "s", "Time during which some task waited for a resource.")
        .by(&["resource"]),
    gauge("process_count", "", "Processes."),
    gauge("process_threads", "", "Threads of all processes."),
    gauge("socket_tcp_in_use", "", "TCP sockets in use, of both address families."),
    gauge("socket_tcp_orphaned", "", "TCP sockets that no process holds.").like("node_sockstat_TCP_orphan"),
    counter("socket_tcp_retransmits_total", "", "TCP segments that were sent again."),
    gauge("socket_tcp_time_wait", "", "TCP sockets that wait for late packets after closing.")
        .like("node_sockstat_TCP_tw"),
    gauge("socket_udp_in_use", "", "UDP sockets in use, of both address families."),
    gauge("socket_used", "", "Sockets in use, of any kind.").like("node_sockstat_sockets_used"),
    counter("swap_in_bytes_total", "B", "Bytes read back from swap."),
    counter("swap_out_bytes_total", "B", "Bytes written to swap."),
    gauge("swap_total_bytes", "B", "Size of swap.").like("node_memory_SwapTotal_bytes"),
    gauge("swap_used_bytes", "B", "Used bytes of swap."),
    gauge("swap_used_pct", "%", "Used share of swap; absent without swap."),
    gauge("systemd_unit_active", "", "1 if a watched unit of systemd is active, else 0.").by(&["unit"]),
    gauge("systemd_unit_failed", "", "1 for every unit of systemd that has failed.").by(&["unit"]),
    gauge("systemd_units_failed", "", "Units of systemd that have failed."),
    gauge("temperature_celsius", "°C", "What a temperature sensor tells.").by(&["chip", "sensor"]),
    gauge("time_error_seconds", "s", "How far the clock may be off at most, as its discipline reckons.")
        .like("node_timex_maxerror_seconds"),
    gauge("time_offset_seconds", "s", "What the clock is off by, as its discipline has measured it.")
        .like("node_timex_offset_seconds"),
    gauge("time_synchronized", "", "1 if a time source disciplines the clock, else 0.")
        .like("node_timex_sync_status"),
    gauge("uptime_seconds", "s", "Seconds since the host booted."),
];
