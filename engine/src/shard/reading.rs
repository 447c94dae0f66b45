//! What a shard holds of what a query asks for: samples of its log and its own blocks, evaluated where nobody else has
//! any of the same time, and the names of the objects that hold the rest.

use super::{Instance, Shard};
use crate::{
    block_index::{self, BlockEntry, Place},
    call::{LOG_RANK, Part, Read, ReadReply, ShardError},
    counters::Counter,
    head::HostHead,
    moves::Whereabouts,
    query::{Merger, TooManySamples, partial, read_block, select},
    rollup::Resolution,
    series_registry::{self, SeriesSpan, merged_spans},
    sql::Sql,
};
use edgewatch_shared::{
    HostId,
    limits::{QUERY_LOCAL_BLOCKS_MAX, QUERY_SAMPLES_MAX},
    series::SeriesSamples,
};
use std::ops::ControlFlow;

impl<S: Sql> Shard<S> {
    /// Everything of one instant.
    pub(super) fn read(&mut self, read: &Read, instance: &mut Instance) -> Result<ReadReply, ShardError> {
        let mut blocks = block_index::overlapping(&self.sql, Resolution::Raw, read.from, read.to)?;
        blocks.retain(|block| block.may_hold(&read.hosts));
        let (objects, local): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.place == Place::R2);
        if local.len() > QUERY_LOCAL_BLOCKS_MAX {
            return Err(ShardError::TooManyBlocks(local.len() as u64));
        }
        let mut reply = ReadReply { objects, ..ReadReply::default() };
        let mut found = Found::default();
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
        let known = self.complaints.len();
        for host in &read.hosts {
            let series = self.read_log(*host, read, instance)?;
            found.add(Part { rank: LOG_RANK, host: *host, series })?;
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
