//! Compact pushes, as our own agent sends them: a stream of numbered readings under a series list.

use crate::client::{Client, Request};
use edgewatch_shared::{
    Labels, Sample, Series, TimestampMs,
    token::Scope,
    wire::{
        EnrollReply, PushReply,
        push::{
            DictionaryId, MEDIA_TYPE, MetricsSection, PushFrame, ReadingRange, StreamId, encode,
            encode_columns, encode_series,
        },
    },
};

/// Where compact pushes go.
pub const COMPACT_PATH: &str = "/api/v1/push";

/// Between two readings.
const STEP_MS: i64 = 10_000;

/// A sender's stream. Reading n, counted from 1, is taken 10 s after the one before, and every series of it has the value n.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Its number.
    pub stream: u64,
    /// What is told of the oldest reading that is still held.
    pub floor: u64,
    /// The names of its series.
    pub names: Vec<&'static str>,
    /// When reading 1 was taken.
    pub start: TimestampMs,
}

impl Readings {
    /// A stream that begins at `start`.
    pub fn new(stream: u64, names: &[&'static str], start: TimestampMs) -> Self {
        Self { stream, floor: 1, names: names.to_vec(), start }
    }

    /// When a reading was taken.
    pub fn time(&self, reading: u64) -> TimestampMs {
        let steps = i64::try_from(reading).expect("a test has few readings") - 1;
        self.start.plus_ms(steps * STEP_MS)
    }

    /// A push of readings, with the series list.
    pub fn frame(&self, first: u64, last: u64) -> PushFrame {
        let mut series: Vec<Series> = self
            .names
            .iter()
            .map(|name| Series { name: (*name).to_owned(), labels: Labels::new() })
            .collect();
        series.sort();
        let samples = (first..=last).map(|n| Sample { time: self.time(n), value: n as f64 });
        let columns = vec![samples.collect(); series.len()];
        let metrics = MetricsSection {
            dictionary: DictionaryId::of(&encode_series(&series)),
            series: Some(series),
            columns: encode_columns(&columns),
        };
        PushFrame {
            stream: StreamId(self.stream),
            floor: self.floor.min(first),
            readings: ReadingRange { first, last },
            host: None,
            facts: None,
            metrics: Some(metrics),
            processes: None,
        }
    }

    /// The same push without the list.
    pub fn listless(&self, first: u64, last: u64) -> PushFrame {
        without_list(self.frame(first, last))
    }
}

/// A push without its series list.
pub fn without_list(mut frame: PushFrame) -> PushFrame {
    frame.metrics.as_mut().expect("it has samples").series = None;
    frame
}

/// The body of a compact push.
pub fn compact_body(frame: &PushFrame) -> Vec<u8> {
    zstd::bulk::compress(&encode(frame), 3).expect("zstd compresses what is in memory")
}

impl Client {
    /// An enrolled host's compact push, not sent yet.
    pub fn compact_request(&self, host: &EnrollReply, frame: &PushFrame) -> Request {
        let token = self.mint().of_host(host.host_id, self.now());
        compact_request(frame).with_token(&token)
    }

    /// A compact push with a static token, of the host that the frame names, not sent yet.
    pub fn compact_request_by_name(&self, frame: &PushFrame) -> Request {
        compact_request(frame).with_token(&self.mint().scoped(Scope::Push))
    }

    /// Pushes compactly as an enrolled host; returns samples ingested, repeated and refused.
    #[track_caller]
    pub fn push_compact(&self, host: &EnrollReply, frame: &PushFrame) -> (u64, u64, u64) {
        let reply: PushReply = self.send(self.compact_request(host, frame)).expect(202).json();
        (reply.ingested, reply.duplicate, reply.refused)
    }
}

fn compact_request(frame: &PushFrame) -> Request {
    Request::post(COMPACT_PATH, compact_body(frame)).with_header("Content-Type", MEDIA_TYPE)
}
