//! Processors: how busy they were since the last reading, and what they have spent their time on.

use super::{frequencies, kept::Kept};
use crate::{
    collectors::{CollectError, Collector, Reading, percentage, to_hundredths},
    settings::collection::Naming,
};
use std::path::Path;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "cpu_context_switches_total",
    "cpu_count",
    "cpu_forks_total",
    "cpu_interrupts_total",
    "cpu_mode_seconds_total",
    "cpu_tasks_blocked",
    "cpu_tasks_running",
    "cpu_usage_pct",
];

/// The modes of `/proc/stat` in its order; the time of guests is part of `user` and `nice`.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;
/// Seconds by which a processor's time goes back at least if it begins anew. Reason: node_exporter's; what is less is the
/// kernel's own imprecision.
const ANEW_S: u64 = 3;

/// Time by mode in ticks, and behind them the two of guests.
type Ticks = [u64; MODES.len() + 2];

/// `/proc/stat`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuReading {
    /// All processors together.
    pub total: Ticks,
    /// Each processor's number and time.
    pub cores: Vec<(String, Ticks)>,
    /// Context switches, forks and interrupts, as far as they are told.
    pub counts: [Option<u64>; 3],
    /// Tasks that run or could, and tasks that wait for a disk.
    pub tasks: [Option<u64>; 2],
}

impl CpuReading {
    /// Keeps what was told before where the kernel takes time back, until it has caught up: to whoever counts, every
    /// decrease is a counter that began anew.
    fn hold(&mut self, before: &Self, ticks_per_s: u64) {
        let anew = ANEW_S.saturating_mul(ticks_per_s);
        hold(&mut self.total, &before.total, anew);
        for (at, (number, now)) in self.cores.iter_mut().enumerate() {
            if let Some(then) = before.core(at, number) {
                hold(now, then, anew);
            }
        }
    }

    /// The time of a processor, which usually lies at the place where it did.
    fn core(&self, at: usize, number: &str) -> Option<&Ticks> {
        let is_it = |core: &&(String, Ticks)| core.0 == number;
        let core = self.cores.get(at).filter(is_it).or_else(|| self.cores.iter().find(is_it))?;
        Some(&core.1)
    }
}

/// Lets no mode go back, unless the processor begins anew, as one does that was taken out, and all after the host slept.
/// Waiting for a disk says nothing of that: it goes back by a whole pause (`man 5 proc_stat`).
fn hold(now: &mut Ticks, then: &Ticks, anew: u64) {
    let begins_anew =
        |(mode, (now, then)): (usize, (&u64, &u64))| mode != IOWAIT && then.saturating_sub(*now) >= anew;
    if !now.iter().zip(then).enumerate().any(begins_anew) {
        for (now, then) in now.iter_mut().zip(then) {
            *now = (*now).max(*then);
        }
    }
}

/// Reads processors, and remembers the last reading.
pub struct Cpu {
    naming: Naming,
    ticks_per_s: u64,
    stat: Kept,
    before: CpuReading,
}

impl Cpu {
    /// A collector that has taken its first reading.
    pub fn new(naming: Naming) -> Self {
        // Whatever fails now fails again when it counts.
        let mut stat = Kept::new("/proc/stat");
        let before = stat.text().map(parse).unwrap_or_default();
        Self { naming, ticks_per_s: rustix::param::clock_ticks_per_second(), stat, before }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let mut reading = parse(self.stat.text()?);
        if reading.cores.is_empty() {
            return Err(CollectError::Absurd("/proc/stat lists no processor"));
        }
        reading.hold(&self.before, self.ticks_per_s);
        readings.extend(samples(&reading, &self.before, self.ticks_per_s));
        if self.naming == Naming::NodeExporter {
            readings.extend(node_samples(&reading, self.ticks_per_s));
            readings.extend(frequencies::node_samples(Path::new(frequencies::PROCESSORS)));
        }
        self.before = reading;
        Ok(())
    }
}

/// Reads `/proc/stat` (`man 5 proc_stat`); lines that it does not know are passed over.
pub fn parse(stat: &str) -> CpuReading {
    let mut reading = CpuReading::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        if let Some(number) = key.strip_prefix("cpu") {
            let mut ticks = Ticks::default();
            for (tick, word) in ticks.iter_mut().zip(words) {
                *tick = word.parse().unwrap_or_default();
            }
            match number {
                "" => reading.total = ticks,
                _ => reading.cores.push((number.to_owned(), ticks)),
            }
            continue;
        }
        let [switches, forks, interrupts] = &mut reading.counts;
        let [running, blocked] = &mut reading.tasks;
        let told = match key {
            "ctxt" => switches,
            "processes" => forks,
            "intr" => interrupts,
            "procs_running" => running,
            "procs_blocked" => blocked,
            _ => continue,
        };
        *told = words.next().and_then(|word| word.parse().ok());
    }
    reading
}

/// The samples of a reading and the one before it. A share is absent where no time has passed or it began anew; waiting for a disk
/// counts as idle, as the processor is free meanwhile.
pub fn samples(reading: &CpuReading, before: &CpuReading, ticks_per_s: u64) -> Vec<Reading> {
    let mut samples = vec![Reading::plain("cpu_count", reading.cores.len() as f64)];
    let mut usage = |core: &str, now: &Ticks, then: &Ticks| {
        if let Some(pct) = busy_pct(now, then) {
            samples.push(Reading::labelled("cpu_usage_pct", "core", core, pct));
        }
    };
    usage("total", &reading.total, &before.total);
    for (at, (number, now)) in reading.cores.iter().enumerate() {
        if let Some(then) = before.core(at, number) {
            usage(number, now, then);
        }
    }
    samples.extend(MODES.iter().zip(reading.total).map(|(mode, ticks)| {
        Reading::labelled("cpu_mode_seconds_total", "mode", mode, seconds(ticks, ticks_per_s))
    }));
    let counts = ["cpu_context_switches_total", "cpu_forks_total", "cpu_interrupts_total"];
    let tasks = ["cpu_tasks_running", "cpu_tasks_blocked"];
    let told = counts.iter().zip(reading.counts).chain(tasks.iter().zip(reading.tasks));
    samples.extend(told.filter_map(|(name, value)| Some(Reading::plain(name, value? as f64))));
    samples
}

/// node_exporter's `cpu` collector.
pub fn node_samples(reading: &CpuReading, ticks_per_s: u64) -> Vec<Reading> {
    let mut samples = Vec::new();
    for (number, ticks) in &reading.cores {
        let mut sample = |name, mode, ticks| {
            let value = seconds(ticks, ticks_per_s);
            samples.push(Reading::labelled(name, "cpu", number, value).with("mode", mode));
        };
        for (mode, ticks) in MODES.iter().zip(ticks) {
            sample("node_cpu_seconds_total", mode, *ticks);
        }
        for (mode, ticks) in ["user", "nice"].iter().zip(ticks.iter().skip(MODES.len())) {
            sample("node_cpu_guest_seconds_total", mode, *ticks);
        }
    }
    samples
}

/// Ticks are hundredths of a second nearly everywhere.
fn seconds(ticks: u64, ticks_per_s: u64) -> f64 {
    to_hundredths(ticks as f64 / ticks_per_s.max(1) as f64)
}

fn busy_pct(now: &Ticks, then: &Ticks) -> Option<f64> {
    let mut passed = 0_u64;
    let mut idle = 0_u64;
    for (index, (now, then)) in now.iter().zip(then).take(MODES.len()).enumerate() {
        let ticks = now.checked_sub(*then)?;
        passed = passed.saturating_add(ticks);
        if index == IDLE || index == IOWAIT {
            idle = idle.saturating_add(ticks);
        }
    }
    (passed > 0).then(|| percentage(passed.saturating_sub(idle), passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/proc/stat` of a virtual machine with Linux 6.1, 2026-11-21; `intr` cut.
    const STAT: &str = "cpu  199553 0 31106 193392 2599 0 233 120 7 0\ncpu0 96047 0 13685 102757 908 0 38 58 7 0\n\
        cpu1 103506 0 17420 90635 1690 0 194 61 0 0\nintr 1432530 0 0 1\nctxt 2214185\nbtime 1795262465\n\
        processes 67367\nprocs_running 5\nprocs_blocked 1\nsoftirq 721073 0 111625\n";

    fn value(samples: &[Reading], name: &str, label: &str) -> Option<f64> {
        let is_it = |sample: &&Reading| {
            sample.name == name && sample.labels.iter().all(|(_, text)| label.split(' ').any(|l| l == text))
        };
        samples.iter().find(is_it).map(|sample| sample.value)
    }

    #[test]
    fn a_saved_stat_has_modes_counts_and_tasks() {
        let reading = parse(STAT);
        let samples = samples(&reading, &reading, 100);
        for (name, label, expected) in [
            ("cpu_count", "", Some(2.0)),
            ("cpu_mode_seconds_total", "user", Some(1_995.53)),
            ("cpu_mode_seconds_total", "steal", Some(1.2)),
            ("cpu_context_switches_total", "", Some(2_214_185.0)),
            ("cpu_interrupts_total", "", Some(1_432_530.0)),
            ("cpu_forks_total", "", Some(67_367.0)),
            ("cpu_tasks_running", "", Some(5.0)),
            ("cpu_tasks_blocked", "", Some(1.0)),
            ("cpu_usage_pct", "total", None),
        ] {
            assert_eq!(value(&samples, name, label), expected, "{name} {label}");
        }
    }

    #[test]
    fn shares_are_of_the_time_between_two_readings() {
        let before = parse("cpu  0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0\n");
        // A third of the time busy; as much idle, and as much waiting.
        let now = parse("cpu  10 0 20 30 30 0 0 0\ncpu0 10 0 20 30 30 0 0 0\ncpu1 5 0 0 5 0 0 0 0\n");
        let samples = samples(&now, &before, 100);
        assert_eq!(value(&samples, "cpu_usage_pct", "total"), Some(33.33));
        assert_eq!(value(&samples, "cpu_usage_pct", "0"), Some(33.33));
        assert_eq!(value(&samples, "cpu_usage_pct", "1"), None, "a processor that was not there before");
    }

    #[test]
    fn time_that_goes_back_is_no_time() {
        let before = parse("cpu  0 0 0 50 1000 0 0 0\ncpu7 0 0 0 50 1000 0 0 0\n");
        let mut now = parse("cpu  25 0 0 125 400 0 0 0\ncpu7 25 0 0 125 400 0 0 0\n");
        now.hold(&before, 100);
        let samples = samples(&now, &before, 100);
        for (name, label, expected) in [
            ("cpu_usage_pct", "total", 25.0),
            ("cpu_usage_pct", "7", 25.0),
            ("cpu_mode_seconds_total", "iowait", 10.0),
            ("cpu_mode_seconds_total", "idle", 1.25),
        ] {
            assert_eq!(value(&samples, name, label), Some(expected), "{name} {label}");
        }
        assert_eq!(value(&node_samples(&now, 100), "node_cpu_seconds_total", "7 iowait"), Some(10.0));
    }

    #[test]
    fn less_than_three_seconds_back_is_held_and_more_begins_anew() {
        let reading = |idle: u64| parse(&format!("cpu  9 0 0 {idle} 7\ncpu0 9 0 0 {idle} 7\n"));
        let before = reading(1_000);
        for (idle, told) in [(701, 1_000), (700, 700), (1_001, 1_001)] {
            let mut now = reading(idle);
            now.hold(&before, 100);
            assert_eq!(now, reading(told), "{idle}");
        }
        // What waited has begun anew, too.
        let mut anew = parse("cpu  9 0 0 1 1\n");
        anew.hold(&before, 100);
        assert_eq!((anew.total[IOWAIT], busy_pct(&anew.total, &before.total)), (1, None));
    }

    #[test]
    fn a_processor_is_found_where_another_was_taken_out() {
        let before = parse("cpu0 0 0 0 0\ncpu1 0 0 0 0\ncpu2 10 0 0 500\n");
        let mut now = parse("cpu0 0 0 0 0\ncpu2 10 0 0 400\n");
        now.hold(&before, 100);
        assert_eq!(now.cores[1], before.cores[2]);
    }

    #[test]
    fn a_host_of_many_processors_is_told_whole() {
        let stat = |ticks: u64| {
            let cores = (0..512).map(|core| format!("cpu{core} {ticks} 0 0 {ticks} 0 0 0 0 0 0\n"));
            format!("cpu  {ticks} 0 0 {ticks} 0 0 0 0 0 0\n{}", cores.collect::<String>())
        };
        let (before, now) = (parse(&stat(0)), parse(&stat(10)));
        let shares = samples(&now, &before, 100);
        assert_eq!(shares.iter().filter(|sample| sample.value == 50.0).count(), 1 + 512);
        assert_eq!(node_samples(&now, 100).len(), 512 * 10);
    }

    #[test]
    fn kernels_with_fewer_columns_are_read() {
        // Linux 2.6.32, which does not tell of `guest_nice`.
        let reading = parse("cpu0 4705 150 1120 16250 520 0 17 3 0\n");
        assert_eq!(reading.cores[0].1, [4_705, 150, 1_120, 16_250, 520, 0, 17, 3, 0, 0]);
    }

    #[test]
    fn node_exporters_names_have_processor_and_mode() {
        let samples = node_samples(&parse(STAT), 100);
        assert_eq!(samples.len(), 2 * 10);
        assert_eq!(value(&samples, "node_cpu_seconds_total", "1 user"), Some(1_035.06));
        assert_eq!(value(&samples, "node_cpu_guest_seconds_total", "0 user"), Some(0.07));
    }

    #[test]
    fn a_stat_of_nothing_is_nothing() {
        assert_eq!(parse(""), CpuReading::default());
        assert_eq!(parse("cpu0 x\nctxt\n").counts, [None; 3]);
    }
}
