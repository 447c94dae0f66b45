//! The agent itself: what it uses, and what it had to drop.

use super::{CollectError, Collector, Reading, host};
use crate::{counters::Counters, os_clock};
use std::sync::Arc;

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "agent_collector_failures_total",
    "agent_cpu_seconds_total",
    "agent_dropped_batches_total",
    "agent_push_failures_total",
    "agent_queue_batches",
    "agent_refused_samples_total",
    "agent_rejected_batches_total",
    "agent_resident_bytes",
    "agent_spool_damaged_total",
];

/// What the agent knows of itself.
#[derive(Debug)]
pub struct ItselfReading {
    /// Resident memory in bytes; absent where it cannot be read.
    pub resident_bytes: Option<u64>,
    /// Seconds of processor time; absent where they cannot be read.
    pub cpu_s: Option<f64>,
    /// Batches that wait in the spool.
    pub queue_batches: usize,
    /// Batches dropped for lack of room or for their age.
    pub dropped_batches: u64,
    /// What could not be read of the spool.
    pub damaged_batches: u64,
    /// Pushes that failed and are tried again.
    pub push_failures: u64,
    /// Batches the server refused for good.
    pub rejected_batches: u64,
    /// Samples the server refused of batches that it took.
    pub refused_samples: u64,
    /// Failures by collector.
    pub collector_failures: Vec<(&'static str, u64)>,
}

/// Reads the agent.
pub struct Itself {
    counters: Arc<Counters>,
    queue_batches: Box<dyn Fn() -> usize + Send>,
    resident: host::Resident,
}

impl Itself {
    /// A collector over the agent's counters and how many batches wait.
    pub fn new(counters: Arc<Counters>, queue_batches: Box<dyn Fn() -> usize + Send>) -> Self {
        Self { counters, queue_batches, resident: host::Resident::default() }
    }

    fn read(&self, resident_bytes: Option<u64>) -> ItselfReading {
        ItselfReading {
            resident_bytes,
            cpu_s: os_clock::process_cpu_s(),
            queue_batches: (self.queue_batches)(),
            dropped_batches: self.counters.dropped_batches.get(),
            damaged_batches: self.counters.damaged_batches.get(),
            push_failures: self.counters.push_failures.get(),
            rejected_batches: self.counters.rejected_batches.get(),
            refused_samples: self.counters.refused_samples.get(),
            collector_failures: self.counters.collector_failures().collect(),
        }
    }
}

impl Collector for Itself {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let resident_bytes = self.resident.bytes();
        let told = resident_bytes.as_ref().ok().copied().flatten();
        readings.extend(samples(&self.read(told)));
        resident_bytes.map(drop)
    }
}

/// The samples of a reading. A collector or a spool that never failed, and a server that never refused, have none: a dozen zeros would be a tenth of all series.
pub fn samples(reading: &ItselfReading) -> Vec<Reading> {
    let mut samples = vec![
        Reading::plain("agent_queue_batches", reading.queue_batches as f64),
        Reading::plain("agent_dropped_batches_total", reading.dropped_batches as f64),
        Reading::plain("agent_push_failures_total", reading.push_failures as f64),
        Reading::plain("agent_rejected_batches_total", reading.rejected_batches as f64),
    ];
    let seldom = [
        ("agent_refused_samples_total", reading.refused_samples),
        ("agent_spool_damaged_total", reading.damaged_batches),
    ];
    let seldom = seldom.into_iter().filter(|(_, count)| *count > 0);
    samples.extend(seldom.map(|(name, count)| Reading::plain(name, count as f64)));
    let resident = |bytes| Reading::plain("agent_resident_bytes", bytes as f64);
    let cpu = |seconds| Reading::plain("agent_cpu_seconds_total", seconds);
    samples.extend(reading.cpu_s.map(cpu));
    samples.extend(reading.resident_bytes.map(resident));
    let failed = reading.collector_failures.iter().filter(|(_, count)| *count > 0);
    samples.extend(failed.map(|(noun, count)| {
        Reading::labelled("agent_collector_failures_total", "collector", noun, *count as f64)
    }));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_dropped_and_every_collector_that_failed_is_told() {
        let reading = ItselfReading {
            resident_bytes: Some(4_096),
            cpu_s: Some(0.25),
            queue_batches: 3,
            dropped_batches: 4,
            damaged_batches: 8,
            push_failures: 5,
            rejected_batches: 6,
            refused_samples: 9,
            collector_failures: vec![("cpu", 7), ("disk", 0)],
        };
        let failures =
            |noun, count| Reading::labelled("agent_collector_failures_total", "collector", noun, count);
        assert_eq!(
            samples(&reading),
            [
                Reading::plain("agent_queue_batches", 3.0),
                Reading::plain("agent_dropped_batches_total", 4.0),
                Reading::plain("agent_push_failures_total", 5.0),
                Reading::plain("agent_rejected_batches_total", 6.0),
                Reading::plain("agent_refused_samples_total", 9.0),
                Reading::plain("agent_spool_damaged_total", 8.0),
                Reading::plain("agent_cpu_seconds_total", 0.25),
                Reading::plain("agent_resident_bytes", 4_096.0),
                failures("cpu", 7.0),
            ]
        );
    }
}
