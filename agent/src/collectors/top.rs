//! Which processes use the most: a record, once a minute. A series for each of them would be one that nobody reads again,
//! so [`top`] is no collector.

use super::{CollectError, ProcessTable, owners, to_hundredths};
use edgewatch_shared::{
    TimestampMs,
    limits::{PROCESS_TEXT_BYTES_MAX, PROCESSES_NAMED_MAX},
    wire::push::{self, Processes},
};
use std::collections::BTreeMap;

/// Milliseconds from one record to the next, at least. Reason: one a minute, also where a push comes a little early.
const RECORD_EVERY_MS: i64 = 50_000;

/// A process at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in any unit: a number may be given again.
    pub started: u64,
    /// What it calls itself.
    pub name: String,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// What a look at all processes shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// How many there are.
    pub count: usize,
    /// What those that are programs have used.
    pub processes: Vec<Process>,
}

/// A process that uses much.
#[derive(Clone, Debug, PartialEq)]
pub struct Greedy {
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
    /// What it uses, in percent of one processor or in bytes.
    pub uses: f64,
}

/// Those that use the most, the greediest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Top {
    /// By processor time between two readings, in percent of one processor.
    pub by_cpu: Vec<Greedy>,
    /// By resident memory, in bytes.
    pub by_memory: Vec<Greedy>,
}

/// The processor time that each process has used: what a reading is to the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used(BTreeMap<(u32, u64), u64>);

impl Used {
    /// What these processes have used.
    pub fn by(processes: &[Process]) -> Self {
        Self(processes.iter().map(|process| ((process.pid, process.started), process.cpu_ms)).collect())
    }
}

/// The top of two readings that lie `passed_ms` apart. A process that is new in the second has used what it has used.
pub fn top(before: &Used, now: &[Process], passed_ms: u64) -> Top {
    let by_cpu = now.iter().map(|process| {
        let then = before.0.get(&(process.pid, process.started)).copied().unwrap_or_default();
        let used_ms = process.cpu_ms.saturating_sub(then);
        (process, to_hundredths(used_ms as f64 / passed_ms.max(1) as f64 * 100.0))
    });
    let by_memory = now.iter().map(|process| (process, process.resident_bytes as f64));
    Top { by_cpu: greediest(by_cpu), by_memory: greediest(by_memory) }
}

fn greediest<'a>(processes: impl Iterator<Item = (&'a Process, f64)>) -> Vec<Greedy> {
    let mut all: Vec<(&Process, f64)> = processes.filter(|(_, uses)| *uses > 0.0).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.pid.cmp(&b.0.pid)));
    let told =
        |(process, uses): (&Process, f64)| Greedy { pid: process.pid, name: process.name.clone(), uses };
    all.into_iter().take(PROCESSES_NAMED_MAX).map(told).collect()
}

/// Looks at all processes.
type Looking = Box<dyn FnMut() -> Result<Look, CollectError> + Send>;

/// Makes the records.
pub struct Records {
    look: Looking,
    /// Whose these processes are.
    owners: fn(&[u32]) -> BTreeMap<u32, String>,
    before: Used,
    looked_ms: i64,
    has_record: bool,
}

impl Records {
    /// Looks at the processes of this host for the first time.
    pub fn of_this_host(running_ms: i64) -> Self {
        let mut table = ProcessTable::default();
        Self::begin(Box::new(move || table.look()), owners, running_ms)
    }

    fn begin(mut look: Looking, owners: fn(&[u32]) -> BTreeMap<u32, String>, running_ms: i64) -> Self {
        // That processes cannot be read is said by their collector.
        let before = Used::by(&look().unwrap_or_default().processes);
        Self { look, owners, before, looked_ms: running_ms, has_record: false }
    }

    /// The record of `time`, if one is due: with the first push, then once a minute.
    pub fn record(&mut self, time: TimestampMs, running_ms: i64) -> Option<Processes> {
        let passed_ms = running_ms.saturating_sub(self.looked_ms);
        if passed_ms <= 0 || (self.has_record && passed_ms < RECORD_EVERY_MS) {
            return None;
        }
        let Look { count, processes: now } = (self.look)().unwrap_or_default();
        if now.is_empty() {
            return None;
        }
        let top = top(&self.before, &now, passed_ms.unsigned_abs());
        let pids: Vec<u32> = top.by_cpu.iter().chain(&top.by_memory).map(|greedy| greedy.pid).collect();
        let users = (self.owners)(&pids);
        (self.before, self.looked_ms, self.has_record) = (Used::by(&now), running_ms, true);
        Some(Processes {
            time,
            count: count as u64,
            // Percents with two digits.
            by_cpu: told(top.by_cpu, &users, 100.0),
            by_memory: told(top.by_memory, &users, 1.0),
        })
    }
}

fn told(top: Vec<Greedy>, users: &BTreeMap<u32, String>, units: f64) -> Vec<push::Process> {
    let told = |Greedy { pid, name, uses }: Greedy| push::Process {
        pid,
        name: shortened(name),
        user: shortened(users.get(&pid).cloned().unwrap_or_default()),
        uses: (uses * units).round() as u64,
    };
    top.into_iter().map(told).collect()
}

/// As much of a text as a record takes.
fn shortened(mut text: String) -> String {
    let end = (0..=PROCESS_TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, started: u64, cpu_ms: u64, resident_bytes: u64) -> Process {
        Process { pid, started, name: format!("p{pid}"), cpu_ms, resident_bytes }
    }

    #[test]
    fn the_top_is_of_the_time_between_two_readings() {
        let before = [process(1, 10, 500, 1), process(2, 10, 0, 1), process(3, 10, 90, 1)];
        let now =
            [process(1, 10, 500, 30), process(2, 10, 50, 10), process(3, 99, 25, 20), process(4, 9, 0, 0)];
        let top = top(&Used::by(&before), &now, 1_000);
        let by = |list: &[Greedy]| list.iter().map(|told| (told.pid, told.uses)).collect::<Vec<_>>();
        // The third is another process with an old number, and has used all of its 25 ms.
        assert_eq!(by(&top.by_cpu), [(2, 5.0), (3, 2.5)]);
        assert_eq!(by(&top.by_memory), [(1, 30.0), (3, 20.0), (2, 10.0)]);
    }

    #[test]
    fn at_most_five_are_told_of() {
        let now: Vec<Process> = (1..=6).map(|pid| process(pid, 0, 1, u64::from(pid))).collect();
        let top = top(&Used::default(), &now, 1);
        assert_eq!((top.by_cpu.len(), top.by_memory.len()), (PROCESSES_NAMED_MAX, PROCESSES_NAMED_MAX));
        assert_eq!(top.by_memory[0].pid, 6);
    }

    fn nothing() -> Result<Look, CollectError> {
        Ok(Look::default())
    }

    fn busy() -> Result<Look, CollectError> {
        let name = format!("{}é", "p".repeat(PROCESS_TEXT_BYTES_MAX - 1));
        let processes = vec![Process { name, ..process(7, 10, 30_000, 4_096) }, process(1, 10, 0, 0)];
        Ok(Look { count: 3, processes })
    }

    fn nobody(pids: &[u32]) -> BTreeMap<u32, String> {
        pids.iter().map(|pid| (*pid, "nobody".to_owned())).collect()
    }

    #[test]
    fn a_record_comes_with_the_first_push_and_then_once_a_minute() {
        let mut records = Records::begin(Box::new(nothing), nobody, 0);
        records.look = Box::new(busy);
        assert_eq!(records.record(TimestampMs(1), 0), None, "no time has passed");
        let first = records.record(TimestampMs(60_000), 60_000).unwrap();
        assert_eq!((first.time, first.count), (TimestampMs(60_000), 3));
        let told = |uses| push::Process {
            pid: 7,
            name: "p".repeat(PROCESS_TEXT_BYTES_MAX - 1),
            user: "nobody".to_owned(),
            uses,
        };
        // Half a processor, in hundredths of a percent.
        assert_eq!((first.by_cpu, first.by_memory), (vec![told(5_000)], vec![told(4_096)]));
        assert_eq!(records.record(TimestampMs(0), 60_000 + RECORD_EVERY_MS - 1), None);
        let second = records.record(TimestampMs(0), 60_000 + RECORD_EVERY_MS).unwrap();
        assert_eq!((second.by_cpu, second.by_memory), (Vec::new(), vec![told(4_096)]));
    }

    #[test]
    fn where_processes_cannot_be_read_there_is_no_record() {
        let mut records = Records::begin(Box::new(nothing), nobody, 0);
        assert_eq!(records.record(TimestampMs(0), 60_000), None);
    }
}
