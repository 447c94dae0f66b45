//! A frozen batch: the samples of some readings, under the same identity and with the same columns at every try.

use edgewatch_shared::{
    Sample, Series, TimestampMs,
    limits::{BATCH_SAMPLES_MAX, HOST_SERIES_MAX},
    wire::{
        Facts,
        push::{
            self, DictionaryId, MetricsSection, Processes, PushError, PushFrame, ReadingRange, StreamId,
            decode_columns, encode_columns, encode_series,
        },
    },
};

/// Columns are as short as they get; it is the series list that a higher level than zstd's own default is for.
const COMPRESSION_LEVEL: i32 = 9;

/// Why a batch cannot be read, sent or split. None of it is the server's fault.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The frame or its columns do not read back.
    #[error("the batch cannot be read back: {0}")]
    Frame(#[from] PushError),
    /// Not as many instants as readings, or no samples at all.
    #[error("the batch cannot be read back: its instants are not those of its readings")]
    Shape,
    /// zstd failed.
    #[error("the batch cannot be compressed: {0}")]
    Zstd(#[from] std::io::Error),
}

/// A series list, encoded, and what it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesList {
    /// What it is known by.
    pub id: DictionaryId,
    /// As it travels.
    pub encoded: Vec<u8>,
}

impl SeriesList {
    /// The list of these series, which are sorted.
    pub fn of(series: &[Series]) -> Self {
        Self::encoded(encode_series(series))
    }

    /// A list that is encoded already.
    pub fn encoded(encoded: Vec<u8>) -> Self {
        Self { id: DictionaryId::of(&encoded), encoded }
    }
}

/// What a push says beside the samples of its batch.
#[derive(Debug, Default)]
pub struct Told<'a> {
    /// The oldest reading of the stream that is still held; no more than the batch's own.
    pub floor: u64,
    /// The host's name, where the token does not say it.
    pub host: Option<&'a str>,
    /// The host's facts, where they are news.
    pub facts: Option<Facts>,
    /// The series list, where the server may not have it.
    pub list: Option<&'a SeriesList>,
    /// Whether what a server may not know, and a push can do without, stays out: its record.
    pub is_bare: bool,
}

/// A push as it travels.
pub fn compressed(push: &[u8]) -> Result<Vec<u8>, BatchError> {
    Ok(zstd::bulk::compress(push, COMPRESSION_LEVEL)?)
}

/// One push, frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Whose numbering its readings are of.
    pub stream: StreamId,
    /// The readings in it, by their numbers in their stream.
    pub readings: ReadingRange,
    /// The host's name, where the token did not say it when the batch was frozen.
    pub host: Option<String>,
    /// The series that its columns are of.
    pub list: DictionaryId,
    /// How many samples it has.
    pub sample_count: usize,
    /// When its last reading was taken.
    pub newest: TimestampMs,
    /// The offset of the clock that stamped its samples; means something to the process that froze it only.
    pub clock_offset_ms: i64,
    /// The record of the host's processes, if it has one.
    pub processes: Option<Box<Processes>>,
    columns: Vec<u8>,
}

impl Batch {
    /// Freezes readings: a column for every series of the list, each in ascending order of time.
    pub fn freeze(
        stream: StreamId,
        readings: ReadingRange,
        host: Option<&str>,
        list: DictionaryId,
        columns: &[Vec<Sample>],
        clock_offset_ms: i64,
    ) -> Self {
        let newest = columns.iter().filter_map(|samples| Some(samples.last()?.time)).max();
        Self {
            stream,
            readings,
            host: host.map(str::to_owned),
            list,
            sample_count: columns.iter().map(Vec::len).sum(),
            newest: newest.unwrap_or_default(),
            clock_offset_ms,
            processes: None,
            columns: encode_columns(columns),
        }
    }

    /// The same with a record of the host's processes.
    #[must_use]
    pub fn with_processes(self, processes: Option<Processes>) -> Self {
        Self { processes: processes.map(Box::new), ..self }
    }

    /// What is sent.
    pub fn body(&self, told: Told<'_>) -> Result<Vec<u8>, BatchError> {
        compressed(&self.uncompressed(told)?)
    }

    /// What is sent, before it is compressed.
    pub fn uncompressed(&self, told: Told<'_>) -> Result<Vec<u8>, BatchError> {
        let series = told.list.map(|list| push::decode_series(&list.encoded)).transpose()?;
        let mut frame = self.frame(told.floor, told.host.map(str::to_owned), told.facts, series);
        frame.processes = frame.processes.filter(|_| !told.is_bare);
        Ok(push::encode(&frame))
    }

    fn frame(
        &self,
        floor: u64,
        host: Option<String>,
        facts: Option<Facts>,
        series: Option<Vec<Series>>,
    ) -> PushFrame {
        let metrics = MetricsSection { dictionary: self.list, series, columns: self.columns.clone() };
        let floor = floor.min(self.readings.first);
        PushFrame {
            stream: self.stream,
            floor,
            readings: self.readings,
            host,
            facts,
            metrics: Some(metrics),
            processes: self.processes.as_deref().cloned(),
        }
    }

    /// As it lies in the spool: three numbers, and the push without its list.
    pub fn to_bytes(&self) -> Vec<u8> {
        let samples = u32::try_from(self.sample_count).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.columns.len().saturating_add(100));
        bytes.extend(self.newest.0.to_le_bytes());
        bytes.extend(self.clock_offset_ms.to_le_bytes());
        bytes.extend(samples.to_le_bytes());
        bytes.extend(push::encode(&self.frame(self.readings.first, self.host.clone(), None, None)));
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BatchError> {
        let (newest, rest) = bytes.split_first_chunk().ok_or(BatchError::Shape)?;
        let (clock_offset_ms, rest) = rest.split_first_chunk().ok_or(BatchError::Shape)?;
        let (samples, frame) = rest.split_first_chunk().ok_or(BatchError::Shape)?;
        let PushFrame { stream, readings, host, metrics, processes, .. } = push::decode(frame)?;
        let metrics = metrics.ok_or(BatchError::Shape)?;
        Ok(Self {
            stream,
            readings,
            host,
            list: metrics.dictionary,
            sample_count: u32::from_le_bytes(*samples) as usize,
            newest: TimestampMs(i64::from_le_bytes(*newest)),
            clock_offset_ms: i64::from_le_bytes(*clock_offset_ms),
            processes: processes.map(Box::new),
            columns: metrics.columns,
        })
    }

    /// Some of its readings under their own numbers; itself, if these are all. The same readings always give the same bytes.
    pub fn part(&self, readings: ReadingRange) -> Result<Self, BatchError> {
        if readings == self.readings {
            return Ok(self.clone());
        }
        let mut columns = self.samples()?;
        let mut times: Vec<TimestampMs> = columns.iter().flatten().map(|sample| sample.time).collect();
        times.sort_unstable();
        times.dedup();
        let further = self.readings.last.saturating_sub(self.readings.first);
        if times.len() as u64 != further.saturating_add(1) {
            return Err(BatchError::Shape);
        }
        let time_of = |number: u64| {
            let at = usize::try_from(number.checked_sub(self.readings.first)?).ok()?;
            times.get(at).copied()
        };
        let (Some(first), Some(last)) = (time_of(readings.first), time_of(readings.last)) else {
            return Err(BatchError::Shape);
        };
        columns.iter_mut().for_each(|samples| samples.retain(|sample| (first..=last).contains(&sample.time)));
        // The record was made last.
        let processes = self.processes.as_deref().filter(|_| readings.last == self.readings.last);
        Ok(self.with_columns(readings, &columns, self.clock_offset_ms).with_processes(processes.cloned()))
    }

    /// The batch as a clock that is ahead by so much would have stamped it.
    pub fn moved(&self, by_ms: i64) -> Result<Self, BatchError> {
        if by_ms == 0 {
            return Ok(self.clone());
        }
        let mut columns = self.samples()?;
        for sample in columns.iter_mut().flatten() {
            sample.time = sample.time.plus_ms(by_ms);
        }
        let moved =
            |processes: &Processes| Processes { time: processes.time.plus_ms(by_ms), ..processes.clone() };
        let batch = self.with_columns(self.readings, &columns, self.clock_offset_ms.saturating_add(by_ms));
        Ok(batch.with_processes(self.processes.as_deref().map(moved)))
    }

    fn with_columns(&self, readings: ReadingRange, columns: &[Vec<Sample>], clock_offset_ms: i64) -> Self {
        Self::freeze(self.stream, readings, self.host.as_deref(), self.list, columns, clock_offset_ms)
    }

    /// The samples again, in the order of the series list.
    fn samples(&self) -> Result<Vec<Vec<Sample>>, BatchError> {
        Ok(decode_columns(&self.columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use edgewatch_shared::{limits::BODY_DECOMPRESSED_BYTES_MAX, series::Labels};
    use zstd::bulk::Decompressor;

    /// The frame that a body is.
    pub fn read(body: &[u8]) -> PushFrame {
        let frame = Decompressor::new().unwrap().decompress(body, BODY_DECOMPRESSED_BYTES_MAX).unwrap();
        push::decode(&frame).unwrap()
    }

    /// The list of two series that the batches of tests have.
    pub fn list() -> SeriesList {
        let series = |name: &str| Series { name: name.to_owned(), labels: Labels::new() };
        SeriesList::of(&[series("load_1m"), series("load_5m")])
    }

    /// A batch of a stream's readings with these numbers, each a second after the last.
    pub fn batch(stream: u64, numbers: std::ops::RangeInclusive<u64>) -> Batch {
        let sample =
            |number: u64| Sample { time: TimestampMs(number as i64 * 1_000), value: number as f64 / 2.0 };
        // The second series is missing now and then.
        let columns = [
            numbers.clone().map(sample).collect(),
            numbers.clone().filter(|n| n % 2 == 0).map(sample).collect(),
        ];
        let readings = ReadingRange { first: *numbers.start(), last: *numbers.end() };
        Batch::freeze(StreamId(stream), readings, Some("web-01"), list().id, &columns, 100)
    }

    fn decoded(batch: &Batch) -> Vec<Vec<(i64, f64)>> {
        let of = |samples: &Vec<Sample>| samples.iter().map(|s| (s.time.0, s.value)).collect();
        batch.samples().unwrap().iter().map(of).collect()
    }

    #[test]
    fn a_batch_says_who_it_is_with_and_without_its_list() {
        let batch = batch(7, 3..=7);
        let list = list();
        let [with, without] = [Some(&list), None].map(|list| {
            let facts = Some(Facts::default());
            read(&batch.body(Told { floor: 2, host: Some("web-02"), facts, list, is_bare: false }).unwrap())
        });
        assert_eq!((with.stream, with.floor, with.readings), (StreamId(7), 2, batch.readings));
        assert_eq!((with.host.as_deref(), with.facts.is_some()), (Some("web-02"), true));
        let (with, without) = (with.metrics.unwrap(), without.metrics.unwrap());
        assert_eq!((with.checksum(), &with.columns), (without.checksum(), &without.columns));
        let names: Vec<String> = with.series.unwrap().into_iter().map(|series| series.name).collect();
        assert_eq!((names, without.series), (vec!["load_1m".to_owned(), "load_5m".to_owned()], None));
        assert_eq!((batch.sample_count, batch.newest), (7, TimestampMs(7_000)));
        let beyond = Told { floor: 9, ..Told::default() };
        assert_eq!(read(&batch.body(beyond).unwrap()).floor, 3, "no floor lies above the batch");
    }

    #[test]
    fn a_batch_reads_back_from_its_bytes_and_cut_bytes_are_none() {
        let batch = batch(7, 3..=7);
        let bytes = batch.to_bytes();
        assert_eq!(Batch::from_bytes(&bytes).unwrap(), batch);
        for end in 0..20 {
            assert!(Batch::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn parts_have_all_readings_under_their_numbers_and_always_the_same_bytes() {
        let whole = batch(7, 3..=7);
        let part = |first, last| whole.part(ReadingRange { first, last }).unwrap();
        let (first, second) = (part(3, 4), part(5, 7));
        assert_eq!(decoded(&first), [vec![(3_000, 1.5), (4_000, 2.0)], vec![(4_000, 2.0)]]);
        assert_eq!(decoded(&second)[1], [(6_000, 3.0)]);
        assert_eq!((first.sample_count, second.sample_count), (3, 4));
        assert_eq!((first.newest, first.list), (TimestampMs(4_000), whole.list));
        assert_eq!(part(3, 7), whole);
        assert_eq!(second.part(ReadingRange { first: 6, last: 6 }).unwrap(), part(6, 6));
        assert!(whole.part(ReadingRange { first: 2, last: 4 }).is_err());
        assert!(whole.part(ReadingRange { first: 5, last: 8 }).is_err());
    }

    #[test]
    fn moving_a_batch_moves_every_sample() {
        let moved = batch(7, 3..=4).moved(-1_000).unwrap();
        assert_eq!(decoded(&moved), [vec![(2_000, 1.5), (3_000, 2.0)], vec![(3_000, 2.0)]]);
        assert_eq!((moved.clock_offset_ms, moved.readings), (-900, batch(7, 3..=4).readings));
        assert_eq!(moved.newest, TimestampMs(3_000));
        assert_eq!(moved.moved(1_000).unwrap(), batch(7, 3..=4));
    }

    #[test]
    fn a_record_goes_with_its_batch_and_with_the_last_part_and_stays_out_where_it_is_not_known() {
        let record = Processes { time: TimestampMs(7_500), count: 3, ..Processes::default() };
        let whole = batch(7, 3..=7).with_processes(Some(record.clone()));
        assert_eq!(Batch::from_bytes(&whole.to_bytes()).unwrap(), whole);
        let sent = |is_bare| read(&whole.body(Told { floor: 3, is_bare, ..Told::default() }).unwrap());
        assert_eq!((sent(false).processes, sent(true).processes), (Some(record.clone()), None));
        assert_eq!(sent(false).metrics, sent(true).metrics);
        let part =
            |first, last| whole.part(ReadingRange { first, last }).unwrap().processes.map(|record| *record);
        assert_eq!((part(3, 5), part(6, 7), part(3, 7)), (None, Some(record.clone()), Some(record)));
        let moved = whole.moved(-500).unwrap().processes;
        assert_eq!(moved.map(|record| record.time), Some(TimestampMs(7_000)));
    }
}
