//! Which processes use the most: what a log record of a minute will say. A series for each of them would be one that
//! nobody reads again, so [`top`] is no collector; until there are records, `check` prints it.

use super::to_hundredths;
use std::collections::BTreeMap;

/// How many processes are told of.
pub const TOLD: usize = 5;

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

/// The top of two readings that lie `passed_ms` apart. A process that is new in the second has used what it has used.
pub fn top(before: &[Process], now: &[Process], passed_ms: u64) -> Top {
    let then: BTreeMap<(u32, u64), u64> =
        before.iter().map(|process| ((process.pid, process.started), process.cpu_ms)).collect();
    let by_cpu = now.iter().map(|process| {
        let then = then.get(&(process.pid, process.started)).copied().unwrap_or_default();
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
    all.into_iter().take(TOLD).map(told).collect()
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
        let top = top(&before, &now, 1_000);
        let by = |list: &[Greedy]| list.iter().map(|told| (told.pid, told.uses)).collect::<Vec<_>>();
        // The third is another process with an old number, and has used all of its 25 ms.
        assert_eq!(by(&top.by_cpu), [(2, 5.0), (3, 2.5)]);
        assert_eq!(by(&top.by_memory), [(1, 30.0), (3, 20.0), (2, 10.0)]);
    }

    #[test]
    fn at_most_five_are_told_of() {
        let now: Vec<Process> = (1..=6).map(|pid| process(pid, 0, 1, u64::from(pid))).collect();
        let top = top(&[], &now, 1);
        assert_eq!((top.by_cpu.len(), top.by_memory.len()), (TOLD, TOLD));
        assert_eq!(top.by_memory[0].pid, 6);
    }
}
