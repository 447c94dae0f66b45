//! What the agent counts of its own doings: every drop has a counter.

use crate::collectors::NOUNS;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters, since the agent's start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches dropped for lack of room or for their age.
    pub dropped_batches: Counter,
    /// Batches, and places in the spool's files, that could not be read.
    pub damaged_batches: Counter,
    /// Pushes that failed and are tried again.
    pub push_failures: Counter,
    /// Batches the server refused for good.
    pub rejected_batches: Counter,
    /// Samples the server refused of batches that it took.
    pub refused_samples: Counter,
    collector_failures: [Counter; NOUNS.len()],
}

impl Counters {
    /// Counts a failure of the collector of `noun`.
    pub fn count_collector_failure(&self, noun: &str) {
        let at = NOUNS.iter().position(|(known, _)| *known == noun);
        if let Some(counter) = at.and_then(|at| self.collector_failures.get(at)) {
            counter.count();
        }
    }

    /// Failures by collector.
    pub fn collector_failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let nouns = NOUNS.into_iter().map(|(noun, _)| noun);
        nouns.zip(self.collector_failures.iter().map(Counter::get))
    }
}
