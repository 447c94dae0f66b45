//! Memory and swap, by kind.

use super::{kept::Kept, numbers_of};
use crate::{
    collectors::{CollectError, Collector, Reading, percentage},
    settings::collection::Naming,
};
use edgewatch_shared::catalogue::find;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "mem_available_bytes",
    "mem_buffers_bytes",
    "mem_cached_bytes",
    "mem_committed_bytes",
    "mem_dirty_bytes",
    "mem_free_bytes",
    "mem_major_faults_total",
    "mem_oom_kills_total",
    "mem_shared_bytes",
    "mem_slab_bytes",
    "mem_total_bytes",
    "mem_used_bytes",
    "mem_used_pct",
    "swap_in_bytes_total",
    "swap_out_bytes_total",
    "swap_total_bytes",
    "swap_used_bytes",
    "swap_used_pct",
];

/// The largest step that gauges are rounded to, in bytes. Reason: what is smaller nobody acts on, however large the host.
const STEP_BYTES_MAX: u64 = 1 << 20;

/// What gauges are rounded to on a host with `total` bytes: a power of two that is at most a ten-thousandth of them, as
/// fine as shares are told, and at most [`STEP_BYTES_MAX`]. Reason: below that they are noise. The kernel counts pages by
/// processor and folds that now and then (`calculate_normal_threshold` in its `mm/vmstat.c`), and thousands of pages more
/// lie on each processor's own lists, neither free nor used (`high` in `/proc/zoneinfo`).
fn step_bytes(total: u64) -> u64 {
    (1 << (total / 10_000).max(1).ilog2()).min(STEP_BYTES_MAX)
}

/// Reads memory and swap.
pub struct Memory {
    naming: Naming,
    meminfo: Kept,
    vmstat: Kept,
}

impl Memory {
    /// A collector.
    pub fn new(naming: Naming) -> Self {
        Self { naming, meminfo: Kept::new("/proc/meminfo"), vmstat: Kept::new("/proc/vmstat") }
    }
}

impl Collector for Memory {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let meminfo = self.meminfo.text()?;
        let own = samples(meminfo).ok_or(CollectError::Absurd("/proc/meminfo tells of no memory"))?;
        readings.extend(own);
        if self.naming == Naming::NodeExporter {
            readings.extend(node_samples(meminfo));
        }
        let vmstat = self.vmstat.text()?;
        readings.extend(event_samples(vmstat, rustix::param::page_size() as u64));
        if self.naming == Naming::NodeExporter {
            readings.extend(node_event_samples(vmstat));
        }
        Ok(())
    }
}

/// The samples of `/proc/meminfo` (`man 5 proc_meminfo`). Used is what is not available; a host without swap has no
/// share of it, and a kernel that does not know a kind has no sample of it. What is available and the kinds are rounded to
/// whole steps ([`step_bytes`]).
pub fn samples(meminfo: &str) -> Option<Vec<Reading>> {
    let keys = [
        "MemTotal",
        "MemAvailable",
        "MemFree",
        "Buffers",
        "Cached",
        "Committed_AS",
        "Dirty",
        "Shmem",
        "Slab",
        "SwapTotal",
        "SwapFree",
    ];
    let in_bytes = |kilobytes: Option<u64>| Some(kilobytes?.saturating_mul(1_024));
    let [total, available, free, buffers, cached, committed, dirty, shared, slab, swap_total, swap_free] =
        numbers_of(meminfo, keys).map(in_bytes);
    let total = total.filter(|total| *total > 0)?;
    // Kernels before 3.14 do not reckon what is available.
    let available = available.or_else(|| Some(free?.saturating_add(buffers?).saturating_add(cached?)))?;
    let step = step_bytes(total);
    let rounded = |bytes: u64| bytes.saturating_add(step / 2) / step * step;
    let available = rounded(available).min(total);
    let used = total.saturating_sub(available);
    let swap_total = swap_total.unwrap_or_default();
    let swap_used = swap_total.saturating_sub(swap_free.unwrap_or_default());
    let mut samples = vec![
        Reading::plain("mem_total_bytes", total as f64),
        Reading::plain("mem_available_bytes", available as f64),
        Reading::plain("mem_used_bytes", used as f64),
        Reading::plain("mem_used_pct", percentage(used, total)),
        Reading::plain("swap_total_bytes", swap_total as f64),
        Reading::plain("swap_used_bytes", swap_used as f64),
    ];
    if swap_total > 0 {
        samples.push(Reading::plain("swap_used_pct", percentage(swap_used, swap_total)));
    }
    let kinds = [
        ("mem_buffers_bytes", buffers),
        ("mem_cached_bytes", cached),
        ("mem_committed_bytes", committed),
        ("mem_dirty_bytes", dirty),
        ("mem_free_bytes", free),
        ("mem_shared_bytes", shared),
        ("mem_slab_bytes", slab),
    ];
    samples.extend(
        kinds.into_iter().filter_map(|(name, bytes)| Some(Reading::plain(name, rounded(bytes?) as f64))),
    );
    Some(samples)
}

/// The samples of `/proc/vmstat`.
pub fn event_samples(vmstat: &str, page_bytes: u64) -> Vec<Reading> {
    let [faults, oom_kills, pages_in, pages_out] =
        numbers_of(vmstat, ["pgmajfault", "oom_kill", "pswpin", "pswpout"]);
    let events = [
        ("mem_major_faults_total", faults, 1),
        ("mem_oom_kills_total", oom_kills, 1),
        ("swap_in_bytes_total", pages_in, page_bytes),
        ("swap_out_bytes_total", pages_out, page_bytes),
    ];
    let sample = |(name, count, unit): (&'static str, Option<u64>, u64)| {
        Some(Reading::plain(name, count?.saturating_mul(unit) as f64))
    };
    events.into_iter().filter_map(sample).collect()
}

/// node_exporter's `vmstat` collector.
pub fn node_event_samples(vmstat: &str) -> Vec<Reading> {
    let keys = ["oom_kill", "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout"];
    let names = [
        "node_vmstat_oom_kill",
        "node_vmstat_pgfault",
        "node_vmstat_pgmajfault",
        "node_vmstat_pgpgin",
        "node_vmstat_pgpgout",
        "node_vmstat_pswpin",
        "node_vmstat_pswpout",
    ];
    let counts = names.into_iter().zip(numbers_of(vmstat, keys));
    counts.filter_map(|(name, count)| Some(Reading::plain(name, count? as f64))).collect()
}

/// node_exporter's `meminfo` collector: every line, `Active(anon)` as `Active_anon`, and `_bytes` where it says kB.
pub fn node_samples(meminfo: &str) -> Vec<Reading> {
    let sample = |line: &str| {
        let (key, rest) = line.split_once(':')?;
        let (number, in_kb) = match rest.trim().strip_suffix(" kB") {
            Some(number) => (number, true),
            None => (rest.trim(), false),
        };
        let number: u64 = number.parse().ok()?;
        let key = key.replace('(', "_").replace(')', "");
        let name = format!("node_memory_{key}{}", if in_kb { "_bytes" } else { "" });
        let unit = if in_kb { 1_024 } else { 1 };
        // Whatever a kernel to come adds has no name yet.
        Some(Reading::plain(find(&name)?.name, number.saturating_mul(unit) as f64))
    };
    meminfo.lines().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/meminfo` of a virtual machine with Linux 6.1, 2026-11-21; lines left out.
    const MEMINFO: &str = "MemTotal:       24684096 kB\nMemFree:         5018344 kB\nMemAvailable:   23459300 kB\n\
        Buffers:           89888 kB\nCached:         18006388 kB\nActive(anon):       1680 kB\n\
        SwapTotal:             0 kB\nSwapFree:              0 kB\nDirty:            443544 kB\n\
        Shmem:              8788 kB\nSlab:             831688 kB\nCommitted_AS:     429768 kB\n\
        HugePages_Total:       3\nOfTomorrow:       3 kB\n";

    fn value(samples: &[Reading], name: &str) -> Option<f64> {
        samples.iter().find(|sample| sample.name == name).map(|sample| sample.value)
    }

    #[test]
    fn used_is_what_is_not_available() {
        let samples = samples(MEMINFO).unwrap();
        for (name, expected) in [
            ("mem_total_bytes", Some(24_684_096.0 * 1_024.0)),
            ("mem_available_bytes", Some(22_909.0 * 1_048_576.0)),
            ("mem_used_bytes", Some(24_684_096.0 * 1_024.0 - 22_909.0 * 1_048_576.0)),
            ("mem_used_pct", Some(4.96)),
            ("mem_shared_bytes", Some(9.0 * 1_048_576.0)),
            ("swap_used_bytes", Some(0.0)),
            ("swap_used_pct", None),
        ] {
            assert_eq!(value(&samples, name), expected, "{name}");
        }
    }

    #[test]
    fn a_step_is_at_most_a_ten_thousandth_and_a_mebibyte() {
        let mib = 1 << 20;
        for (total, step) in [
            (1, 1),
            (128 * mib, 8 << 10),
            (512 * mib, 32 << 10),
            (10_000 * mib - 1, mib / 2),
            (10_000 * mib, mib),
            (u64::MAX, mib),
        ] {
            assert_eq!(step_bytes(total), step, "{total}");
        }
    }

    #[test]
    fn what_is_available_is_never_more_than_there_is() {
        let samples = samples("MemTotal: 30003 kB\nMemAvailable: 30003 kB\n").unwrap();
        assert_eq!(value(&samples, "mem_available_bytes"), value(&samples, "mem_total_bytes"));
        assert_eq!(value(&samples, "mem_used_bytes"), Some(0.0));
    }

    #[test]
    fn swap_has_a_share_where_there_is_swap() {
        let samples = samples("MemTotal: 9 kB\nMemAvailable: 9 kB\nSwapTotal: 800 kB\nSwapFree: 700 kB\n");
        assert_eq!(value(&samples.unwrap(), "swap_used_pct"), Some(12.5));
    }

    #[test]
    fn an_old_kernels_available_memory_is_free_buffers_and_caches() {
        let samples = samples("MemTotal: 9 kB\nMemFree: 1 kB\nBuffers: 2 kB\nCached: 3 kB\n").unwrap();
        assert_eq!(value(&samples, "mem_available_bytes"), Some(6.0 * 1_024.0));
    }

    #[test]
    fn no_memory_is_no_reading() {
        for bad in ["", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: x kB\n", "MemTotal: 9 kB\n"] {
            assert_eq!(samples(bad), None, "{bad}");
        }
    }

    #[test]
    fn events_are_counted_and_pages_are_bytes() {
        let samples = event_samples("pswpin 2\npswpout 3\npgmajfault 5733\n", 4_096);
        assert_eq!(
            samples,
            [
                Reading::plain("mem_major_faults_total", 5_733.0),
                Reading::plain("swap_in_bytes_total", 8_192.0),
                Reading::plain("swap_out_bytes_total", 12_288.0),
            ]
        );
    }

    #[test]
    fn node_exporters_events_are_as_the_kernel_counts_them() {
        // Linux 4.4, which counts no OOM kills.
        let samples = node_event_samples("pgpgin 7\npswpin 2\npgfault 9\npgmajfault 5733\npgfault_x 1\n");
        let expected = [
            ("node_vmstat_pgfault", 9.0),
            ("node_vmstat_pgmajfault", 5_733.0),
            ("node_vmstat_pgpgin", 7.0),
            ("node_vmstat_pswpin", 2.0),
        ];
        assert_eq!(samples, expected.map(|(name, count)| Reading::plain(name, count)));
    }

    #[test]
    fn node_exporters_names_come_from_the_kernels() {
        let samples = node_samples(MEMINFO);
        assert_eq!(value(&samples, "node_memory_Active_anon_bytes"), Some(1_680.0 * 1_024.0));
        assert_eq!(value(&samples, "node_memory_HugePages_Total"), Some(3.0));
        assert_eq!(samples.len(), MEMINFO.lines().count() - 1, "an unknown line has no name");
    }
}
