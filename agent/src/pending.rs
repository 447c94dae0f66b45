//! Samples that were collected and are not yet in a batch.

use crate::{
    batch::{Batch, BatchError},
    clock::STEP_MS,
    collectors::Reading,
};
use edgewatch_shared::{
    TimestampMs,
    limits::BATCH_SAMPLES_MAX,
    wire::{Facts, MetricSample, MetricsBody, WireTime},
};
use std::collections::BTreeMap;

/// Stamped readings, in the order in which they were taken.
#[derive(Debug, Default)]
pub struct Pending {
    samples: Vec<(TimestampMs, Reading)>,
    clock_offset_ms: i64,
}

impl Pending {
    /// Adds a round of readings taken at `time` by a clock of this offset.
    pub fn add(&mut self, round: Vec<Reading>, time: TimestampMs, clock_offset_ms: i64) {
        self.follow_clock(clock_offset_ms);
        self.samples.extend(round.into_iter().map(|reading| (time, reading)));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Whether there is enough for a full batch.
    pub fn fills_a_batch(&self) -> bool {
        self.samples.len() >= BATCH_SAMPLES_MAX
    }

    /// Freezes everything into batches of at most [`BATCH_SAMPLES_MAX`] samples, the facts in the first.
    /// A batch that cannot be frozen is an error in its place.
    pub fn freeze(
        &mut self,
        host: Option<&str>,
        mut facts: Option<Facts>,
        clock_offset_ms: i64,
    ) -> Vec<Result<Batch, BatchError>> {
        self.follow_clock(clock_offset_ms);
        let samples = std::mem::take(&mut self.samples);
        samples
            .chunks(BATCH_SAMPLES_MAX)
            .map(|chunk| {
                let body = MetricsBody {
                    host: host.map(str::to_owned),
                    facts: facts.take(),
                    metrics: chunk.iter().map(on_the_wire).collect(),
                };
                Batch::freeze(&body, self.clock_offset_ms)
            })
            .collect()
    }

    /// When the clock turned out to be wrong, what it has stamped moves with it.
    fn follow_clock(&mut self, clock_offset_ms: i64) {
        let shift_ms = clock_offset_ms.saturating_sub(self.clock_offset_ms);
        if shift_ms.saturating_abs() >= STEP_MS || self.samples.is_empty() {
            for (time, _) in &mut self.samples {
                *time = time.plus_ms(shift_ms);
            }
            self.clock_offset_ms = clock_offset_ms;
        }
    }
}

fn on_the_wire((time, reading): &(TimestampMs, Reading)) -> MetricSample {
    let labels = reading.labels.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let labels: BTreeMap<String, String> = labels.collect();
    MetricSample {
        time: WireTime(*time),
        host: None,
        name: reading.name.to_owned(),
        value: reading.value,
        labels: (!labels.is_empty()).then_some(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_795_248_000_000);

    fn round(readings: usize) -> Vec<Reading> {
        vec![Reading::plain("load_1m", 0.5); readings]
    }

    fn frozen(pending: &mut Pending, clock_offset_ms: i64) -> Vec<MetricsBody> {
        pending
            .freeze(None, Some(Facts::default()), clock_offset_ms)
            .into_iter()
            .map(|batch| batch.unwrap().thaw().unwrap())
            .collect()
    }

    #[test]
    fn a_frozen_batch_is_what_the_server_believes() {
        let mut pending = Pending::default();
        let labelled = Reading::labelled("cpu_usage_pct", "core", "total", 12.34);
        pending.add(vec![labelled, Reading::plain("load_1m", 0.5)], NOW, 0);
        let body = frozen(&mut pending, 0).remove(0);
        let checked = edgewatch_shared::validate::validate(body, NOW).unwrap();
        assert_eq!((checked.batch.sample_count(), checked.outside_window), (2, 0));
        let series = &checked.batch.series()[0].series;
        assert_eq!((series.name.as_str(), series.labels["core"].as_str()), ("cpu_usage_pct", "total"));
    }

    #[test]
    fn nothing_pending_is_no_batch() {
        assert_eq!(frozen(&mut Pending::default(), 0), []);
    }

    #[test]
    fn a_batch_too_many_samples_long_is_split_and_the_facts_go_once() {
        for (samples, batches) in [
            (BATCH_SAMPLES_MAX, vec![BATCH_SAMPLES_MAX]),
            (BATCH_SAMPLES_MAX + 1, vec![BATCH_SAMPLES_MAX, 1]),
        ] {
            let mut pending = Pending::default();
            pending.add(round(samples - 1), NOW, 0);
            assert!(!pending.fills_a_batch() || samples > BATCH_SAMPLES_MAX);
            pending.add(round(1), NOW, 0);
            assert!(pending.fills_a_batch());
            let bodies = frozen(&mut pending, 0);
            let counts: Vec<usize> = bodies.iter().map(|body| body.metrics.len()).collect();
            assert_eq!(counts, batches);
            let facts = bodies.iter().map(|body| body.facts.is_some());
            assert!(facts.eq((0..batches.len()).map(|index| index == 0)));
        }
    }

    #[test]
    fn stamps_move_with_a_clock_that_steps_and_stay_with_one_that_trembles() {
        for (offset_ms, moved_ms) in [(STEP_MS, STEP_MS), (STEP_MS - 1, 0), (-STEP_MS, -STEP_MS)] {
            let mut pending = Pending::default();
            pending.add(round(1), NOW, 0);
            let body = frozen(&mut pending, offset_ms).remove(0);
            assert_eq!(body.metrics[0].time.0, NOW.plus_ms(moved_ms), "{offset_ms}");
        }
    }
}
