//! What a compaction writes: blocks of three resolutions, closed together between two hosts.

use super::Plan;
use crate::{
    block::{BlockError, BlockWriter, Built},
    block_index::BlockEntry,
    compression::Deflater,
    rollup::Resolution,
};
use edgewatch_shared::{HostId, series::SeriesSamples};
use std::collections::VecDeque;

/// Once blocks of a resolution have so many bytes, all are closed and recorded: what is lost by a cut is bounded.
const CHECKPOINT_BYTES: usize = 2_000_000;
/// Bytes of series that are collected for one chunk: of rollups that is a whole host.
const CHUNK_BYTES: usize = 800_000;

/// One resolution.
struct Lane {
    resolution: Resolution,
    writer: BlockWriter,
    collected: Vec<SeriesSamples>,
    collected_bytes: usize,
    closed_bytes: usize,
}

/// Blocks on their way.
pub(super) struct Output {
    plan: Plan,
    lanes: [Lane; 3],
    pending: VecDeque<(BlockEntry, Vec<u8>)>,
}

fn bytes_of(entry: &SeriesSamples) -> usize {
    let texts = entry.series.labels.iter().map(|(key, value)| key.len().saturating_add(value.len()));
    let text_bytes = texts.fold(entry.series.name.len(), usize::saturating_add);
    entry.samples.len().saturating_mul(16).saturating_add(text_bytes)
}

impl Output {
    pub(super) fn new(plan: Plan) -> Self {
        let lane = |resolution| Lane {
            resolution,
            writer: BlockWriter::new(resolution, plan.limits.block_bytes),
            collected: Vec::new(),
            collected_bytes: 0,
            closed_bytes: 0,
        };
        Self { plan, lanes: Resolution::ALL.map(lane), pending: VecDeque::new() }
    }

    /// Collects series of a host; what is enough for a chunk is written.
    pub(super) fn push(
        &mut self,
        host: HostId,
        resolution: Resolution,
        series: Vec<SeriesSamples>,
        deflater: &mut Deflater,
    ) -> Result<(), BlockError> {
        for lane in self.lanes.iter_mut().filter(|lane| lane.resolution == resolution) {
            for entry in &series {
                lane.collected_bytes = lane.collected_bytes.saturating_add(bytes_of(entry));
            }
            lane.collected.extend(series.iter().filter(|entry| !entry.samples.is_empty()).cloned());
            if lane.collected_bytes >= CHUNK_BYTES {
                lane.write(host, deflater)?;
            }
        }
        self.hand_out();
        Ok(())
    }

    /// Writes what is collected: the next series are of another pass or another host.
    pub(super) fn flush(&mut self, host: HostId, deflater: &mut Deflater) -> Result<(), BlockError> {
        for lane in &mut self.lanes {
            lane.write(host, deflater)?;
        }
        self.hand_out();
        Ok(())
    }

    /// Whether it is time to close and record.
    pub(super) fn is_full(&self) -> bool {
        let limit = CHECKPOINT_BYTES.min(self.plan.limits.block_bytes / 2);
        self.lanes.iter().any(|lane| lane.closed_bytes.saturating_add(lane.writer.open_bytes()) >= limit)
    }

    /// Closes one block; `false` if none is open.
    pub(super) fn close_one(&mut self, deflater: &mut Deflater) -> Result<bool, BlockError> {
        let bytes_max = self.plan.limits.block_bytes;
        for lane in &mut self.lanes {
            lane.closed_bytes = 0;
            if lane.writer.open_bytes() > 0 {
                let new = BlockWriter::new(lane.resolution, bytes_max);
                let closed = std::mem::replace(&mut lane.writer, new).finish(deflater)?;
                let pending = closed.into_iter().map(|built| named(self.plan, built));
                self.pending.extend(pending);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next block that is to be stored.
    pub(super) fn pending(&mut self) -> Option<(BlockEntry, Vec<u8>)> {
        self.pending.pop_front()
    }

    fn hand_out(&mut self) {
        for lane in &mut self.lanes {
            for built in lane.writer.take_closed() {
                lane.closed_bytes = lane.closed_bytes.saturating_add(built.bytes.len());
                self.pending.push_back(named(self.plan, built));
            }
        }
    }
}

impl Lane {
    fn write(&mut self, host: HostId, deflater: &mut Deflater) -> Result<(), BlockError> {
        let mut series = std::mem::take(&mut self.collected);
        self.collected_bytes = 0;
        series.sort_by(|a, b| a.series.cmp(&b.series));
        self.writer.push(host, &series, deflater)
    }
}

/// `metrics/5m/00007/2026-11-21/240-1f2e3d4c5b6a7988.ewb`: the number is the rank.
fn named(plan: Plan, built: Built) -> (BlockEntry, Vec<u8>) {
    let key = format!(
        "metrics/{}/{:05}/{}/{}-{}.ewb",
        built.resolution.as_str(),
        plan.shard,
        plan.day.label(),
        plan.rank,
        built.checksum
    );
    let entry = BlockEntry { rank: plan.rank, ..BlockEntry::of(&built, key, None) };
    (entry, built.bytes)
}
