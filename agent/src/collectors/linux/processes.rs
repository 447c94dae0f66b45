//! Processes: how many there are, and what each of them has used.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading, top::Process},
    os_clock,
};
use std::{fs, path::Path};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["process_count", "process_threads"];

/// Milliseconds between two counts. Reason: to list processes is the dearest thing that is asked of the kernel, and dearer
/// with every process.
const COUNT_EVERY_MS: i64 = 30_000;

/// Counts processes. Asked less often than the rest, it repeats its last answer in between; threads the kernel counts itself.
pub struct Processes {
    loadavg: Kept,
    counted: Option<(i64, usize)>,
}

impl Processes {
    fn count(&mut self, now_ms: i64) -> Result<usize, CollectError> {
        match self.counted {
            Some((counted_ms, count)) if now_ms.saturating_sub(counted_ms) < COUNT_EVERY_MS => Ok(count),
            _ => {
                let count = pids(Path::new("/proc"))?.count();
                self.counted = Some((now_ms, count));
                Ok(count)
            }
        }
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self { loadavg: Kept::new("/proc/loadavg"), counted: None }
    }
}

impl Collector for Processes {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        readings.push(Reading::plain("process_count", self.count(os_clock::running_ms())? as f64));
        let threads = threads(self.loadavg.text()?)
            .ok_or(CollectError::Absurd("/proc/loadavg does not count threads"))?;
        readings.push(Reading::plain("process_threads", threads as f64));
        Ok(())
    }
}

fn pids(proc: &Path) -> Result<impl Iterator<Item = u32>, CollectError> {
    let entries = fs::read_dir(proc).map_err(|error| CollectError::unreadable("/proc", error))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// The number behind the slash of `/proc/loadavg`.
fn threads(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The processes of this host; those that end meanwhile are passed over.
pub fn read() -> Result<Vec<Process>, CollectError> {
    let page_bytes = rustix::param::page_size() as u64;
    let ticks_per_s = rustix::param::clock_ticks_per_second();
    let process =
        |pid: u32| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, page_bytes, ticks_per_s);
    Ok(pids(Path::new("/proc"))?.filter_map(process).collect())
}

/// Reads `/proc/PID/stat` (`man 5 proc_pid_stat`); the name may have blanks and parentheses of its own.
pub fn parse(stat: &str, page_bytes: u64, ticks_per_s: u64) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // From the third field on.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        started: field(22)?,
        name: name.to_owned(),
        cpu_ms: field(14)?.saturating_add(field(15)?).saturating_mul(1_000) / ticks_per_s.max(1),
        resident_bytes: field(24)?.saturating_mul(page_bytes),
    })
}

/// Who a process belongs to: the name of its effective user in `/etc/passwd`, or the number.
pub fn owner(pid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    owner_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, &passwd)
}

fn owner_of(status: &str, passwd: &str) -> Option<String> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uids.split_whitespace().nth(1)?;
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    };
    Some(passwd.lines().find_map(name).unwrap_or_else(|| uid.to_owned()))
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
        for bad in ["", "812 (x) S 1", "y (x) S 1 2"] {
            assert_eq!(parse(bad, 4_096, 100), None, "{bad}");
        }
    }

    #[test]
    fn a_user_has_a_name_or_is_a_number() {
        let status = "Name:\tx\nUid:\t0\t33\t0\t0\n";
        let passwd = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n";
        assert_eq!(owner_of(status, passwd).as_deref(), Some("www-data"));
        assert_eq!(owner_of(status, "").as_deref(), Some("33"));
        assert_eq!(owner_of("Name:\tx\n", passwd), None);
    }

    #[test]
    fn processes_are_counted_now_and_then() {
        let mut processes = Processes { counted: Some((1_000, 7)), ..Processes::default() };
        assert_eq!(processes.count(1_000 + COUNT_EVERY_MS - 1).unwrap(), 7);
        let count = processes.count(1_000 + COUNT_EVERY_MS).unwrap();
        assert_eq!(processes.counted, Some((1_000 + COUNT_EVERY_MS, count)));
    }

    #[test]
    fn threads_are_counted_behind_the_slash() {
        assert_eq!(threads("2.05 1.51 1.23 4/166 2461\n"), Some(166));
        assert_eq!(threads("2.05 1.51 1.23\n"), None);
    }
}
