//! Readings that were taken and are not yet in a batch, numbered in the order in which they were taken.

use crate::{
    batch::{Batch, Columns, SeriesList, Told},
    clock::STEP_MS,
    collectors::Reading,
};
use edgewatch_shared::{
    Series, TimestampMs,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    wire::{Facts, push::StreamId},
};
use std::{collections::BTreeMap, sync::Arc};

/// What was read at one tick: a reading, as the server counts them.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its number in the stream, from 1.
    pub number: u64,
    /// When it was taken.
    pub time: TimestampMs,
    /// A value of every series, at least one and at most [`HOST_SERIES_MAX`].
    pub samples: BTreeMap<Series, f64>,
}

/// Stamped rounds, in the order in which they were taken.
#[derive(Debug)]
pub struct Pending {
    stream: StreamId,
    next_number: u64,
    rounds: Vec<Round>,
    list: Option<Arc<SeriesList>>,
    clock_offset_ms: i64,
}

impl Pending {
    /// Nothing yet of a stream that begins.
    pub fn new(stream: StreamId) -> Self {
        Self { stream, next_number: 1, rounds: Vec::new(), list: None, clock_offset_ms: 0 }
    }

    /// Adds what was read at `time` by a clock of this offset. What a host has more of than its number of series is left
    /// out: the server would refuse all of it.
    pub fn add(&mut self, readings: Vec<Reading>, time: TimestampMs, clock_offset_ms: i64) {
        self.follow_clock(clock_offset_ms);
        if readings.is_empty() {
            return;
        }
        // A clock that was set back by less than a step must not give one instant to two rounds.
        let after_last = self.rounds.last().map(|round| round.time.plus_ms(1));
        let time = after_last.map_or(time, |earliest| time.max(earliest));
        let samples = readings.into_iter().take(HOST_SERIES_MAX).map(in_a_series).collect();
        self.rounds.push(Round { number: self.next_number, time, samples });
        self.next_number = self.next_number.saturating_add(1);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Whether there is enough for a full batch.
    pub fn fills_a_batch(&self) -> bool {
        self.rounds.iter().map(|round| round.samples.len()).sum::<usize>() >= BATCH_SAMPLES_MAX
    }

    /// Freezes everything into batches of as many rounds as each can hold, the facts in the first.
    pub fn freeze(
        &mut self,
        host: Option<&str>,
        mut facts: Option<Facts>,
        clock_offset_ms: i64,
    ) -> Vec<Batch> {
        self.follow_clock(clock_offset_ms);
        let mut batches = Vec::new();
        let mut rounds = std::mem::take(&mut self.rounds).into_iter().peekable();
        while let Some(first) = rounds.next() {
            let mut columns = Columns::default();
            columns.add(first);
            while let Some(round) = rounds.next_if(|round| columns.have_room_for(round)) {
                columns.add(round);
            }
            let told = Told { host: host.map(str::to_owned), facts: facts.take() };
            batches.push(columns.freeze(self.stream, told, self.clock_offset_ms, &mut self.list));
        }
        batches
    }

    /// When the clock turned out to be wrong, what it has stamped moves with it.
    fn follow_clock(&mut self, clock_offset_ms: i64) {
        let shift_ms = clock_offset_ms.saturating_sub(self.clock_offset_ms);
        if shift_ms.saturating_abs() >= STEP_MS || self.rounds.is_empty() {
            for round in &mut self.rounds {
                round.time = round.time.plus_ms(shift_ms);
            }
            self.clock_offset_ms = clock_offset_ms;
        }
    }
}

fn in_a_series(reading: Reading) -> (Series, f64) {
    let labels = reading.labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    (Series { name: reading.name.to_owned(), labels }, reading.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::sent;
    use edgewatch_shared::validate::{CheckedPush, validate_push};

    const NOW: TimestampMs = TimestampMs(1_795_248_000_000);

    fn pending() -> Pending {
        Pending::new(StreamId(7))
    }

    /// So many series, each of its own.
    fn round(readings: usize) -> Vec<Reading> {
        (0..readings).map(|n| Reading::labelled("cpu_usage_pct", "core", &n.to_string(), 0.5)).collect()
    }

    /// What the server believes of each batch.
    fn believed(pending: &mut Pending, clock_offset_ms: i64) -> Vec<CheckedPush> {
        let batches = pending.freeze(None, Some(Facts::default()), clock_offset_ms);
        batches.iter().map(|batch| validate_push(sent(batch, true), NOW).unwrap()).collect()
    }

    #[test]
    fn a_frozen_batch_is_what_the_server_believes() {
        let mut pending = pending();
        let labelled = Reading::labelled("cpu_usage_pct", "core", "total", 12.34);
        pending.add(vec![Reading::plain("load_1m", 0.5), labelled], NOW, 0);
        let checked = believed(&mut pending, 0).remove(0);
        assert_eq!((checked.batch.sample_count(), checked.outside_window), (2, 0));
        let series = &checked.batch.series().unwrap()[0];
        assert_eq!((series.name.as_str(), series.labels["core"].as_str()), ("cpu_usage_pct", "total"));
    }

    #[test]
    fn nothing_pending_is_no_batch_and_nothing_read_has_no_number() {
        let mut pending = pending();
        assert_eq!(believed(&mut pending, 0), []);
        pending.add(Vec::new(), NOW, 0);
        assert!(pending.is_empty());
        pending.add(round(1), NOW, 0);
        assert_eq!(believed(&mut pending, 0)[0].readings.first, 1);
        pending.add(round(1), NOW, 0);
        assert_eq!(believed(&mut pending, 0)[0].readings.first, 2);
    }

    #[test]
    fn rounds_that_do_not_fit_one_batch_fill_the_next_and_the_facts_go_once() {
        let half = BATCH_SAMPLES_MAX / 2;
        for (rounds, batches) in
            [(vec![half, half], vec![(1, 2)]), (vec![half, half, 1], vec![(1, 2), (3, 3)])]
        {
            let mut pending = pending();
            for (n, readings) in rounds.iter().enumerate() {
                assert_eq!(pending.fills_a_batch(), n >= 2);
                pending.add(round(*readings), NOW.plus_ms(n as i64), 0);
            }
            let believed = believed(&mut pending, 0);
            let ranges: Vec<_> =
                believed.iter().map(|push| (push.readings.first, push.readings.last)).collect();
            assert_eq!(ranges, batches);
            let facts = believed.iter().map(|push| push.facts.is_some());
            assert!(facts.eq((0..batches.len()).map(|index| index == 0)));
        }
    }

    #[test]
    fn more_series_than_a_host_may_have_are_left_out_of_a_round_and_apart_in_two() {
        let mut pending = pending();
        pending.add(round(HOST_SERIES_MAX + 1), NOW, 0);
        pending.add(vec![Reading::plain("load_1m", 0.5)], NOW.plus_ms(1), 0);
        let counts: Vec<_> = believed(&mut pending, 0).iter().map(|push| push.batch.sample_count()).collect();
        assert_eq!(counts, [HOST_SERIES_MAX, 1]);
    }

    #[test]
    fn no_two_rounds_have_one_instant() {
        let mut pending = pending();
        for ms in [0, 0, -500] {
            pending.add(round(1), NOW.plus_ms(ms), 0);
        }
        let checked = believed(&mut pending, 0).remove(0);
        let times = checked.batch.columns()[0].iter().map(|sample| sample.time.ms_since(NOW));
        assert_eq!(times.collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn stamps_move_with_a_clock_that_steps_and_stay_with_one_that_trembles() {
        for (offset_ms, moved_ms) in [(STEP_MS, STEP_MS), (STEP_MS - 1, 0), (-STEP_MS, -STEP_MS)] {
            let mut pending = pending();
            pending.add(round(1), NOW, 0);
            let checked = believed(&mut pending, offset_ms).remove(0);
            assert_eq!(checked.batch.columns()[0][0].time, NOW.plus_ms(moved_ms), "{offset_ms}");
        }
    }
}
