//! Processes: how many there are, and what each of them has used.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading, top::Process},
    os_clock,
};
use rustix::fs::{Mode, OFlags, RawDir, open, openat};
use std::{
    collections::BTreeMap,
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["process_count", "process_threads"];

/// Milliseconds for which a count holds. Reason: to list processes is the dearest thing that is asked of the kernel, and dearer
/// with every process; the record of those that use the most lists them once a minute.
const COUNT_EVERY_MS: i64 = 90_000;
/// Bytes of a list of processes that are asked for at a time. Reason: some 300 processes.
const LIST_BYTES: usize = 8 << 10;
/// Bytes of `/proc/PID/stat` that are read. Reason: what is asked for stands in the first half of it.
const STAT_BYTES: usize = 1 << 10;

/// What a `/proc` is that tells of our own processes only.
const HIDDEN: &str = "/proc hides the processes of others: it is mounted with hidepid";

/// When processes were listed last, and how many there were: whoever lists them counts for all.
struct Census(Mutex<Option<(i64, usize)>>);

static CENSUS: Census = Census(Mutex::new(None));

impl Census {
    fn last(&self) -> MutexGuard<'_, Option<(i64, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many processes there are, or were not long ago.
    fn count(&self, now_ms: i64) -> Result<usize, CollectError> {
        let last = *self.last();
        match last {
            Some((listed_ms, count)) if now_ms.saturating_sub(listed_ms) < COUNT_EVERY_MS => Ok(count),
            _ => self.list(&proc()?, now_ms).map(|pids| pids.len()),
        }
    }

    /// All processes.
    fn list(&self, proc: &OwnedFd, now_ms: i64) -> Result<Vec<u32>, CollectError> {
        let pids = pids(proc)?;
        *self.last() = Some((now_ms, pids.len()));
        Ok(pids)
    }
}

/// Counts processes. Asked less often than the rest, it repeats its last answer in between; threads the kernel counts itself.
pub struct Processes {
    loadavg: Kept,
}

impl Default for Processes {
    fn default() -> Self {
        Self { loadavg: Kept::new("/proc/loadavg") }
    }
}

impl Collector for Processes {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        readings.push(Reading::plain("process_count", CENSUS.count(os_clock::running_ms())? as f64));
        let threads = threads(self.loadavg.text()?)
            .ok_or(CollectError::Absurd("/proc/loadavg does not count threads"))?;
        readings.push(Reading::plain("process_threads", threads as f64));
        Ok(())
    }
}

/// `/proc`, opened once for all of what is in it: its name is not looked up for every process.
fn proc() -> Result<OwnedFd, CollectError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open("/proc", flags, Mode::empty()).map_err(|error| CollectError::unreadable("/proc", error))
}

/// All processes. Where others' are hidden there is no list: it would be taken for all.
fn pids(proc: &OwnedFd) -> Result<Vec<u32>, CollectError> {
    let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
    let mut entries = RawDir::new(proc, &mut buffer);
    let mut pids = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| CollectError::unreadable("/proc", error))?;
        pids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    if pids.contains(&1) { Ok(pids) } else { Err(CollectError::Absurd(HIDDEN)) }
}

/// The number behind the slash of `/proc/loadavg`.
fn threads(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The processes of this host; those that end meanwhile are passed over.
pub fn read() -> Result<Vec<Process>, CollectError> {
    let page_bytes = rustix::param::page_size() as u64;
    let ticks_per_s = rustix::param::clock_ticks_per_second();
    let proc = proc()?;
    let mut stat = [0; STAT_BYTES];
    let process = |pid: u32| {
        let file = openat(&proc, format!("{pid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let length = rustix::io::read(file.ok()?, &mut stat).ok()?;
        parse(&String::from_utf8_lossy(stat.get(..length)?), page_bytes, ticks_per_s)
    };
    let pids = CENSUS.list(&proc, os_clock::running_ms())?;
    let processes: Vec<Process> = pids.into_iter().filter_map(process).collect();
    if processes.iter().any(|process| process.pid == 1) {
        Ok(processes)
    } else {
        Err(CollectError::Absurd(HIDDEN))
    }
}

/// Reads `/proc/PID/stat` (`man 5 proc_pid_stat`); the name may have blanks and parentheses of its own.
pub fn parse(stat: &str, page_bytes: u64, ticks_per_s: u64) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // From the third field on.
    let mut fields = rest.split(' ');
    let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
    let (user, system) = (number(11)?, number(0)?);
    let (started, resident) = (number(6)?, number(1)?);
    Some(Process {
        pid: pid.parse().ok()?,
        started,
        name: name.to_owned(),
        cpu_ms: user.saturating_add(system).saturating_mul(1_000) / ticks_per_s.max(1),
        resident_bytes: resident.saturating_mul(page_bytes),
    })
}

/// Who these processes belong to: the name of the effective user in `/etc/passwd`, or the number.
pub fn owners(pids: &[u32]) -> BTreeMap<u32, String> {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    // A process' directory belongs to its effective user.
    let owner = |pid: &u32| {
        let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        Some((*pid, user(uid, &passwd)))
    };
    pids.iter().filter_map(owner).collect()
}

fn user(uid: u32, passwd: &str) -> String {
    let uid = uid.to_string();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    };
    passwd.lines().find_map(name).unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_stat_is_read_behind_the_last_parenthesis() {
        // Linux 6.1, 2026-11-21, with a name of the worst kind.
        let stat = "812 (a) (b) S 1 812 812 0 -1 4194560 1234 0 3 0 150 70 0 0 20 0 9 0 4711 1255 488 \
            18446744073709551615 0 0 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0\n";
        let expected = Process {
            pid: 812,
            started: 4_711,
            name: "a) (b".into(),
            cpu_ms: 2_200,
            resident_bytes: 488 * 4_096,
        };
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
    fn where_others_are_hidden_there_is_no_list() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str| fs::create_dir(folder.path().join(name)).unwrap();
        let listed = || pids(&fs::File::open(folder.path()).unwrap().into());
        ["42", "self", "sys"].into_iter().for_each(add);
        assert!(listed().unwrap_err().to_string().contains("hidepid"));
        add("1");
        let mut listed = listed().unwrap();
        listed.sort_unstable();
        assert_eq!(listed, [1, 42]);
    }

    #[test]
    fn a_user_has_a_name_or_is_a_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n";
        assert_eq!(user(33, passwd), "www-data");
        assert_eq!(user(33, ""), "33");
        assert_eq!(user(3, passwd), "3");
    }

    #[test]
    fn processes_of_this_host_have_owners() {
        let own = std::process::id();
        let processes = read().unwrap();
        let known = processes.iter().find(|process| process.pid == own).unwrap();
        assert!(known.resident_bytes > 0 && known.started > 0, "{known:?}");
        let owners = owners(&[own, u32::MAX]);
        let uid = rustix::process::geteuid().as_raw();
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        assert_eq!(owners, BTreeMap::from([(own, user(uid, &String::from_utf8_lossy(&passwd)))]));
    }

    #[test]
    fn processes_are_counted_now_and_then() {
        let census = Census(Mutex::new(Some((1_000, usize::MAX))));
        assert_eq!(census.count(1_000 + COUNT_EVERY_MS - 1).unwrap(), usize::MAX);
        let count = census.count(1_000 + COUNT_EVERY_MS).unwrap();
        assert!((1..usize::MAX).contains(&count));
        assert_eq!(*census.last(), Some((1_000 + COUNT_EVERY_MS, count)));
    }

    #[test]
    fn threads_are_counted_behind_the_slash() {
        assert_eq!(threads("2.05 1.51 1.23 4/166 2461\n"), Some(166));
        assert_eq!(threads("2.05 1.51 1.23\n"), None);
    }
}
