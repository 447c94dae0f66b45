//! Readings that were taken and are not yet in a batch, numbered in the order in which they were taken.
//!
//! They lie in columns, as a batch has them: 16 bytes a sample beside one list of series, which the rounds share.

use crate::{
    batch::{Batch, SeriesList},
    clock::STEP_MS,
    collectors::Reading,
};
use edgewatch_shared::{
    Sample, Series, TimestampMs,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    wire::push::{ReadingRange, StreamId},
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// Stamped rounds, in the order in which they were taken.
#[derive(Debug)]
pub struct Pending {
    stream: StreamId,
    /// The number of the next round, from 1.
    next_number: u64,
    rounds: u64,
    last_time: TimestampMs,
    sample_count: usize,
    columns: Columns,
    clock_offset_ms: i64,
}

/// A column for every series.
#[derive(Debug, Default)]
struct Columns {
    series: Vec<Series>,
    samples: Vec<Vec<Sample>>,
    /// Where a series is, by its hash; of two with one hash only the first is found here.
    places: HashMap<u64, usize>,
    /// The list of these series in this order, unless series came since.
    list: Option<Arc<SeriesList>>,
}

impl Pending {
    /// Nothing yet of a stream that begins.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            next_number: 1,
            rounds: 0,
            last_time: TimestampMs::default(),
            sample_count: 0,
            columns: Columns::default(),
            clock_offset_ms: 0,
        }
    }

    /// Whether the batch can hold this round, too.
    pub fn has_room_for(&self, readings: &[Reading]) -> bool {
        self.sample_count.saturating_add(readings.len()) <= BATCH_SAMPLES_MAX
            && self.columns.have_room_for(readings)
    }

    /// Adds what was read at `time` by a clock of this offset; there is room for it, or nothing else. That a round has no more
    /// than a host may have is the collectors' part.
    pub fn add(&mut self, readings: Vec<Reading>, time: TimestampMs, clock_offset_ms: i64) {
        self.follow_clock(clock_offset_ms);
        if readings.is_empty() {
            return;
        }
        // A clock that was set back by less than a step must not give one instant to two rounds.
        let time = if self.is_empty() { time } else { time.max(self.last_time.plus_ms(1)) };
        for reading in readings {
            let value = reading.value;
            let Some(column) = self.columns.of(reading) else { continue };
            match column.last_mut().filter(|last| last.time == time) {
                // A series that is told twice has the value that is told last.
                Some(last) => last.value = value,
                None => {
                    column.push(Sample { time, value });
                    self.sample_count = self.sample_count.saturating_add(1);
                }
            }
        }
        self.last_time = time;
        self.rounds = self.rounds.saturating_add(1);
        self.next_number = self.next_number.saturating_add(1);
    }

    /// How many rounds were taken in since the start.
    pub fn taken(&self) -> u64 {
        self.next_number.saturating_sub(1)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.rounds == 0
    }

    /// Freezes everything into a batch, and tells the list of its series; `None` if there is nothing.
    pub fn freeze(&mut self, host: Option<&str>, clock_offset_ms: i64) -> Option<(Batch, &Arc<SeriesList>)> {
        self.follow_clock(clock_offset_ms);
        if self.is_empty() {
            return None;
        }
        let readings = ReadingRange {
            first: self.next_number.saturating_sub(self.rounds),
            last: self.next_number.saturating_sub(1),
        };
        (self.rounds, self.sample_count) = (0, 0);
        let Columns { samples, list, .. } = self.columns.in_order();
        let series_list = list.as_ref()?;
        let batch = Batch::freeze(self.stream, readings, host, series_list.id, samples, self.clock_offset_ms);
        samples.iter_mut().for_each(Vec::clear);
        Some((batch, series_list))
    }

    /// When the clock turned out to be wrong, what it has stamped moves with it.
    fn follow_clock(&mut self, clock_offset_ms: i64) {
        let shift_ms = clock_offset_ms.saturating_sub(self.clock_offset_ms);
        if shift_ms.saturating_abs() >= STEP_MS || self.is_empty() {
            for sample in self.columns.samples.iter_mut().flatten() {
                sample.time = sample.time.plus_ms(shift_ms);
            }
            self.last_time = self.last_time.plus_ms(shift_ms);
            self.clock_offset_ms = clock_offset_ms;
        }
    }
}

impl Columns {
    /// Whether a batch can have these series beside those that it has samples of.
    fn have_room_for(&self, readings: &[Reading]) -> bool {
        if self.series.len().saturating_add(readings.len()) <= HOST_SERIES_MAX {
            return true;
        }
        let is_empty = |at: usize| self.samples.get(at).is_none_or(Vec::is_empty);
        let new = readings.iter().filter(|reading| self.place_of(reading).is_none_or(is_empty)).count();
        let has = self.samples.iter().filter(|samples| !samples.is_empty()).count();
        has.saturating_add(new) <= HOST_SERIES_MAX
    }

    fn place_of(&self, reading: &Reading) -> Option<usize> {
        let is_it = |at: &usize| self.series.get(*at).is_some_and(|series| is_of(reading, series));
        let known = self.places.get(&hash_of(reading)).copied();
        match known {
            Some(at) if is_it(&at) => Some(at),
            Some(_) => (0..self.series.len()).find(is_it),
            None => None,
        }
    }

    /// The column of a reading's series.
    fn of(&mut self, reading: Reading) -> Option<&mut Vec<Sample>> {
        let at = self.place_of(&reading).unwrap_or_else(|| {
            let at = self.series.len();
            self.places.entry(hash_of(&reading)).or_insert(at);
            self.list = None;
            let labels = reading.labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            self.series.push(Series { name: reading.name.to_owned(), labels });
            self.samples.push(Vec::new());
            at
        });
        self.samples.get_mut(at)
    }

    /// The columns in the order of their series, without those that have no samples.
    fn in_order(&mut self) -> &mut Self {
        if self.list.is_none() || self.samples.iter().any(Vec::is_empty) {
            let series = std::mem::take(&mut self.series).into_iter();
            let mut columns: Vec<(Series, Vec<Sample>)> =
                series.zip(std::mem::take(&mut self.samples)).collect();
            columns.retain(|(_, samples)| !samples.is_empty());
            columns.sort_by(|(a, _), (b, _)| a.cmp(b));
            (self.series, self.samples) = columns.into_iter().unzip();
            self.list = Some(Arc::new(SeriesList::of(&self.series)));
            self.places.clear();
            for (at, series) in self.series.iter().enumerate() {
                let labels = series.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                self.places.entry(hash(&series.name, labels)).or_insert(at);
            }
        }
        self
    }
}

fn is_of(reading: &Reading, series: &Series) -> bool {
    let has = |(key, value): &(&str, String)| series.labels.get(*key) == Some(value);
    reading.name == series.name
        && reading.labels.len() == series.labels.len()
        && reading.labels.iter().all(has)
}

fn hash_of(reading: &Reading) -> u64 {
    hash(reading.name, reading.labels.iter().map(|(key, value)| (*key, value.as_str())))
}

/// The same in whatever order the labels come.
fn hash<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    fn of(value: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }
    labels.map(of).fold(of(name), u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Told, tests::read};
    use edgewatch_shared::validate::{CheckedPush, validate_push};

    const NOW: TimestampMs = TimestampMs(1_795_248_000_000);

    fn pending() -> Pending {
        Pending::new(StreamId(7))
    }

    /// So many series, each of its own.
    fn round(readings: usize) -> Vec<Reading> {
        (0..readings).map(|n| Reading::labelled("cpu_usage_pct", "core", &n.to_string(), 0.5)).collect()
    }

    /// What the server believes of the batch.
    fn believed(pending: &mut Pending, clock_offset_ms: i64) -> CheckedPush {
        let (batch, list) = pending.freeze(None, clock_offset_ms).unwrap();
        let told = Told { floor: 1, list: Some(list), ..Told::default() };
        validate_push(read(&batch.body(told).unwrap()), NOW).unwrap()
    }

    /// The names of the series and how many samples each has.
    fn told(push: &CheckedPush) -> Vec<(String, usize)> {
        let series = push.batch.series().unwrap().iter();
        let names = series.map(|series| format!("{}{:?}", series.name, series.labels.values()));
        names.zip(push.batch.columns().iter().map(Vec::len)).collect()
    }

    #[test]
    fn a_frozen_batch_is_what_the_server_believes() {
        let mut pending = pending();
        let labelled = Reading::labelled("cpu_usage_pct", "core", "total", 12.34);
        pending.add(vec![Reading::plain("load_1m", 0.5), labelled], NOW, 0);
        let checked = believed(&mut pending, 0);
        assert_eq!((checked.batch.sample_count(), checked.outside_window), (2, 0));
        let series = &checked.batch.series().unwrap()[0];
        assert_eq!((series.name.as_str(), series.labels["core"].as_str()), ("cpu_usage_pct", "total"));
    }

    #[test]
    fn nothing_pending_is_no_batch_and_nothing_read_has_no_number() {
        let mut pending = pending();
        assert!(pending.freeze(None, 0).is_none());
        pending.add(Vec::new(), NOW, 0);
        assert!(pending.is_empty());
        pending.add(round(1), NOW, 0);
        pending.add(round(1), NOW.plus_ms(1), 0);
        assert_eq!(believed(&mut pending, 0).readings, ReadingRange { first: 1, last: 2 });
        pending.add(round(1), NOW, 0);
        assert_eq!(believed(&mut pending, 0).readings, ReadingRange { first: 3, last: 3 });
    }

    #[test]
    fn there_is_room_for_as_many_samples_and_series_as_a_batch_may_have() {
        let mut pending = pending();
        pending.add(round(BATCH_SAMPLES_MAX / 2), NOW, 0);
        assert!(pending.has_room_for(&round(BATCH_SAMPLES_MAX / 2)));
        assert!(!pending.has_room_for(&round(BATCH_SAMPLES_MAX / 2 + 1)));
        let one_more = [Reading::plain("load_1m", 0.5)];
        assert_eq!(pending.has_room_for(&one_more), BATCH_SAMPLES_MAX / 2 < HOST_SERIES_MAX);
        believed(&mut pending, 0);
        assert!(pending.has_room_for(&one_more), "what the last batch had is no longer counted");
        pending.add(one_more.to_vec(), NOW.plus_ms(1), 0);
        assert!(pending.has_room_for(&round(HOST_SERIES_MAX - 1)));
        assert!(!pending.has_room_for(&round(HOST_SERIES_MAX)));
    }

    #[test]
    fn series_that_come_and_go_and_change_their_order_keep_their_samples() {
        let mut pending = pending();
        let of = |names: &[&'static str]| names.iter().map(|name| Reading::plain(name, 1.0)).collect();
        for (ms, names) in [&["load_5m", "load_1m"][..], &["load_1m", "uptime_seconds"], &["load_1m"]]
            .into_iter()
            .enumerate()
        {
            pending.add(of(names), NOW.plus_ms(ms as i64), 0);
        }
        let named = |name: &str, samples| (format!("{name}[]"), samples);
        assert_eq!(
            told(&believed(&mut pending, 0)),
            [named("load_1m", 3), named("load_5m", 1), named("uptime_seconds", 1)]
        );
        // What is gone is not in the next list.
        pending.add(of(&["uptime_seconds", "load_1m"]), NOW.plus_ms(9), 0);
        assert_eq!(told(&believed(&mut pending, 0)), [named("load_1m", 1), named("uptime_seconds", 1)]);
    }

    #[test]
    fn labels_in_another_order_are_the_same_series_and_what_is_told_twice_counts_once() {
        let mut pending = pending();
        let reading = |value| Reading::plain("disk_used_pct", value);
        let round = vec![
            reading(1.0).with("mount", "/").with("device", "sda"),
            reading(2.0).with("device", "sda").with("mount", "/"),
            reading(3.0).with("device", "/").with("mount", "sda"),
        ];
        pending.add(round, NOW, 0);
        let (batch, _) = pending.freeze(None, 0).unwrap();
        assert_eq!(batch.sample_count, 2);
    }

    #[test]
    fn no_two_rounds_have_one_instant() {
        let mut pending = pending();
        for ms in [0, 0, -500] {
            pending.add(round(1), NOW.plus_ms(ms), 0);
        }
        let checked = believed(&mut pending, 0);
        let times = checked.batch.columns()[0].iter().map(|sample| sample.time.ms_since(NOW));
        assert_eq!(times.collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn stamps_move_with_a_clock_that_steps_and_stay_with_one_that_trembles() {
        for (offset_ms, moved_ms) in [(STEP_MS, STEP_MS), (STEP_MS - 1, 0), (-STEP_MS, -STEP_MS)] {
            let mut pending = pending();
            pending.add(round(1), NOW, 0);
            let checked = believed(&mut pending, offset_ms);
            assert_eq!(checked.batch.columns()[0][0].time, NOW.plus_ms(moved_ms), "{offset_ms}");
        }
    }
}
