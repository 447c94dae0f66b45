//! What each process has used, read from all of `/proc/PID/stat`.

use super::{CENSUS, HIDDEN, proc};
use crate::{
    collectors::{
        CollectError,
        top::{Look, Process},
    },
    os_clock,
};
use rustix::{
    fs::{Mode, OFlags, openat},
    io,
};
use std::collections::BTreeSet;

/// Bytes of `/proc/PID/stat` that are read. Reason: what is asked for stands in the first half of it.
const STAT_BYTES: usize = 1 << 10;
/// The kernel's own threads have this flag (`PF_KTHREAD` in its `include/linux/sched.h`).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Looks after which it is asked anew which are the kernel's threads. Reason: a number may be given again, and in an hour it
/// is noticed.
const LOOKS_MAX: u32 = 60;

/// The processes of this host. The kernel's own threads count, and are not read again and again: they are most of what there
/// is, and nobody looks for them among those that use the most.
#[derive(Debug, Default)]
pub struct ProcessTable {
    kernel_threads: BTreeSet<u32>,
    looks: u32,
}

impl ProcessTable {
    /// What they have used so far; those that end meanwhile are passed over.
    pub fn look(&mut self) -> Result<Look, CollectError> {
        if self.looks.is_multiple_of(LOOKS_MAX) {
            self.kernel_threads.clear();
        }
        self.looks = self.looks.wrapping_add(1);
        let page_bytes = rustix::param::page_size() as u64;
        let ticks_per_s = rustix::param::clock_ticks_per_second();
        let proc = proc()?;
        let pids = CENSUS.list(&proc, os_clock::running_ms())?;
        let count = pids.len();
        let mut stat = [0; STAT_BYTES];
        let mut processes = Vec::new();
        for pid in pids {
            if self.kernel_threads.contains(&pid) {
                continue;
            }
            let mut read = || {
                let path = format!("{pid}/stat");
                let file = openat(&proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
                let length = io::read(file, &mut stat).ok()?;
                parse(&String::from_utf8_lossy(stat.get(..length)?), page_bytes, ticks_per_s)
            };
            match read() {
                Some(Parsed::Process(process)) => processes.push(process),
                Some(Parsed::KernelThread) => _ = self.kernel_threads.insert(pid),
                None => {}
            }
        }
        let is_all = processes.iter().any(|process| process.pid == 1);
        if is_all { Ok(Look { count, processes }) } else { Err(CollectError::Absurd(HIDDEN)) }
    }
}

/// Of whom a `/proc/PID/stat` tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A thread of the kernel.
    KernelThread,
    /// A process.
    Process(Process),
}

/// Reads `/proc/PID/stat` (`man 5 proc_pid_stat`); the name may have blanks and parentheses of its own.
pub fn parse(stat: &str, page_bytes: u64, ticks_per_s: u64) -> Option<Parsed> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // From the third field on.
    let mut fields = rest.split(' ');
    let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
    let flags = number(6)?;
    if flags & KERNEL_THREAD != 0 {
        return Some(Parsed::KernelThread);
    }
    let (user, system) = (number(4)?, number(0)?);
    let (started, resident) = (number(6)?, number(1)?);
    Some(Parsed::Process(Process {
        pid: pid.parse().ok()?,
        started,
        name: name.to_owned(),
        cpu_ms: user.saturating_add(system).saturating_mul(1_000) / ticks_per_s.max(1),
        resident_bytes: resident.saturating_mul(page_bytes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_stat_is_read_behind_the_last_parenthesis() {
        // Linux 6.1, 2026-11-21, with a name of the worst kind.
        let stat = "812 (a) (b) S 1 812 812 0 -1 4194560 1234 0 3 0 150 70 0 0 20 0 9 0 4711 1255 488 \
            18446744073709551615 0 0 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0\n";
        let expected = Parsed::Process(Process {
            pid: 812,
            started: 4_711,
            name: "a) (b".into(),
            cpu_ms: 2_200,
            resident_bytes: 488 * 4_096,
        });
        assert_eq!(parse(stat, 4_096, 100), Some(expected));
        for bad in [
            "",
            "812 (x) S 1",
            "y (x) S 1 2",
            "812 (a) (b) S 1 812 812 0 -1 4194560 1234 0 3 0 150 70 0 0 20 0 9 0 4711 1255",
        ] {
            assert_eq!(parse(bad, 4_096, 100), None, "{bad}");
        }
    }

    #[test]
    fn the_kernels_threads_are_known_by_their_flag() {
        // Linux 6.18, 2026-11-21.
        let stat =
            "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 3 0 0 18446744073709551615 0 0 0 0\n";
        assert_eq!(parse(stat, 4_096, 100), Some(Parsed::KernelThread));
    }

    #[test]
    fn this_process_is_in_the_table_and_no_thread_of_the_kernel_which_count() {
        let mut table = ProcessTable::default();
        for _ in 0..2 {
            let look = table.look().unwrap();
            let own = look.processes.iter().find(|process| process.pid == std::process::id()).unwrap();
            assert!(own.resident_bytes > 0 && own.started > 0, "{own:?}");
            assert!(look.processes.iter().all(|process| !table.kernel_threads.contains(&process.pid)));
            assert!(look.count >= look.processes.len());
        }
        // Whose number is another's now is noticed in the end.
        table.kernel_threads.insert(std::process::id());
        let is_seen = |look: &Look| look.processes.iter().any(|process| process.pid == std::process::id());
        let seen: Vec<bool> = (2..=LOOKS_MAX).map(|_| is_seen(&table.look().unwrap())).collect();
        assert_eq!(seen.iter().position(|seen| *seen), Some(LOOKS_MAX as usize - 2));
    }
}
