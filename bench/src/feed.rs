//! What hosts send in a measurement: the agent's recorded readings, over and over, each host from another place in them.

use crate::recording::Recording;
use anyhow::{Result, ensure};
use edgewatch_shared::{
    Sample, Series, TimestampMs,
    series::SeriesSamples,
    wire::push::{
        DictionaryId, MetricsSection, PushFrame, ReadingRange, StreamId, encode, encode_columns,
        encode_series,
    },
};

/// Between two readings.
pub const STEP_MS: i64 = 10_000;
/// Readings a push: a minute's.
pub const READINGS: u64 = 6;
/// As the agent compresses.
const ZSTD_LEVEL: i32 = 9;
/// Recorded rounds by which one host is ahead of the one before.
const HOST_AHEAD: u64 = 7;

/// Series with the values they had.
#[derive(Clone, Debug)]
pub struct Feed {
    series: Vec<Series>,
    dictionary: DictionaryId,
    values: Vec<Vec<f64>>,
}

/// Whose readings, and when the first of them was taken.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The host's number.
    pub host: u64,
    /// Its first reading's time.
    pub start: TimestampMs,
}

impl Sender {
    /// The host as it has to begin for the last reading of its `number`-th push to be taken at `end`.
    pub fn whose_push_ends(host: u64, number: u64, end: TimestampMs) -> Self {
        let from_zero = Self { host, start: TimestampMs(0) };
        Self { host, start: end.plus_ms(-Feed::time(from_zero, number).0) }
    }
}

impl Feed {
    /// `count` series of the agent's recording, picked evenly.
    pub fn of_agent(count: usize) -> Result<Self> {
        let recording = Recording::of_agent()?;
        let all = recording.series.len();
        ensure!(count <= all, "the recording has {all} series, {count} are asked for");
        let picked: Vec<SeriesSamples> =
            (0..count).filter_map(|at| recording.series.get(at * all / count).cloned()).collect();
        let series: Vec<Series> = picked.iter().map(|picked| picked.series.clone()).collect();
        let values = picked.iter().map(|picked| picked.samples.iter().map(|sample| sample.value).collect());
        Ok(Self { dictionary: DictionaryId::of(&encode_series(&series)), series, values: values.collect() })
    }

    /// The name of its first series.
    pub fn name(&self) -> &str {
        self.series.first().map_or("", |series| series.name.as_str())
    }

    /// The readings of the `number`-th push, counted from 0.
    fn readings(number: u64) -> ReadingRange {
        ReadingRange { first: number * READINGS + 1, last: (number + 1) * READINGS }
    }

    /// When the last reading of the `number`-th push was taken.
    pub fn time(sender: Sender, number: u64) -> TimestampMs {
        time_of(sender, Self::readings(number).last)
    }

    /// How many samples a push has.
    pub fn samples_per_push(&self) -> u64 {
        self.series.len() as u64 * READINGS
    }

    /// The samples of the `number`-th push, one list a series.
    fn columns(&self, sender: Sender, number: u64) -> Vec<Vec<Sample>> {
        let ReadingRange { first, last } = Self::readings(number);
        let column = |values: &Vec<f64>| {
            let value = |reading: u64| {
                let at = (reading + sender.host * HOST_AHEAD) % values.len().max(1) as u64;
                values.get(usize::try_from(at).unwrap_or_default()).copied().unwrap_or_default()
            };
            (first..=last)
                .map(|reading| Sample { time: time_of(sender, reading), value: value(reading) })
                .collect()
        };
        self.values.iter().map(column).collect()
    }

    /// The same with the series.
    pub fn samples(&self, sender: Sender, number: u64) -> Vec<SeriesSamples> {
        let columns = self.columns(sender, number).into_iter();
        let series = self.series.iter().cloned();
        series.zip(columns).map(|(series, samples)| SeriesSamples { series, samples }).collect()
    }

    /// A push as the agent sends it: the series list travels with the first one only.
    pub fn body(&self, sender: Sender, number: u64) -> Result<Vec<u8>> {
        let readings = Self::readings(number);
        let frame = PushFrame {
            stream: StreamId(sender.host + 1),
            floor: readings.first,
            readings,
            host: None,
            facts: None,
            metrics: Some(MetricsSection {
                dictionary: self.dictionary,
                series: (number == 0).then(|| self.series.clone()),
                columns: encode_columns(&self.columns(sender, number)),
            }),
            processes: None,
        };
        Ok(zstd::bulk::compress(&encode(&frame), ZSTD_LEVEL)?)
    }
}

fn time_of(sender: Sender, reading: u64) -> TimestampMs {
    let steps = i64::try_from(reading).unwrap_or(i64::MAX).saturating_sub(1);
    sender.start.plus_ms(steps.saturating_mul(STEP_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_engine::compression::Inflater;
    use edgewatch_shared::{
        limits::BODY_DECOMPRESSED_BYTES_MAX,
        wire::push::{decode, decode_columns},
    };

    #[test]
    fn pushes_follow_each_other_without_gap_and_differ_by_host() {
        let feed = Feed::of_agent(40).unwrap();
        let (a, b) = (Sender { host: 0, start: TimestampMs(0) }, Sender { host: 1, start: TimestampMs(0) });
        let times = |number| feed.samples(a, number)[0].samples.iter().map(|s| s.time.0).collect::<Vec<_>>();
        assert_eq!(times(0), [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
        assert_eq!(times(1)[0], 60_000);
        assert_ne!(feed.samples(a, 3), feed.samples(b, 3));
        let mut inflater = Inflater::default();
        let body = feed.body(b, 1).unwrap();
        let frame = decode(inflater.inflate(&body, BODY_DECOMPRESSED_BYTES_MAX).unwrap()).unwrap();
        assert_eq!((frame.floor, frame.readings), (7, ReadingRange { first: 7, last: 12 }));
        let metrics = frame.metrics.unwrap();
        assert_eq!(metrics.series, None);
        let columns = decode_columns(&metrics.columns, 40, 240).unwrap();
        assert_eq!(columns.iter().map(Vec::len).sum::<usize>() as u64, feed.samples_per_push());
    }
}
