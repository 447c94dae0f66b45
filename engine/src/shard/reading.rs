//! What a shard holds of what a query asks for: samples of its log and its own blocks, evaluated where nobody else has
//! any of the same time, and the names of the objects that hold the rest.

use super::{Instance, Shard};
use crate::{
    block_index::{self, BlockEntry, Place},
    call::{LOG_RANK, Part, Read, ReadReply, SeriesReply, ShardError},
    counters::Counter,
    head::{HostHead, ShardNumber},
    moves::Whereabouts,
    planner::{DayStock, resolution_of_day},
    query::{Evaluation, Merger, SERIES_SAMPLES, TooManySamples, partial, read_block, select},
    rollup::Resolution,
    series_registry::{self, SeriesSpan, merged_spans},
    sql::Sql,
    wal::Decoding,
};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{QUERY_LOCAL_BLOCKS_MAX, QUERY_SAMPLES_MAX},
    series::SeriesSamples,
    time::Day,
};
use std::{collections::BTreeMap, ops::ControlFlow};

impl<S: Sql> Shard<S> {
    /// Everything of one instant.
    pub(super) fn read(&mut self, read: &Read, instance: &mut Instance) -> Result<ReadReply, ShardError> {
        let mut found = Found::default();
        let mut reply = ReadReply::default();
        for host in &read.hosts {
            let series = self.read_log(*host, read, &mut reply.warnings, instance)?;
            found.add(Part { rank: LOG_RANK, resolution: Resolution::Raw, host: *host, series })?;
        }
        let (blocks, resolution) = self.blocks(read, &found.parts)?;
        reply.resolution = resolution;
        let elsewhere = not_evaluated(&blocks);
        let (objects, local): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.place == Place::R2);
        reply.objects = objects;
        if local.len() > QUERY_LOCAL_BLOCKS_MAX {
            return Err(ShardError::TooManyBlocks(local.len() as u64));
        }
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
        reply.elsewhere = self.elsewhere(&read.hosts);
        let Some(evaluation) = &read.evaluation else {
            return Ok(ReadReply { parts: found.parts, ..reply });
        };
        // Of a host that was moved, other shards may have samples of the same time.
        let is_settled =
            |part: &Part| part.resolution == Resolution::Raw && self.moves.get(part.host).is_none();
        let (settled, others): (Vec<_>, Vec<_>) = found.parts.into_iter().partition(is_settled);
        let mut merger = Merger::default();
        settled.into_iter().try_for_each(|part| merger.add(part))?;
        let (evaluated, mut parts) = partial(merger, evaluation, &elsewhere);
        parts.extend(others);
        Ok(ReadReply { parts, evaluated, ..reply })
    }

    /// Other shards that hold samples of some of these hosts.
    fn elsewhere(&self, hosts: &[HostId]) -> Vec<(ShardNumber, HostId)> {
        let others = |host: &HostId| {
            let others = self.moves.get(*host).map(Whereabouts::others).unwrap_or_default();
            let host = *host;
            others.into_iter().filter(|shard| *shard != self.number).map(move |shard| (shard, host))
        };
        hosts.iter().flat_map(others).collect()
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
    pub(super) fn series(&mut self, read: &Read, instance: &mut Instance) -> Result<SeriesReply, ShardError> {
        let mut series = Vec::new();
        for host in &read.hosts {
            let sealed = series_registry::of_host(&self.sql, *host, &mut instance.inflater)?;
            let in_log = self.read_log(*host, read, &mut Vec::new(), instance)?;
            let in_log = in_log.into_iter().filter_map(|entry| {
                let (first, last) = (entry.samples.first()?.time.hour(), entry.samples.last()?.time.hour());
                Some(SeriesSpan { series: entry.series, first, last })
            });
            let wanted = sealed.into_iter().filter(|span| read.wants(&span.series));
            series.extend(merged_spans(wanted.chain(in_log)));
        }
        Ok(SeriesReply { series, elsewhere: self.elsewhere(&read.hosts) })
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

    /// What the log has: out of the head, which is built if it fits, else piece by piece. What does not decode fails the
    /// read, or is a warning where the read allows that.
    fn read_log(
        &mut self,
        host: HostId,
        read: &Read,
        warnings: &mut Vec<String>,
        instance: &mut Instance,
    ) -> Result<Vec<SeriesSamples>, ShardError> {
        let Instance { heads, inflater, dictionaries, .. } = instance;
        // Rows that may be of anybody.
        pass_over(self.wal.unreadable().iter().map(ToString::to_string), read, warnings)?;
        if let Some(head) = heads.get(self.number, host) {
            pass_over(head.missing().iter().cloned(), read, warnings)?;
            return Ok(head.select(read));
        }
        let bytes_max = heads.bytes_max();
        let mut decoding = Decoding { inflater, dictionaries };
        let mut head = HostHead::default();
        let unreadable = self.wal.for_each_of_host(&self.sql, host, &mut decoding, &mut |samples| {
            head.insert(samples);
            heads.make_room_for(head.bytes());
            if head.bytes() > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.complaints.extend(unreadable.iter().map(ToString::to_string));
        if head.bytes() <= bytes_max {
            head.note_missing(&unreadable);
            let (found, missing) = (head.select(read), head.missing().to_vec());
            heads.keep(self.number, host, head);
            pass_over(missing.into_iter(), read, warnings)?;
            return Ok(found);
        }
        // Only one of the two is in memory.
        drop(head);
        let mut found = HostHead::default();
        let unreadable = self.wal.for_each_of_host(&self.sql, host, &mut decoding, &mut |samples| {
            found.insert(select(samples, read));
            if found.bytes() > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.bytes() > bytes_max {
            return Err(TooManySamples.into());
        }
        found.note_missing(&unreadable);
        pass_over(found.missing().iter().cloned(), read, warnings)?;
        Ok(found.into_series().collect())
    }
}

/// Pieces that are missing fail a read, unless it is content with what there is.
fn pass_over(
    missing: impl Iterator<Item = String>,
    read: &Read,
    warnings: &mut Vec<String>,
) -> Result<(), ShardError> {
    let mut missing = missing.peekable();
    match missing.next_if(|_| !read.is_partial) {
        Some(first) => Err(ShardError::Corrupt(first)),
        None => {
            warnings.extend(missing);
            Ok(())
        }
    }
}

/// The spans of time of which samples of the log and of local blocks are not all there is: first and last instant.
fn not_evaluated(blocks: &[BlockEntry]) -> Vec<(TimestampMs, TimestampMs)> {
    let others =
        blocks.iter().filter(|block| block.place == Place::R2 || block.resolution != Resolution::Raw);
    // A rollup lasts longer than its first instant.
    let last = |block: &BlockEntry| {
        block.max.plus_ms(block.resolution.step_ms().map_or(0, |step| step.saturating_sub(1)))
    };
    others.map(|block| (block.min, last(block))).collect()
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

/// Parts, bounded in memory.
#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    /// As so many samples.
    held: usize,
}

impl Found {
    fn add(&mut self, part: Part) -> Result<(), TooManySamples> {
        let held = part.series.iter().map(|entry| entry.samples.len().saturating_add(SERIES_SAMPLES));
        self.held = held.fold(self.held, usize::saturating_add);
        if self.held > QUERY_SAMPLES_MAX {
            return Err(TooManySamples);
        }
        if !part.series.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{Labels, Sample, Series};

    #[test]
    fn what_is_found_is_bounded_by_its_samples_and_its_series() {
        let part = |samples: usize| {
            let series = Series { name: "load_1m".into(), labels: Labels::new() };
            let samples = vec![Sample { time: TimestampMs(0), value: 0.0 }; samples];
            let series = vec![SeriesSamples { series, samples }];
            Part { rank: 1, resolution: Resolution::Raw, host: HostId::new(0, [1; 14]), series }
        };
        let fits = QUERY_SAMPLES_MAX - 2 * SERIES_SAMPLES;
        let add = |counts: [usize; 2]| {
            let mut found = Found::default();
            counts.into_iter().try_for_each(|count| found.add(part(count)))
        };
        assert_eq!(add([fits - 1, 1]), Ok(()));
        assert_eq!(add([fits, 1]), Err(TooManySamples));
    }
}
