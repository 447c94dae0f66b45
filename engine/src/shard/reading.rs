//! What a shard holds of what a query asks for: samples of its log and its own blocks, evaluated where nobody else has
//! any of the same time, and the names of the objects that hold the rest.

use super::{Instance, Shard};
use crate::{
    block_index::{self, BlockEntry, Place},
    call::{LOG_RANK, Part, Read, ReadReply, ShardError},
    counters::Counter,
    head::HostHead,
    moves::Whereabouts,
    planner::{DayStock, resolution_of_day},
    query::{Evaluation, Merger, TooManySamples, partial, read_block, select},
    rollup::Resolution,
    series_registry::{self, SeriesSpan, merged_spans},
    sql::Sql,
};
use edgewatch_shared::{
    HostId,
    limits::{QUERY_LOCAL_BLOCKS_MAX, QUERY_SAMPLES_MAX},
    series::SeriesSamples,
    time::Day,
};
use std::{collections::BTreeMap, ops::ControlFlow};

impl<S: Sql> Shard<S> {
    /// Everything of one instant.
    pub(super) fn read(&mut self, read: &Read, instance: &mut Instance) -> Result<ReadReply, ShardError> {
        let known = self.complaints.len();
        let mut found = Found::default();
        for host in &read.hosts {
            let series = self.read_log(*host, read, instance)?;
            found.add(Part { rank: LOG_RANK, host: *host, series })?;
        }
        let (blocks, resolution) = self.blocks(read, &found.parts)?;
        let (objects, local): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.place == Place::R2);
        if local.len() > QUERY_LOCAL_BLOCKS_MAX {
            return Err(ShardError::TooManyBlocks(local.len() as u64));
        }
        let mut reply = ReadReply { objects, resolution, ..ReadReply::default() };
        for block in local {
            let found_here = self.read_local(&block, read, instance);
            if let Err(ShardError::Corrupt(_)) = found_here {
                self.ledger.counters.add(Counter::CorruptBlocks, 1);
            }
            match found_here {
                Ok(parts) => parts.into_iter().try_for_each(|part| found.add(part))?,
                Err(ShardError::Corrupt(why)) if read.is_partial => reply.warnings.push(why),
                Err(error) => return Err(error),
            }
        }
        reply.warnings.extend(self.complaints.iter().skip(known).cloned());
        for host in &read.hosts {
            let others = self.moves.get(*host).map(Whereabouts::others).unwrap_or_default();
            let others = others.into_iter().filter(|shard| *shard != self.number);
            reply.elsewhere.extend(others.map(|shard| (shard, *host)));
        }
        let Some(evaluation) = &read.evaluation else {
            return Ok(ReadReply { parts: found.parts, ..reply });
        };
        // Of a host that was moved, other shards may have samples of the same time.
        let is_moved = |part: &Part| self.moves.get(part.host).is_some();
        let (moved, settled): (Vec<_>, Vec<_>) = found.parts.into_iter().partition(is_moved);
        let mut merger = Merger::default();
        settled.into_iter().try_for_each(|part| merger.add(part))?;
        let elsewhere: Vec<_> = reply.objects.iter().map(|object| (object.min, object.max)).collect();
        let (evaluated, mut parts) = partial(merger, evaluation, &elsewhere);
        parts.extend(moved);
        Ok(ReadReply { parts, evaluated, ..reply })
    }

    /// The blocks that a read needs, day by day of the resolution that answers it, and the coarsest of them. `in_log`
    /// is what the log has.
    fn blocks(&self, read: &Read, in_log: &[Part]) -> Result<(Vec<BlockEntry>, Resolution), ShardError> {
        let mut blocks = Vec::new();
        let is_evaluated = read.evaluation.is_some();
        for resolution in Resolution::ALL.into_iter().filter(|one| *one == Resolution::Raw || is_evaluated) {
            blocks.extend(block_index::overlapping(&self.sql, resolution, read.from, read.to)?);
        }
        blocks.retain(|block| block.may_hold(&read.hosts));
        let Some(evaluation) = &read.evaluation else { return Ok((blocks, Resolution::Raw)) };
        // Of a host that was moved, another shard may have samples of the same rollup.
        let is_moved = read.hosts.iter().any(|host| self.moves.get(*host).is_some());
        let coarsest = if is_moved { Resolution::Raw } else { evaluation.coarsest };
        let stocks = stocks(&blocks, in_log, evaluation);
        let mut used = Resolution::Raw;
        blocks.retain(|block| {
            let stock = stocks.get(&block.day()).copied().unwrap_or_default();
            let is_chosen = block.resolution == resolution_of_day(coarsest, &stock);
            let is_loose = block.resolution == Resolution::Raw && block.part_of.is_some();
            if is_chosen {
                used = used.max(block.resolution);
            }
            is_chosen || is_loose
        });
        Ok((blocks, used))
    }

    /// The series that a read asks for: those of sealed samples, and those of the log.
    pub(super) fn series(
        &mut self,
        read: &Read,
        instance: &mut Instance,
    ) -> Result<Vec<(HostId, SeriesSpan)>, ShardError> {
        let mut found = Vec::new();
        for host in &read.hosts {
            let sealed = series_registry::of_host(&self.sql, *host, &mut instance.inflater)?;
            let in_log = self.read_log(*host, read, instance)?.into_iter().filter_map(|entry| {
                let (first, last) = (entry.samples.first()?.time.hour(), entry.samples.last()?.time.hour());
                Some(SeriesSpan { series: entry.series, first, last })
            });
            let wanted = sealed.into_iter().filter(|span| read.wants(&span.series));
            found.extend(merged_spans(wanted.chain(in_log)).into_iter().map(|span| (*host, span)));
        }
        Ok(found)
    }

    fn read_local(
        &self,
        block: &BlockEntry,
        read: &Read,
        instance: &mut Instance,
    ) -> Result<Vec<Part>, ShardError> {
        let bytes = block_index::local_data(&self.sql, block.id)?;
        let bytes = bytes.ok_or_else(|| ShardError::Corrupt(format!("block {} is gone", block.key)))?;
        read_block(&bytes, block.rank, read, &mut instance.inflater)
            .map_err(|error| ShardError::Corrupt(format!("block {}: {error}", block.key)))
    }

    /// What the log has: out of the head, which is built if it fits, else piece by piece. What does not decode is passed over.
    fn read_log(
        &mut self,
        host: HostId,
        read: &Read,
        instance: &mut Instance,
    ) -> Result<Vec<SeriesSamples>, ShardError> {
        if let Some(head) = instance.heads.get(self.number, host) {
            return Ok(head.select(read));
        }
        let bytes_max = instance.heads.bytes_max();
        let (mut decoding, _) = instance.decoding();
        let mut head = HostHead::default();
        let unreadable = self.wal.for_each_of_host(&self.sql, host, &mut decoding, &mut |samples| {
            head.insert(samples);
            if head.bytes() > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.complaints.extend(unreadable.iter().map(ToString::to_string));
        if head.bytes() <= bytes_max {
            let found = head.select(read);
            instance.heads.keep(self.number, host, head);
            return Ok(found);
        }
        let mut found = HostHead::default();
        self.wal.for_each_of_host(&self.sql, host, &mut decoding, &mut |samples| {
            found.insert(select(samples, read));
            if found.bytes() > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.bytes() > bytes_max {
            return Err(TooManySamples.into());
        }
        Ok(found.select(read))
    }
}

/// What there is of each day.
fn stocks(blocks: &[BlockEntry], in_log: &[Part], evaluation: &Evaluation) -> BTreeMap<Day, DayStock> {
    let mut stocks: BTreeMap<Day, DayStock> = BTreeMap::new();
    for block in blocks {
        let stock = stocks.entry(block.day()).or_default();
        match block.resolution {
            Resolution::Raw if block.part_of.is_some() => stock.loose = true,
            Resolution::Raw => stock.compacted = true,
            Resolution::FiveMinutes => stock.five_minutes = true,
            Resolution::Hour => stock.hours = true,
        }
    }
    for sample in in_log.iter().flat_map(|part| &part.series).flat_map(|entry| &entry.samples) {
        if let Some(stock) = stocks.get_mut(&sample.time.day()) {
            stock.loose = true;
        }
    }
    let step_ms = evaluation.coarsest.step_ms().unwrap_or(1);
    for end in [evaluation.from, evaluation.to.plus_ms(1)] {
        if let Some(stock) = stocks.get_mut(&end.day()).filter(|_| end.0.rem_euclid(step_ms) != 0) {
            stock.is_cut = true;
        }
    }
    stocks
}

/// Parts, bounded by their samples.
#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    samples: usize,
}

impl Found {
    fn add(&mut self, part: Part) -> Result<(), TooManySamples> {
        let count = part.series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add);
        self.samples = self.samples.saturating_add(count);
        if self.samples > QUERY_SAMPLES_MAX {
            return Err(TooManySamples);
        }
        if count > 0 {
            self.parts.push(part);
        }
        Ok(())
    }
}

impl From<TooManySamples> for ShardError {
    fn from(TooManySamples: TooManySamples) -> Self {
        Self::TooManySamples(QUERY_SAMPLES_MAX as u64)
    }
}
