//! Sealing: a partition of the log becomes blocks, one or more for its hour and for every day of late data in it.
//!
//! A sans-IO state machine: [`Seal::begin`] looks at a frozen partition, [`Seal::step`] reads a bounded part of it,
//! [`Seal::pending`] hands out each block as soon as it is closed, [`Seal::commit`] writes the index and drops the
//! partition, inside the caller's transaction. Between two steps anything else may happen, because a frozen
//! partition does not change. Cut anywhere, it can be begun again: the same partition gives the same blocks under
//! the same names.

use crate::{
    block::{BlockWriter, Built},
    block_index::{self, BlockEntry, BlockName, Place, State},
    compression::Deflater,
    head::{HostHead, ShardNumber},
    ledger::NewestByHost,
    records::{RecordPlaces, RecordsByHost},
    rollup::Resolution,
    series_limit::{Fingerprint, fingerprint},
    series_registry::SeriesSpan,
    sql::{Sql, SqlError, Value},
    wal::{Decoding, Partition, Place as LogPlace, PushHead, Unreadable, Wal},
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{BLOCK_BYTES_MAX, MINUTE_MS, SAMPLE_AHEAD_MS_MAX},
    series::SeriesSamples,
    time::{Day, Hour},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
};

/// Samples of one host that are decoded in a step, at least one push: 800 KB.
const STEP_SAMPLES: u64 = 50_000;
/// Samples that are read with one statement, at least one push.
const READ_SAMPLES: u64 = 10_000;
/// Bytes that they take decoded, texts included.
const STEP_BYTES: usize = 4 << 20;
/// Bytes of blocks that are being written, all together; beyond, the largest is closed.
const OPEN_BYTES_MAX: usize = 2 * BLOCK_BYTES_MAX;
/// Samples this much older than the hour they arrive in are filed under that hour.
const SPILL_MS: i64 = 2 * MINUTE_MS;

/// What the samples of a block are of: the hour they arrived in, or, late, a day. Never of two days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Span {
    Hour(Hour),
    Day(Day),
}

impl Span {
    /// Under what a sample is filed. What lies just before and after the hour of arrival, because pushes and clocks are
    /// not exact, is filed under it: a block of a few samples costs as much as one of an hour.
    fn of(time: TimestampMs, arrival: Hour) -> Self {
        let is_near = time >= arrival.start().plus_ms(-SPILL_MS)
            && time < arrival.end().plus_ms(SAMPLE_AHEAD_MS_MAX)
            && time.day() == arrival.start().day();
        if is_near { Self::Hour(arrival) } else { Self::Day(time.day()) }
    }

    fn label(self) -> String {
        match self {
            Self::Hour(hour) => hour.label(),
            Self::Day(day) => day.label(),
        }
    }
}

/// A partition on its way out of the log.
pub struct Seal {
    shard: ShardNumber,
    partition: Hour,
    seqs: (i64, i64),
    /// What is still to be read, host by host, in order of arrival.
    pushes: VecDeque<(HostId, VecDeque<LogPlace>)>,
    writers: BTreeMap<Span, BlockWriter>,
    /// Blocks closed so far.
    parts: BTreeMap<Span, usize>,
    pending: VecDeque<(BlockEntry, Vec<u8>)>,
    stored: Vec<BlockEntry>,
    newest: NewestByHost,
    /// Where the newest record of each host is…
    record_places: RecordPlaces,
    /// …and those that were read.
    records: RecordsByHost,
    seen: BTreeMap<HostId, BTreeSet<Fingerprint>>,
    /// Series that were read since somebody last asked.
    met: Vec<(HostId, Vec<SeriesSpan>)>,
    /// What does not decode, or no block can hold.
    set_aside: Vec<Unreadable>,
}

impl Seal {
    /// Begins to seal a partition that takes no more rows.
    pub fn begin(sql: &impl Sql, shard: ShardNumber, partition: Hour) -> Result<Self, SqlError> {
        let mut newest = NewestByHost::new();
        let mut record_places = RecordPlaces::default();
        let mut pushes: BTreeMap<HostId, VecDeque<LogPlace>> = BTreeMap::new();
        let read = Wal::for_each_push(sql, partition, &mut |PushHead { place, record, keys }| {
            record.into_iter().for_each(|record| record_places.note(keys.host, record));
            newest.entry(keys.host).or_default().update(keys.received, &keys.newest);
            pushes.entry(keys.host).or_default().push_back(place);
        })?;
        let Partition { unreadable, seqs } = read;
        Ok(Self {
            shard,
            partition,
            seqs,
            pushes: pushes.into_iter().collect(),
            writers: BTreeMap::new(),
            parts: BTreeMap::new(),
            pending: VecDeque::new(),
            stored: Vec::new(),
            newest,
            record_places,
            records: RecordsByHost::new(),
            seen: BTreeMap::new(),
            met: Vec::new(),
            set_aside: unreadable,
        })
    }

    /// The partition that is being sealed.
    pub fn partition(&self) -> Hour {
        self.partition
    }

    /// Whether all is read and every block handed out.
    pub fn is_complete(&self) -> bool {
        self.pushes.is_empty() && self.writers.is_empty() && self.pending.is_empty()
    }

    /// Reads on: at most one host, and of that at most what fits a step. Once there is nothing more to read, closes one
    /// open block after the other.
    pub fn step(
        &mut self,
        sql: &impl Sql,
        wal: &Wal,
        decoding: &mut Decoding<'_>,
        deflater: &mut Deflater,
    ) -> Result<(), SqlError> {
        let Some((host, places)) = self.pushes.front_mut() else {
            let Some((span, writer)) = self.writers.pop_first() else { return Ok(()) };
            return self.close(span, writer, deflater);
        };
        let host = *host;
        let (read, samples, set_aside) = read_pushes(sql, wal, (host, places), decoding)?;
        if places.is_empty() {
            self.pushes.pop_front();
            if let Some(place) = self.record_places.get(host) {
                self.records.extend(Wal::record(sql, &place)?.map(|record| (host, record)));
            }
        }
        self.set_aside.extend(set_aside);
        self.seen.entry(host).or_default().extend(samples.series().map(fingerprint));
        self.met.push((host, samples.spans().collect()));
        if let Err(why) = self.write(host, samples, deflater) {
            let unwritten = read.into_iter().map(|place| Unreadable::of(host, place, why.clone()));
            self.set_aside.extend(unwritten);
        }
        self.make_room(deflater)
    }

    /// Appends to the blocks what was read; says why if that cannot be.
    fn write(&mut self, host: HostId, samples: HostHead, deflater: &mut Deflater) -> Result<(), String> {
        let mut written = Ok(());
        for (span, series) in by_span(samples, self.partition) {
            let new = || BlockWriter::new(Resolution::Raw, BLOCK_BYTES_MAX);
            let pushed = self.writers.entry(span).or_insert_with(new).push(host, &series, deflater);
            written = written.and(pushed.map_err(|error| error.to_string()));
        }
        let spans: Vec<Span> = self.writers.keys().copied().collect();
        for span in spans {
            let closed = self.writers.get_mut(&span).map(BlockWriter::take_closed).unwrap_or_default();
            self.hand_out(span, closed);
        }
        written
    }

    /// Closes the largest open blocks until all together are within [`OPEN_BYTES_MAX`].
    fn make_room(&mut self, deflater: &mut Deflater) -> Result<(), SqlError> {
        let open_bytes = |writer: &BlockWriter| writer.open_bytes();
        while self.writers.values().map(open_bytes).fold(0, usize::saturating_add) > OPEN_BYTES_MAX {
            let largest = self.writers.iter().max_by_key(|(_, writer)| writer.open_bytes());
            let Some(span) = largest.map(|(span, _)| *span) else { break };
            if let Some(writer) = self.writers.remove(&span) {
                self.close(span, writer, deflater)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, span: Span, writer: BlockWriter, deflater: &mut Deflater) -> Result<(), SqlError> {
        let built = writer.finish(deflater);
        let built = built.map_err(|error| SqlError(format!("a block could not be closed: {error}")))?;
        self.hand_out(span, built);
        Ok(())
    }

    fn hand_out(&mut self, span: Span, built: Vec<Built>) {
        for built in built {
            let part = self.parts.entry(span).or_default();
            let name = BlockName {
                shard: self.shard,
                span: span.label(),
                partition: self.partition,
                seqs: self.seqs,
                part: *part,
                checksum: &built.checksum,
            };
            *part = part.saturating_add(1);
            let entry = BlockEntry::of(&built, name.key(), Some(self.partition));
            self.pending.push_back((entry, built.bytes));
        }
    }

    /// Takes the next block that is to be stored, and its bytes; [`Seal::stored`] has to follow.
    pub fn pending(&mut self) -> Option<(BlockEntry, Vec<u8>)> {
        self.pending.pop_front()
    }

    /// A block is stored, under this id.
    pub fn stored(&mut self, entry: BlockEntry, id: i64, place: Place) {
        self.stored.push(BlockEntry { id, rank: id, place, ..entry });
    }

    /// Series that were read since this was last asked.
    pub fn take_met(&mut self) -> Vec<(HostId, Vec<SeriesSpan>)> {
        std::mem::take(&mut self.met)
    }

    /// Newest values as this partition has them.
    pub fn newest(&self) -> &NewestByHost {
        &self.newest
    }

    /// The newest record of each host that this partition has.
    pub fn records(&self) -> &RecordsByHost {
        &self.records
    }

    /// Series that each host sent in this partition.
    pub fn seen(&self) -> &BTreeMap<HostId, BTreeSet<Fingerprint>> {
        &self.seen
    }

    /// What could not be sealed.
    pub fn set_aside(&self) -> &[Unreadable] {
        &self.set_aside
    }

    /// Writes the index, keeps what could not be sealed and drops the partition: to be called inside a transaction.
    pub fn commit(&self, sql: &impl Sql) -> Result<(), SqlError> {
        for entry in &self.stored {
            block_index::insert(sql, entry, State::Current)?;
        }
        self.set_aside.iter().try_for_each(|unreadable| set_aside(sql, unreadable))?;
        Wal::drop_partition(sql, self.partition)
    }
}

/// Creates the table of what could not be sealed.
pub fn create_table(sql: &impl Sql) -> Result<(), SqlError> {
    let table = "CREATE TABLE IF NOT EXISTS set_aside (id INTEGER PRIMARY KEY, partition INTEGER, seq INTEGER, \
                 host BLOB, why TEXT, data BLOB)";
    sql.exec(table, &[]).map(|_| ())
}

fn set_aside(sql: &impl Sql, unreadable: &Unreadable) -> Result<(), SqlError> {
    let insert = "INSERT INTO set_aside (partition, seq, host, why, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    let host = unreadable.push.map_or(Value::Null, |(host, _)| Value::Blob(host.as_bytes().to_vec()));
    let values = [
        Value::Integer(unreadable.hour.0),
        Value::Integer(unreadable.seq),
        host,
        Value::Text(unreadable.why.clone()),
        Value::Blob(Wal::raw(sql, unreadable)?),
    ];
    sql.exec(insert, &values).map(|_| ())
}

/// Decodes pushes of a host from the front on until a step is full: which, what they hold, and which do not decode.
fn read_pushes(
    sql: &impl Sql,
    wal: &Wal,
    (host, places): (HostId, &mut VecDeque<LogPlace>),
    decoding: &mut Decoding<'_>,
) -> Result<(Vec<LogPlace>, HostHead, Vec<Unreadable>), SqlError> {
    let mut samples = HostHead::default();
    let mut count: u64 = 0;
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    while count < STEP_SAMPLES && samples.bytes() < STEP_BYTES && !places.is_empty() {
        let mut read = Vec::new();
        let mut read_samples: u64 = 0;
        while read_samples < READ_SAMPLES && count.saturating_add(read_samples) < STEP_SAMPLES {
            let Some(place) = places.pop_front() else { break };
            read_samples = read_samples.saturating_add(place.samples.into());
            read.push(place);
        }
        count = count.saturating_add(read_samples);
        unreadable.extend(wal.samples(sql, host, &read, decoding, &mut |found| {
            samples.insert(found);
            ControlFlow::Continue(())
        })?);
        all.extend(read);
    }
    all.retain(|place| unreadable.iter().all(|other: &Unreadable| other.push != Some((host, *place))));
    Ok((all, samples, unreadable))
}

fn by_span(samples: HostHead, arrival: Hour) -> BTreeMap<Span, Vec<SeriesSamples>> {
    let mut spans: BTreeMap<Span, Vec<SeriesSamples>> = BTreeMap::new();
    for SeriesSamples { series, samples } in samples.into_series() {
        let is_one = |a: &edgewatch_shared::Sample, b: &edgewatch_shared::Sample| {
            Span::of(a.time, arrival) == Span::of(b.time, arrival)
        };
        for of_one in samples.chunk_by(is_one) {
            let Some(first) = of_one.first() else { continue };
            let found = SeriesSamples { series: series.clone(), samples: of_one.to_vec() };
            spans.entry(Span::of(first.time, arrival)).or_default().push(found);
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{Labels, Sample, Series};

    #[test]
    fn what_lies_near_the_hour_of_arrival_is_filed_under_it_and_what_is_late_under_its_day() {
        let arrival = Hour(101);
        let (start, end) = (arrival.start().0, arrival.end().0);
        let day = arrival.start().day();
        let of = |ms| Span::of(TimestampMs(ms), arrival);
        assert_eq!(of(start - SPILL_MS - 1), Span::Day(day));
        assert_eq!(of(start - SPILL_MS), Span::Hour(arrival));
        assert_eq!(of(end + SAMPLE_AHEAD_MS_MAX - 1), Span::Hour(arrival));
        assert_eq!(of(end + SAMPLE_AHEAD_MS_MAX), Span::Day(day));
    }

    #[test]
    fn no_block_lies_in_two_days() {
        let (first, last) = (Hour(96), Hour(119));
        let of = |ms: i64, arrival| Span::of(TimestampMs(ms), arrival);
        assert_eq!(of(first.start().0 - 1, first), Span::Day(Day(3)));
        assert_eq!(of(first.start().0, first), Span::Hour(first));
        assert_eq!(of(last.end().0 - 1, last), Span::Hour(last));
        assert_eq!(of(last.end().0, last), Span::Day(Day(5)));
    }

    #[test]
    fn samples_of_a_series_are_cut_by_span_and_none_is_lost() {
        let arrival = Hour(101);
        let start = arrival.start().0;
        let times = [start - 24 * 3_600_000, start - SPILL_MS - 1, start - 1, start, arrival.end().0 + 1];
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let samples = times.iter().map(|ms| Sample { time: TimestampMs(*ms), value: 1.0 }).collect();
        let mut head = HostHead::default();
        head.insert(vec![SeriesSamples { series, samples }]);
        let spans = by_span(head, arrival);
        let counts: Vec<_> = spans.iter().map(|(span, series)| (*span, series[0].samples.len())).collect();
        let day = arrival.start().day();
        assert_eq!(counts, [(Span::Hour(arrival), 3), (Span::Day(Day(day.0 - 1)), 1), (Span::Day(day), 1)]);
    }

    #[test]
    fn however_many_days_are_late_no_more_is_in_memory_than_two_blocks_and_none_is_closed_small() {
        let arrival = Hour(101);
        let mut seal = Seal {
            shard: 0,
            partition: arrival,
            seqs: (1, 9),
            pushes: VecDeque::new(),
            writers: BTreeMap::new(),
            parts: BTreeMap::new(),
            pending: VecDeque::new(),
            stored: Vec::new(),
            newest: NewestByHost::new(),
            record_places: RecordPlaces::default(),
            records: RecordsByHost::new(),
            seen: BTreeMap::new(),
            met: Vec::new(),
            set_aside: Vec::new(),
        };
        let deflater = &mut Deflater::default();
        let mut state: u64 = 1;
        let mut noise = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64
        };
        let day_ms = 86_400_000;
        for days in (0..8).rev().flat_map(|days| [days; 3]) {
            let start = arrival.start().0 - days * day_ms;
            let samples =
                (0..25_000).map(|n| Sample { time: TimestampMs(start - n * 10 - 200_000), value: noise() });
            let mut samples: Vec<_> = samples.collect();
            samples.reverse();
            let series = Series { name: "load_1m".into(), labels: Labels::new() };
            let mut head = HostHead::default();
            head.insert(vec![SeriesSamples { series, samples }]);
            seal.write(HostId::new(0, [1; 14]), head, deflater).unwrap();
            seal.make_room(deflater).unwrap();
            let open: usize = seal.writers.values().map(BlockWriter::open_bytes).sum();
            assert!(open <= OPEN_BYTES_MAX, "{open} bytes are open");
        }
        let closed: Vec<usize> = seal.pending.iter().map(|(_, bytes)| bytes.len()).collect();
        assert!(!closed.is_empty() && closed.iter().all(|bytes| *bytes > OPEN_BYTES_MAX / 16), "{closed:?}");
    }
}
