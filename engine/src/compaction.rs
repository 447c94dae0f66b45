//! Compaction: the raw blocks of a day become day blocks, raw and rolled up, host by host.
//!
//! A sans-IO state machine: [`Compaction::step`] does a bounded part of the work, or says what has to be read, stored or
//! recorded before it can go on. Its memory is bounded: indexes, some megabytes of chunks, one host's samples (of a
//! large host a share of its series at a time), and three open blocks.
//!
//! What it writes is complete for every host up to the last one that was recorded, so it can be cut anywhere and goes
//! on after that host. The same sources give the same blocks under the same names.

mod host;
mod output;
mod sources;

use crate::{
    block::BlockError,
    block_index::BlockEntry,
    compression::{Deflater, Inflater},
    head::ShardNumber,
    rollup::Resolution,
};
use edgewatch_shared::{HostId, time::Day};
use host::HostWork;
use output::Output;
pub use sources::SourceRange;
use sources::{Group, Role, Source, Sources};
use std::collections::VecDeque;

/// What has to happen before the next step.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Again,
    /// These bytes are needed: [`Compaction::given`].
    Read(Vec<SourceRange>),
    /// This block has to be stored: [`Compaction::stored`].
    Store(Box<BlockEntry>, Vec<u8>),
    /// These blocks are complete for all their hosts: they have to be recorded.
    Record(Vec<BlockEntry>),
    /// So are these, and all is done: they take the place of the sources.
    Finish(Vec<BlockEntry>),
}

/// Why a compaction cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactionError {
    /// A source is damaged.
    #[error("block {key}: {why}")]
    Damaged {
        /// The block's id.
        id: i64,
        /// Its name.
        key: String,
        /// What is wrong with it.
        why: BlockError,
    },
    /// A block could not be written.
    #[error("a block of the day could not be written: {0}")]
    Write(BlockError),
}

/// What a compaction may take at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a block that it writes.
    pub block_bytes: usize,
    /// Bytes of chunks that are read at once; at least one range.
    pub batch_bytes: u64,
    /// Bytes of decoded samples of one host; beyond, it is done in several passes, each for a share of its series.
    pub pass_bytes: usize,
}

impl Limits {
    /// With blocks of so many bytes.
    pub fn of_blocks(block_bytes: usize) -> Self {
        Self { block_bytes, batch_bytes: 4 << 20, pass_bytes: 16 << 20 }
    }
}

/// What a compaction is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whose blocks.
    pub shard: ShardNumber,
    /// Of which day.
    pub day: Day,
    /// The highest rank of its sources, and the rank of what it writes.
    pub rank: i64,
    /// Within what.
    pub limits: Limits,
    /// Everything of hosts up to this one is recorded already.
    pub after: Option<HostId>,
}

/// A day on its way.
pub struct Compaction {
    plan: Plan,
    sources: Sources,
    /// Hosts that are still to be done; `None` until all indexes are read.
    hosts: Option<VecDeque<HostId>>,
    group: Option<Group>,
    host: Option<HostWork>,
    output: Output,
    /// What was stored since blocks were last recorded.
    stored: Vec<BlockEntry>,
    is_closing: bool,
}

impl Compaction {
    /// Begins or goes on. `blocks` are those of the day, raw and rolled up; `before` are the hour rollups of the day
    /// before, which say what counters stood at.
    pub fn begin(plan: Plan, blocks: Vec<BlockEntry>, before: Vec<BlockEntry>) -> Self {
        let before = before.into_iter().map(|entry| Source::new(entry, Role::Before));
        let role = |entry: &BlockEntry| match entry.resolution {
            Resolution::Raw => Role::Raw,
            rolled_up => Role::RolledUp(rolled_up),
        };
        let blocks = blocks.into_iter().map(|entry| {
            let role = role(&entry);
            Source::new(entry, role)
        });
        Self {
            plan,
            sources: Sources::new(before.chain(blocks).collect()),
            hosts: None,
            group: None,
            host: None,
            output: Output::new(plan),
            stored: Vec::new(),
            is_closing: false,
        }
    }

    /// What it is of.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The blocks that what it writes takes the place of.
    pub fn replaced(&self) -> impl Iterator<Item = &BlockEntry> {
        self.sources.replaced()
    }

    /// Where a source lies.
    pub fn source(&self, range: &SourceRange) -> Option<&BlockEntry> {
        self.sources.entry(range.source)
    }

    /// Goes on.
    pub fn step(
        &mut self,
        inflater: &mut Inflater,
        deflater: &mut Deflater,
    ) -> Result<Step, CompactionError> {
        if let Some((entry, bytes)) = self.output.pending() {
            return Ok(Step::Store(Box::new(entry), bytes));
        }
        if self.is_closing {
            return self.close(deflater);
        }
        let Some(hosts) = &mut self.hosts else {
            let tails = self.sources.unread_tails();
            if tails.is_empty() {
                self.hosts = Some(self.sources.hosts_after(self.plan.after));
                return Ok(Step::Again);
            }
            return Ok(Step::Read(tails));
        };
        if let Some(host) = &mut self.host {
            let Some(group) = &mut self.group else { return Ok(Step::Again) };
            if let Some(batch) = host.needs(group) {
                return Ok(Step::Read(group.ranges(batch)));
            }
            if host.step(group, &self.sources, &mut self.output, inflater, deflater)? {
                self.host = None;
                self.is_closing = self.output.is_full();
            }
            return Ok(Step::Again);
        }
        if let Some(next) = self.group.as_mut().and_then(Group::next_host) {
            self.host = Some(HostWork::new(next, self.plan.limits.pass_bytes));
            return Ok(Step::Again);
        }
        self.group = self.sources.next_group(hosts, self.plan.limits.batch_bytes);
        self.is_closing = self.group.is_none();
        Ok(Step::Again)
    }

    /// Closes one open block after the other; then everything stored so far is complete.
    fn close(&mut self, deflater: &mut Deflater) -> Result<Step, CompactionError> {
        if self.output.close_one(deflater).map_err(CompactionError::Write)? {
            return Ok(Step::Again);
        }
        self.is_closing = false;
        let stored = std::mem::take(&mut self.stored);
        let is_over = self.group.is_none() && self.hosts.as_ref().is_some_and(VecDeque::is_empty);
        Ok(if is_over { Step::Finish(stored) } else { Step::Record(stored) })
    }

    /// What [`Step::Read`] asked for, in its order.
    pub fn given(
        &mut self,
        ranges: &[SourceRange],
        bytes: Vec<Vec<u8>>,
        inflater: &mut Inflater,
    ) -> Result<(), CompactionError> {
        match &mut self.group {
            Some(group) => group.load(ranges, bytes),
            None => self.sources.open(ranges, &bytes, inflater)?,
        }
        Ok(())
    }

    /// What [`Step::Store`] asked for is done: the entry has its id and place now.
    pub fn stored(&mut self, entry: BlockEntry) {
        self.stored.push(entry);
    }
}

#[cfg(test)]
mod tests;
