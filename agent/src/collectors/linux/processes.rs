//! Processes: how many there are, what each of them has used, and whose they are.

pub mod table;

pub use table::ProcessTable;

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use rustix::fs::{Mode, OFlags, RawDir, open};
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
    fn a_process_of_this_host_has_an_owner() {
        let own = std::process::id();
        let uid = rustix::process::geteuid().as_raw();
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        let owner = user(uid, &String::from_utf8_lossy(&passwd));
        assert_eq!(owners(&[own, u32::MAX]), BTreeMap::from([(own, owner)]));
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
