//! Exactly once: which readings of which stream are stored already.
//!
//! A push is known by its host, its stream and its range of readings. A stream keeps a floor, below which every reading
//! is settled, and the ranges of its last pushes with a checksum of their content. It is written with the log: every
//! row carries the identities of its pushes, and a seal leaves a snapshot behind, before it drops the rows.

use crate::sql::{Sql, SqlError, Value, columns};
use edgewatch_shared::{
    HostId, TimestampMs,
    limits::{HOST_STREAMS_MAX, STREAM_RANGES_MAX, STREAM_RETENTION_MS},
    wire::push::{DictionaryId, ReadingRange, StreamId},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What makes two pushes of a host the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Whose numbering the readings are of.
    pub stream: StreamId,
    /// Readings below are acknowledged or given up.
    pub floor: u64,
    /// The readings.
    pub readings: ReadingRange,
    /// Of the content, as it was sent.
    pub checksum: u64,
}

/// What a push is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At least one of its readings is not stored.
    New,
    /// All of its readings are stored or settled.
    Repeat,
    /// The very same readings are stored with another content.
    Conflict,
}

/// Readings that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    readings: ReadingRange,
    /// `None` where several pushes were put together, so that nobody can compare contents any more.
    checksum: Option<u64>,
}

/// What is stored of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Readings below are settled.
    floor: u64,
    /// In order of their first reading, then their last.
    stored: Vec<Stored>,
    /// The list that its last push used: its next one will too.
    dictionary: Option<DictionaryId>,
    last_push: TimestampMs,
}

impl Stream {
    /// What a push would be.
    pub fn judge(&self, push: &Identity) -> Arrival {
        let ReadingRange { first, last } = push.readings;
        let same = self.stored.iter().find(|stored| stored.readings == push.readings);
        match same.map(|same| same.checksum) {
            Some(Some(checksum)) if checksum != push.checksum => return Arrival::Conflict,
            Some(_) => return Arrival::Repeat,
            None => {}
        }
        let mut open = first.max(self.floor);
        for stored in &self.stored {
            if stored.readings.first > open {
                break;
            }
            open = open.max(stored.readings.last.saturating_add(1));
        }
        if open > last { Arrival::Repeat } else { Arrival::New }
    }

    /// Takes a push in, once or again.
    fn record(&mut self, push: &Identity, dictionary: Option<DictionaryId>, received: TimestampMs) {
        if self.stored.iter().all(|stored| stored.readings != push.readings) {
            let key = |stored: &Stored| (stored.readings.first, stored.readings.last);
            let stored = Stored { readings: push.readings, checksum: Some(push.checksum) };
            let at = self.stored.partition_point(|other| key(other) < key(&stored));
            self.stored.insert(at, stored);
        }
        self.floor = self.floor.max(push.floor);
        if received >= self.last_push {
            self.last_push = received;
            self.dictionary = dictionary.or(self.dictionary);
        }
        while self.stored.len() > STREAM_RANGES_MAX {
            self.make_room();
        }
    }

    /// Gives up one range, the one that is missed least: one that is settled, whose content is then no longer
    /// compared; else two that touch become one; else the oldest, whose repeat will be stored again, which changes no
    /// answer, since samples are merged by series and time.
    fn make_room(&mut self) {
        let is_settled = |stored: &Stored| stored.readings.last < self.floor;
        let touch = |pair: &[Stored]| match pair {
            [a, b] => b.readings.first <= a.readings.last.saturating_add(1),
            _ => false,
        };
        if let Some(at) = self.stored.iter().position(is_settled) {
            self.stored.remove(at);
        } else if let Some(at) = self.stored.windows(2).position(touch) {
            let second = self.stored.remove(at.saturating_add(1));
            if let Some(first) = self.stored.get_mut(at) {
                first.readings.last = first.readings.last.max(second.readings.last);
                first.checksum = None;
            }
        } else {
            self.stored.remove(0);
        }
    }
}

/// The streams of all hosts of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    hosts: HashMap<HostId, BTreeMap<StreamId, Stream>>,
    /// Parts of the stored snapshot.
    parts: i64,
}

/// Bytes of a part of the snapshot, about: far below what a row holds, whatever the last stream adds.
const PART_BYTES: usize = 1_000_000;

impl Streams {
    /// Creates the table and reads the snapshot.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        sql.exec("CREATE TABLE IF NOT EXISTS streams (part INTEGER PRIMARY KEY, data BLOB)", &[])?;
        let mut streams = Self::default();
        for row in sql.exec("SELECT part, data FROM streams ORDER BY part", &[])? {
            let [part, data] = columns(row)?;
            let part = part.integer()?;
            let stored: Vec<(HostId, StreamId, Stream)> = postcard::from_bytes(&data.blob()?)
                .map_err(|error| SqlError(format!("streams part {part}: {error}")))?;
            for (host, id, stream) in stored {
                streams.hosts.entry(host).or_default().insert(id, stream);
            }
            streams.parts = part.saturating_add(1);
        }
        Ok(streams)
    }

    /// What a push of a host would be.
    pub fn judge(&self, host: HostId, push: &Identity) -> Arrival {
        let stream = self.hosts.get(&host).and_then(|streams| streams.get(&push.stream));
        stream.map_or(Arrival::New, |stream| stream.judge(push))
    }

    /// Takes in a push that is, or is about to be, in the log; one that is there already changes nothing. Of too many
    /// streams of a host the one that was silent for longest goes.
    pub fn record(
        &mut self,
        host: HostId,
        push: &Identity,
        dictionary: Option<DictionaryId>,
        received: TimestampMs,
    ) {
        let streams = self.hosts.entry(host).or_default();
        streams.entry(push.stream).or_default().record(push, dictionary, received);
        while streams.len() > HOST_STREAMS_MAX {
            let others = streams.iter().filter(|(id, _)| **id != push.stream);
            let Some(oldest) = others.min_by_key(|(_, stream)| stream.last_push).map(|(id, _)| *id) else {
                return;
            };
            streams.remove(&oldest);
        }
    }

    /// The streams of a host.
    pub fn of(&self, host: HostId) -> Vec<(StreamId, Stream)> {
        let streams = self.hosts.get(&host).into_iter().flatten();
        streams.map(|(id, stream)| (*id, stream.clone())).collect()
    }

    /// Takes over streams that a host brings from another shard; nothing is stored yet.
    pub fn take_in(&mut self, host: HostId, streams: Vec<(StreamId, Stream)>) {
        self.hosts.entry(host).or_default().extend(streams);
    }

    /// Forgets streams that no spool can hold any more, and those of hosts that are gone.
    pub fn expire(&mut self, now: TimestampMs, is_known: impl Fn(HostId) -> bool) {
        let is_alive = |stream: &Stream| now.ms_since(stream.last_push) <= STREAM_RETENTION_MS;
        self.hosts.retain(|host, streams| {
            streams.retain(|_, stream| is_alive(stream));
            !streams.is_empty() && is_known(*host)
        });
    }

    /// Whether a stream of a host will use a list next.
    pub fn refers_to(&self, host: HostId, dictionary: DictionaryId) -> bool {
        let streams = self.hosts.get(&host);
        streams.is_some_and(|streams| streams.values().any(|stream| stream.dictionary == Some(dictionary)))
    }

    /// Stores the snapshot, inside the transaction of a seal: a row for every [`PART_BYTES`], none if there are no streams.
    pub fn store(&mut self, sql: &impl Sql) -> Result<(), SqlError> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_unstable_by_key(|(host, _)| **host);
        let all = hosts
            .into_iter()
            .flat_map(|(host, streams)| streams.iter().map(move |(id, stream)| (host, id, stream)));
        let mut parts: i64 = 0;
        let (mut count, mut bytes): (u64, Vec<u8>) = (0, Vec::new());
        for entry in all {
            bytes.extend(postcard::to_allocvec(&entry).map_err(|error| SqlError(error.to_string()))?);
            count = count.saturating_add(1);
            if bytes.len() >= PART_BYTES {
                store_part(sql, parts, count, &bytes)?;
                parts = parts.saturating_add(1);
                (count, bytes) = (0, Vec::new());
            }
        }
        if count > 0 {
            store_part(sql, parts, count, &bytes)?;
            parts = parts.saturating_add(1);
        }
        if parts < self.parts {
            sql.exec("DELETE FROM streams WHERE part >= ?1", &[Value::Integer(parts)])?;
        }
        self.parts = parts;
        Ok(())
    }
}

/// A part is a postcard list: the number of its entries, and the entries.
fn store_part(sql: &impl Sql, part: i64, count: u64, entries: &[u8]) -> Result<(), SqlError> {
    let mut data = postcard::to_allocvec(&count).map_err(|error| SqlError(error.to_string()))?;
    data.extend(entries);
    let upsert =
        "INSERT INTO streams (part, data) VALUES (?1, ?2) ON CONFLICT (part) DO UPDATE SET data = ?2";
    sql.exec(upsert, &[Value::Integer(part), Value::Blob(data)]).map(|_| ())
}

#[cfg(test)]
mod tests;
