//! A frozen batch: the samples of one push, under the same identity and with the same bytes at every try.
//!
//! What waits is encoded, so that an hour without a server costs kilobytes. The series list is shared between batches,
//! and goes along only where the server may not have it.

use crate::pending::Round;
use edgewatch_shared::{
    Sample, Series, TimestampMs,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    wire::{
        Facts,
        push::{
            self, DictionaryId, MetricsSection, PushError, PushFrame, ReadingRange, StreamId, decode_columns,
            encode_columns, encode_series,
        },
    },
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// Columns are as short as they get; it is the series list that a higher level than zstd's own default is for.
const COMPRESSION_LEVEL: i32 = 9;

/// Why a batch cannot be sent or split. Each is a fault of ours, not of the input.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The columns do not read back.
    #[error("the batch cannot be read back")]
    Columns(#[from] PushError),
    /// zstd failed.
    #[error("the batch cannot be compressed")]
    Zstd(#[from] std::io::Error),
}

/// A series list and what it is known by.
#[derive(Debug, PartialEq)]
pub struct SeriesList {
    id: DictionaryId,
    series: Vec<Series>,
}

impl SeriesList {
    fn new(series: Vec<Series>) -> Self {
        Self { id: DictionaryId::of(&encode_series(&series)), series }
    }
}

/// What a push says beside its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The host's name, where the token does not say it.
    pub host: Option<String>,
    /// The host's facts, where they are news.
    pub facts: Option<Facts>,
}

/// Samples on their way into a batch, by series.
#[derive(Debug, Default)]
pub struct Columns {
    by_series: BTreeMap<Series, Vec<Sample>>,
    /// The number of the first round, and the times of all.
    first: u64,
    times: Vec<TimestampMs>,
    sample_count: usize,
}

impl Columns {
    /// Whether a batch can hold this round, too.
    pub fn have_room_for(&self, round: &Round) -> bool {
        let new = round.samples.keys().filter(|series| !self.by_series.contains_key(series)).count();
        self.sample_count + round.samples.len() <= BATCH_SAMPLES_MAX
            && self.by_series.len() + new <= HOST_SERIES_MAX
    }

    /// Adds a round: the one after the last one.
    pub fn add(&mut self, round: Round) {
        if self.times.is_empty() {
            self.first = round.number;
        }
        self.times.push(round.time);
        self.sample_count += round.samples.len();
        for (series, value) in round.samples {
            let sample = Sample { time: round.time, value };
            match self.by_series.entry(series) {
                Entry::Occupied(mut samples) => samples.get_mut().push(sample),
                Entry::Vacant(none) => {
                    none.insert(vec![sample]);
                }
            }
        }
    }

    /// Freezes what was added. `list` is the one of the batch before, which is mostly the same, and becomes this one's.
    pub fn freeze(
        self,
        stream: StreamId,
        told: Told,
        clock_offset_ms: i64,
        list: &mut Option<Arc<SeriesList>>,
    ) -> Batch {
        let (series, columns): (Vec<Series>, Vec<Vec<Sample>>) = self.by_series.into_iter().unzip();
        let list = match list {
            Some(list) if list.series == series => Arc::clone(list),
            _ => Arc::clone(list.insert(Arc::new(SeriesList::new(series)))),
        };
        Batch {
            stream,
            first: self.first,
            times: self.times,
            list,
            columns: encode_columns(&columns),
            sample_count: self.sample_count,
            told,
            clock_offset_ms,
        }
    }
}

/// One push, frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    stream: StreamId,
    first: u64,
    /// The time of each reading, ascending.
    times: Vec<TimestampMs>,
    list: Arc<SeriesList>,
    columns: Vec<u8>,
    sample_count: usize,
    told: Told,
    clock_offset_ms: i64,
}

impl Batch {
    /// What is sent, with the series list or without it.
    pub fn body(&self, with_list: bool) -> Result<Vec<u8>, BatchError> {
        let frame = PushFrame {
            stream: self.stream,
            // The oldest batch goes first: nothing before it is held any more.
            floor: self.first,
            readings: self.readings(),
            host: self.told.host.clone(),
            facts: self.told.facts.clone(),
            metrics: Some(MetricsSection {
                dictionary: self.list.id,
                series: with_list.then(|| self.list.series.clone()),
                columns: self.columns.clone(),
            }),
        };
        Ok(zstd::bulk::compress(&push::encode(&frame), COMPRESSION_LEVEL)?)
    }

    /// The readings in it, by their numbers in their stream.
    pub fn readings(&self) -> ReadingRange {
        let further = self.times.len().saturating_sub(1) as u64;
        ReadingRange { first: self.first, last: self.first.saturating_add(further) }
    }

    /// What its series list is known by.
    pub fn list(&self) -> DictionaryId {
        self.list.id
    }

    /// How many samples it has.
    pub fn sample_count(&self) -> usize {
        self.sample_count
    }

    /// Whether it tells the host's facts.
    pub fn has_facts(&self) -> bool {
        self.told.facts.is_some()
    }

    /// The offset of the clock that stamped its samples.
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms
    }

    /// The first and the second half of its readings, each under their own numbers; the facts stay with the first.
    /// `None` if there is but one reading: what is in it cannot come under two identities.
    pub fn halves(&self) -> Result<Option<[Self; 2]>, BatchError> {
        let middle = self.times.len() / 2;
        let (early, late) = self.times.split_at(middle);
        let (false, Some(split)) = (early.is_empty(), late.first()) else { return Ok(None) };
        let mut first = self.samples()?;
        let after = |samples: &mut Vec<Sample>| {
            samples.split_off(samples.partition_point(|sample| sample.time < *split))
        };
        let second: Vec<Vec<Sample>> = first.iter_mut().map(after).collect();
        let half = |columns: Vec<Vec<Sample>>, first, times: &[TimestampMs], facts| Self {
            first,
            times: times.to_vec(),
            columns: encode_columns(&columns),
            sample_count: columns.iter().map(Vec::len).sum(),
            told: Told { host: self.told.host.clone(), facts },
            list: Arc::clone(&self.list),
            ..*self
        };
        let second_number = self.first.saturating_add(middle as u64);
        Ok(Some([
            half(first, self.first, early, self.told.facts.clone()),
            half(second, second_number, late, None),
        ]))
    }

    /// The batch as a clock of another offset would have stamped it.
    pub fn restamped(&self, clock_offset_ms: i64) -> Result<Self, BatchError> {
        let shift_ms = clock_offset_ms.saturating_sub(self.clock_offset_ms);
        let mut columns = self.samples()?;
        for sample in columns.iter_mut().flatten() {
            sample.time = sample.time.plus_ms(shift_ms);
        }
        let times = self.times.iter().map(|time| time.plus_ms(shift_ms)).collect();
        Ok(Self { times, columns: encode_columns(&columns), clock_offset_ms, ..self.clone() })
    }

    /// The samples again, in the order of the series list.
    fn samples(&self) -> Result<Vec<Vec<Sample>>, BatchError> {
        Ok(decode_columns(&self.columns, self.list.series.len(), self.sample_count)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use edgewatch_shared::{limits::BODY_DECOMPRESSED_BYTES_MAX, series::Labels};
    use zstd::bulk::Decompressor;

    /// The frame that a batch sends.
    pub fn sent(batch: &Batch, with_list: bool) -> PushFrame {
        let body = batch.body(with_list).unwrap();
        let frame = Decompressor::new().unwrap().decompress(&body, BODY_DECOMPRESSED_BYTES_MAX).unwrap();
        push::decode(&frame).unwrap()
    }

    /// A batch of readings with these numbers, each a second after the last.
    pub fn batch(numbers: std::ops::RangeInclusive<u64>) -> Batch {
        frozen(numbers, &mut None)
    }

    fn round(number: u64, names: &[&str]) -> Round {
        let series = |name: &&str| Series { name: (*name).to_owned(), labels: Labels::new() };
        let samples = names.iter().map(|name| (series(name), number as f64 / 2.0)).collect();
        Round { number, time: TimestampMs(number as i64 * 1_000), samples }
    }

    fn frozen(numbers: std::ops::RangeInclusive<u64>, list: &mut Option<Arc<SeriesList>>) -> Batch {
        let mut columns = Columns::default();
        for number in numbers {
            // The second series is missing now and then.
            let names = if number % 2 == 0 { &["load_1m", "load_5m"][..] } else { &["load_1m"] };
            columns.add(round(number, names));
        }
        let told = Told { host: Some("web-01".into()), facts: Some(Facts::default()) };
        columns.freeze(StreamId(7), told, 100, list)
    }

    fn decoded(batch: &Batch) -> Vec<Vec<(i64, f64)>> {
        let of = |samples: &Vec<Sample>| samples.iter().map(|s| (s.time.0, s.value)).collect();
        batch.samples().unwrap().iter().map(of).collect()
    }

    #[test]
    fn a_batch_says_who_it_is_with_and_without_its_list() {
        let batch = batch(3..=7);
        let [with, without] = [true, false].map(|with_list| sent(&batch, with_list));
        assert_eq!((with.stream, with.floor, with.readings), (StreamId(7), 3, batch.readings()));
        assert_eq!(batch.readings(), ReadingRange { first: 3, last: 7 });
        assert_eq!((with.host.as_deref(), with.facts.is_some()), (Some("web-01"), true));
        let (with, without) = (with.metrics.unwrap(), without.metrics.unwrap());
        assert_eq!((with.checksum(), &with.columns), (without.checksum(), &without.columns));
        let names: Vec<String> = with.series.unwrap().into_iter().map(|series| series.name).collect();
        assert_eq!((names, without.series), (vec!["load_1m".to_owned(), "load_5m".to_owned()], None));
        assert_eq!((batch.sample_count(), batch.body(true).unwrap()), (7, batch.body(true).unwrap()));
    }

    #[test]
    fn batches_of_the_same_series_share_their_list() {
        let mut list = None;
        let [first, second, shorter] = [1..=2, 3..=4, 5..=5].map(|numbers| frozen(numbers, &mut list));
        assert!(Arc::ptr_eq(&first.list, &second.list));
        assert_ne!(first.list(), shorter.list());
    }

    #[test]
    fn halves_have_all_readings_under_their_numbers_and_the_facts_once() {
        let whole = batch(3..=7);
        let [first, second] = whole.halves().unwrap().unwrap();
        let numbers = [&first, &second].map(|half| (half.readings().first, half.readings().last));
        assert_eq!(numbers, [(3, 4), (5, 7)]);
        assert_eq!(decoded(&first), [vec![(3_000, 1.5), (4_000, 2.0)], vec![(4_000, 2.0)]]);
        assert_eq!(decoded(&second)[1], [(6_000, 3.0)]);
        assert_eq!((first.sample_count(), second.sample_count()), (3, 4));
        assert_eq!((first.has_facts(), second.has_facts()), (true, false));
        assert_eq!((&first.told.host, first.list()), (&second.told.host, whole.list()));
    }

    #[test]
    fn one_reading_has_no_halves() {
        assert_eq!(batch(1..=1).halves().unwrap(), None);
        assert!(batch(1..=2).halves().unwrap().is_some());
    }

    #[test]
    fn restamping_moves_every_sample_by_what_the_clock_was_off() {
        let moved = batch(3..=4).restamped(-900).unwrap();
        assert_eq!(decoded(&moved), [vec![(2_000, 1.5), (3_000, 2.0)], vec![(3_000, 2.0)]]);
        assert_eq!((moved.clock_offset_ms(), moved.readings()), (-900, batch(3..=4).readings()));
        assert_eq!(moved.restamped(100).unwrap(), batch(3..=4));
        let [first, _] = moved.halves().unwrap().unwrap();
        assert_eq!(decoded(&first), [vec![(2_000, 1.5)], Vec::new()]);
    }
}
