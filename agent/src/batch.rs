//! A frozen batch: the bytes of one push, the same at every try.
//!
//! Queued batches are compressed, so that an hour without a server costs kilobytes.

use edgewatch_shared::{
    limits::BODY_DECOMPRESSED_BYTES_MAX,
    wire::{MetricsBody, WireTime},
};
use zstd::bulk::Decompressor;

/// zstd's own default: past it, a body of a few kilobytes hardly shrinks further.
const COMPRESSION_LEVEL: i32 = 3;

/// Why a batch cannot be frozen or thawed. Each is a fault of ours, not of the input.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The body does not become JSON, or is none.
    #[error("the batch is no JSON")]
    Json(#[from] serde_json::Error),
    /// zstd failed.
    #[error("the batch cannot be compressed or decompressed")]
    Zstd(#[from] std::io::Error),
}

/// One push, frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    compressed: Vec<u8>,
    sample_count: usize,
    has_facts: bool,
    clock_offset_ms: i64,
}

impl Batch {
    /// Freezes a body whose samples were stamped by a clock of this offset.
    pub fn freeze(body: &MetricsBody, clock_offset_ms: i64) -> Result<Self, BatchError> {
        let json = serde_json::to_vec(body)?;
        Ok(Self {
            compressed: zstd::bulk::compress(&json, COMPRESSION_LEVEL)?,
            sample_count: body.metrics.len(),
            has_facts: body.facts.is_some(),
            clock_offset_ms,
        })
    }

    /// The body again.
    pub fn thaw(&self) -> Result<MetricsBody, BatchError> {
        let json = Decompressor::new()?.decompress(&self.compressed, BODY_DECOMPRESSED_BYTES_MAX)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// What is sent: zstd around JSON.
    pub fn compressed(&self) -> &[u8] {
        &self.compressed
    }

    /// How many samples it has.
    pub fn sample_count(&self) -> usize {
        self.sample_count
    }

    /// Whether it tells the host's facts.
    pub fn has_facts(&self) -> bool {
        self.has_facts
    }

    /// The offset of the clock that stamped its samples.
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms
    }

    /// The first and the second half of its samples; the facts stay with the first. `None` if there is but one sample.
    pub fn halves(&self) -> Result<Option<[Self; 2]>, BatchError> {
        if self.sample_count < 2 {
            return Ok(None);
        }
        let mut first = self.thaw()?;
        let second = MetricsBody {
            host: first.host.clone(),
            facts: None,
            metrics: first.metrics.split_off(self.sample_count / 2),
        };
        let freeze = |body| Self::freeze(body, self.clock_offset_ms);
        Ok(Some([freeze(&first)?, freeze(&second)?]))
    }

    /// The batch as a clock of another offset would have stamped it.
    pub fn restamped(&self, clock_offset_ms: i64) -> Result<Self, BatchError> {
        let shift_ms = clock_offset_ms.saturating_sub(self.clock_offset_ms);
        let mut body = self.thaw()?;
        for sample in &mut body.metrics {
            sample.time = WireTime(sample.time.0.plus_ms(shift_ms));
        }
        Self::freeze(&body, clock_offset_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{
        TimestampMs,
        wire::{Facts, MetricSample},
    };

    fn body(sample_count: i64) -> MetricsBody {
        let sample = |n| MetricSample {
            time: WireTime(TimestampMs(n)),
            host: None,
            name: "load_1m".into(),
            value: 0.5,
            labels: None,
        };
        MetricsBody {
            host: Some("web-01".into()),
            facts: Some(Facts::default()),
            metrics: (0..sample_count).map(sample).collect(),
        }
    }

    fn frozen(sample_count: i64) -> Batch {
        Batch::freeze(&body(sample_count), 100).unwrap()
    }

    #[test]
    fn a_frozen_body_thaws_as_it_was() {
        assert_eq!(frozen(5).thaw().unwrap(), body(5));
        assert_eq!((frozen(5).sample_count(), frozen(5).has_facts()), (5, true));
    }

    #[test]
    fn halves_have_all_samples_in_order_and_the_facts_once() {
        let [first, second] = frozen(5).halves().unwrap().unwrap();
        let (first, second) = (first.thaw().unwrap(), second.thaw().unwrap());
        assert_eq!((first.metrics.len(), second.metrics.len()), (2, 3));
        assert_eq!([first.metrics, second.metrics].concat(), body(5).metrics);
        assert_eq!((first.facts.is_some(), second.facts.is_some()), (true, false));
        assert_eq!((first.host, second.host), (body(0).host, body(0).host));
    }

    #[test]
    fn one_sample_has_no_halves() {
        assert_eq!(frozen(1).halves().unwrap(), None);
        assert!(frozen(2).halves().unwrap().is_some());
    }

    #[test]
    fn restamping_moves_every_sample_by_what_the_clock_was_off() {
        let moved = frozen(3).restamped(-900).unwrap();
        let times: Vec<i64> = moved.thaw().unwrap().metrics.iter().map(|s| s.time.0.0).collect();
        assert_eq!(times, [-1_000, -999, -998]);
        assert_eq!(moved.clock_offset_ms(), -900);
        assert_eq!(moved.restamped(100).unwrap(), frozen(3));
    }
}
