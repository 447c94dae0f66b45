//! Sealing: a partition of the log becomes blocks, one or more for every hour of data in it.
//!
//! A sans-IO state machine: [`Seal::plan`] reads a frozen partition, [`Seal::pending`]
//! says which object has to be stored next, [`Seal::commit`] writes the index and drops
//! the partition, inside the caller's transaction. Cut anywhere, it can be begun again:
//! the same partition gives the same blocks under the same names.

use crate::{
    block::{BlockError, BlockWriter, Built},
    block_index::{self, BlockEntry, BlockName, Place},
    compression::{Deflater, Inflater},
    head::{HostHead, ShardNumber},
    ledger::NewestByHost,
    rollup::Resolution,
    series_limit::{Fingerprint, fingerprint},
    sql::{Sql, SqlError},
    wal::{RowHead, Wal, WalError},
};
use edgewatch_shared::{HostId, limits::BLOCK_BYTES_MAX, time::Hour};
use std::collections::{BTreeMap, BTreeSet};

/// Samples of one host that are decoded at a time: 800 KB.
const SLICE_SAMPLES: u64 = 50_000;

/// Why a partition could not be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The log could not be read.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A block could not be written.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// A block on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SealedPart {
    key: String,
    built: Built,
}

/// A partition on its way out of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Seal {
    partition: Hour,
    parts: Vec<SealedPart>,
    stored: usize,
    newest: NewestByHost,
    seen: BTreeMap<HostId, BTreeSet<Fingerprint>>,
}

/// What is still to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingObject<'a> {
    /// Its name.
    pub key: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Seal {
    /// Reads a partition that takes no more rows, host by host, and writes its blocks.
    pub fn plan(
        sql: &impl Sql,
        wal: &Wal,
        shard: ShardNumber,
        partition: Hour,
        inflater: &mut Inflater,
        deflater: &mut Deflater,
    ) -> Result<Self, SealError> {
        let rows = wal.row_heads(sql, partition)?;
        let seqs = (rows.first().map_or(0, |row| row.seq), rows.last().map_or(0, |row| row.seq));
        let mut newest = NewestByHost::new();
        for row in &rows {
            newest.entry(row.host).or_default().update(row.keys.received, &row.keys.newest);
        }
        let mut writers: BTreeMap<Hour, BlockWriter> = BTreeMap::new();
        let mut seen: BTreeMap<HostId, BTreeSet<Fingerprint>> = BTreeMap::new();
        for (host, slice) in slices(rows) {
            let mut samples = HostHead::default();
            for seq in slice {
                samples.insert(wal.samples(sql, partition, seq, inflater)?);
            }
            seen.entry(host).or_default().extend(samples.series().map(fingerprint));
            for (hour, series) in samples.into_hours(partition) {
                let writer = || BlockWriter::new(Resolution::Raw, BLOCK_BYTES_MAX);
                writers.entry(hour).or_insert_with(writer).push(host, &series, deflater)?;
            }
        }
        let mut parts = Vec::new();
        for (data_hour, writer) in writers {
            for (part, built) in writer.finish(deflater)?.into_iter().enumerate() {
                let name = BlockName { shard, data_hour, partition, seqs, part, checksum: &built.checksum };
                parts.push(SealedPart { key: name.key(), built });
            }
        }
        Ok(Self { partition, parts, stored: 0, newest, seen })
    }

    /// The partition that is being sealed.
    pub fn partition(&self) -> Hour {
        self.partition
    }

    /// The object that has to be stored next; `None` when all are.
    pub fn pending(&self) -> Option<PendingObject<'_>> {
        let part = self.parts.get(self.stored)?;
        Some(PendingObject { key: &part.key, bytes: &part.built.bytes })
    }

    /// The pending object is stored.
    pub fn object_stored(&mut self) {
        self.stored = self.stored.saturating_add(1);
    }

    /// Newest values as this partition has them.
    pub fn newest(&self) -> &NewestByHost {
        &self.newest
    }

    /// Series that each host sent in this partition.
    pub fn seen(&self) -> &BTreeMap<HostId, BTreeSet<Fingerprint>> {
        &self.seen
    }

    /// Writes the index and drops the partition, to be called inside a transaction. Blocks that were handed out
    /// and stored are in R2; the others stay here.
    pub fn commit(&self, sql: &impl Sql) -> Result<(), SqlError> {
        for (at, part) in self.parts.iter().enumerate() {
            let is_remote = at < self.stored;
            let entry = BlockEntry {
                id: 0,
                key: part.key.clone(),
                place: if is_remote { Place::R2 } else { Place::Local },
                min: part.built.min,
                max: part.built.max,
                samples: part.built.samples,
                bytes: part.built.bytes.len() as u64,
                tail_bytes: part.built.tail_bytes,
                resolution: part.built.resolution,
            };
            let data = if is_remote { None } else { Some(part.built.bytes.clone()) };
            block_index::insert(sql, &entry, data)?;
        }
        Wal::drop_partition(sql, self.partition)
    }
}

/// Rows by host, in order of arrival, cut where a slice has [`SLICE_SAMPLES`].
fn slices(rows: Vec<RowHead>) -> Vec<(HostId, Vec<i64>)> {
    let mut by_host: BTreeMap<HostId, Vec<(i64, u32)>> = BTreeMap::new();
    for row in rows {
        by_host.entry(row.host).or_default().push((row.seq, row.keys.samples));
    }
    let mut slices: Vec<(HostId, Vec<i64>)> = Vec::new();
    for (host, rows) in by_host {
        let mut slice = Vec::new();
        let mut samples: u64 = 0;
        for (seq, count) in rows {
            samples = samples.saturating_add(count.into());
            if samples > SLICE_SAMPLES && !slice.is_empty() {
                slices.push((host, std::mem::take(&mut slice)));
                samples = count.into();
            }
            slice.push(seq);
        }
        slices.push((host, slice));
    }
    slices
}
