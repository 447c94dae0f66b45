//! What the agent reads of its host. Each collector is one file with the same members in the
//! same order: `DESCRIBED` (the names it emits), the reading, the collector with its thin
//! read, a pure `parse` where there is a text to parse, and `samples`, the pure way from reading to samples, which the
//! tests call. Which nouns there are depends on the operating system: [`linux`], or what sysinfo tells elsewhere.

#[cfg(any(test, not(target_os = "linux")))]
mod carried;
pub mod itself;
#[cfg(target_os = "linux")]
pub mod linux;
mod names;
// On Linux its pure parts are tested all the same.
#[cfg(any(test, not(target_os = "linux")))]
pub mod portable;
pub mod top;

#[cfg(target_os = "linux")]
use linux as host;
#[cfg(not(target_os = "linux"))]
use portable as host;

pub use host::{NOUNS, ProcessTable, owners};

use crate::{
    clock::Clock,
    counters::Counters,
    settings::{
        collection::{Collection, Naming},
        patterns::Patterns,
    },
};
use edgewatch_shared::limits::{HOST_SERIES_MAX, LABEL_VALUE_BYTES_MAX};
use log::{info, warn};
use std::sync::Arc;

/// One value of one series, not yet stamped.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// A name of the metric catalogue.
    pub name: &'static str,
    /// What tells the series apart, where there are several; no key twice, no empty value.
    pub labels: Vec<(&'static str, String)>,
    /// Rounded to what the source can tell.
    pub value: f64,
}

impl Reading {
    /// A value of the only series of its name.
    pub fn plain(name: &'static str, value: f64) -> Self {
        Self { name, labels: Vec::new(), value }
    }

    /// A value of the series with this label.
    pub fn labelled(name: &'static str, key: &'static str, text: &str, value: f64) -> Self {
        Self { name, labels: vec![(key, text.to_owned())], value }
    }

    /// The reading with one more label.
    pub fn with(mut self, key: &'static str, text: &str) -> Self {
        self.labels.push((key, text.to_owned()));
        self
    }

    /// The series as people write it: `cpu_usage_pct{core=total}`.
    pub fn series(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
        format!("{}{{{}}}", self.name, labels.join(","))
    }

    /// Whether the server takes it: one bad sample would cost its whole batch.
    fn is_legal(&self) -> bool {
        let fits = |(_, text): &(&str, String)| (1..=LABEL_VALUE_BYTES_MAX).contains(&text.len());
        self.value.is_finite() && self.labels.iter().all(fits)
    }
}

/// `value` to two decimals: what a percentage or a load average can tell.
pub fn to_hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The share of `part` in `whole` in percent, to two decimals.
pub fn percentage(part: u64, whole: u64) -> f64 {
    to_hundredths(part as f64 / whole as f64 * 100.0)
}

/// Why a collector has no or not all of its readings.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CollectError {
    /// The operating system does not tell.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// What was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// The operating system tells something that cannot be.
    #[error("{0}")]
    Absurd(&'static str),
    /// A reading that the server would refuse.
    #[error("a reading of {0} has an empty or overlong label, or no finite value")]
    Illegal(&'static str),
    /// More readings than there is room for beside those of the other nouns.
    #[error("of {read} series only the first {sent} are sent: a host has at most {HOST_SERIES_MAX}")]
    TooMany {
        /// How many there were.
        read: usize,
        /// How many of them count.
        sent: usize,
    },
}

impl CollectError {
    fn unreadable(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Unreadable { what: what.to_owned(), why: why.to_string() }
    }
}

/// Reads one noun of the host.
pub trait Collector: Send {
    /// Adds what it reads to `readings`. On an error, what was added before it counts.
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError>;
}

/// All collectors that are switched on; one that fails costs itself only.
pub struct Collectors {
    running: Vec<Running>,
    naming: Naming,
    exclude: Patterns,
    counters: Arc<Counters>,
}

/// A collector at work.
struct Running {
    noun: &'static str,
    collector: Box<dyn Collector>,
    is_failing: bool,
    /// How many readings it had last time: as many will do this time.
    room: usize,
}

impl Collectors {
    /// The collectors of this host, for which months begin by `clock`; the processors are read a first time.
    pub fn of_this_host(
        collection: &Collection,
        clock: &Arc<Clock>,
        counters: Arc<Counters>,
        queue_batches: Box<dyn Fn() -> usize + Send>,
    ) -> Self {
        let itself = itself::Itself::new(Arc::clone(&counters), queue_batches);
        let running = NOUNS
            .into_iter()
            .zip(host::collectors(collection, clock, itself))
            .filter(|((noun, _), _)| !collection.off.matches(noun))
            .map(|((noun, _), collector)| Running { noun, collector, is_failing: false, room: 0 })
            .collect();
        let exclude = collection.metrics_exclude.clone();
        Self { running, naming: collection.naming, exclude, counters }
    }

    /// One round: every collector's readings, no more than a host may have series. Failures are counted, and said when they
    /// begin and end.
    pub fn collect(&mut self) -> Vec<Reading> {
        let read = |running: &mut Running| running.collect(self.naming, &self.exclude);
        let told: Vec<_> = self.running.iter_mut().map(read).collect();
        let counts: Vec<usize> = told.iter().map(|(readings, _)| readings.len()).collect();
        let share = fair_share(&counts, HOST_SERIES_MAX);
        let mut readings = Vec::with_capacity(counts.iter().sum());
        for (running, (mut told, mut result)) in self.running.iter_mut().zip(told) {
            if told.len() > share {
                let too_many = CollectError::TooMany { read: told.len(), sent: share };
                told.truncate(share);
                result = result.and(Err(too_many));
            }
            running.note(&result, &self.counters);
            readings.append(&mut told);
        }
        readings
    }
}

impl Running {
    /// What the collector reads now, under the names that it goes by and without what is left out.
    fn collect(&mut self, naming: Naming, exclude: &Patterns) -> (Vec<Reading>, Result<(), CollectError>) {
        let mut told = Vec::with_capacity(self.room);
        let mut result = self.collector.collect(&mut told);
        self.room = told.len();
        if let Some(illegal) = drop_illegal(&mut told) {
            result = result.and(Err(CollectError::Illegal(illegal)));
        }
        if naming == Naming::NodeExporter {
            told = names::as_node_exporter(told);
        }
        if !exclude.is_empty() {
            told.retain(|reading| !exclude.matches_any(&[reading.name, &reading.series()]));
        }
        (told, result)
    }

    fn note(&mut self, result: &Result<(), CollectError>, counters: &Counters) {
        let noun = self.noun;
        match (result, self.is_failing) {
            (Err(error), false) => warn!("collector {noun}: {error}"),
            (Ok(()), true) => info!("collector {noun} reads again"),
            _ => {}
        }
        self.is_failing = result.is_err();
        if self.is_failing {
            counters.count_collector_failure(noun);
        }
    }
}

/// How much each may have at most so that all have no more than `max`: whoever has little keeps all of it, and the rest is
/// shared alike among those who have more.
fn fair_share(counts: &[usize], max: usize) -> usize {
    let mut share = max.checked_div(counts.len()).unwrap_or(max);
    loop {
        let kept: usize = counts.iter().filter(|count| **count <= share).sum();
        let others = counts.iter().filter(|count| **count > share).count();
        // What those with little leave raises the share, until nobody else comes below it.
        match max.saturating_sub(kept).checked_div(others) {
            Some(more) if more > share => share = more,
            Some(_) => return share,
            None => return max,
        }
    }
}

/// Drops what the server would refuse; returns the name of one such reading.
fn drop_illegal(readings: &mut Vec<Reading>) -> Option<&'static str> {
    let illegal = readings.iter().find(|reading| !reading.is_legal())?.name;
    readings.retain(Reading::is_legal);
    Some(illegal)
}

#[cfg(test)]
mod metrics_page;
#[cfg(test)]
mod tests;
