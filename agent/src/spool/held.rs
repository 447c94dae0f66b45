//! What of each stream is held: frozen, and neither delivered nor given up.

use super::{ranges::Ranges, record::Record};
use edgewatch_shared::wire::push::{ReadingRange, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldStream {
    /// The readings that are held.
    pub readings: Ranges,
    /// Readings that begin a part of a batch which was too large.
    pub cuts: BTreeSet<u64>,
    /// Readings whose times are other than they were frozen with, and by how many ms.
    pub moves: Vec<(ReadingRange, i64)>,
}

impl HeldStream {
    /// By how many ms a reading was moved.
    pub fn moved_ms(&self, reading: u64) -> i64 {
        let moves = self.moves.iter().filter(|(range, _)| (range.first..=range.last).contains(&reading));
        moves.map(|(_, by_ms)| *by_ms).fold(0, i64::saturating_add)
    }

    /// What of a batch with these readings is to be sent first: up to where it is cut or is not held any more.
    pub fn part_of(&self, batch: ReadingRange) -> Option<ReadingRange> {
        let part = self.readings.within(batch).next()?;
        let cut = self.cuts.range(part.first.saturating_add(1)..).next().filter(|cut| **cut <= part.last);
        Some(ReadingRange { last: cut.map_or(part.last, |cut| cut.saturating_sub(1)), ..part })
    }

    /// Forgets what only mattered to readings that are no longer held.
    fn tidy(&mut self) {
        let readings = &self.readings;
        let first = readings.first().unwrap_or(u64::MAX);
        self.cuts.retain(|cut| *cut > first);
        self.moves.retain(|(range, _)| readings.meets(*range));
    }
}

/// All streams of which anything is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(BTreeMap<StreamId, HeldStream>);

impl Held {
    /// Takes readings in.
    pub fn insert(&mut self, stream: StreamId, readings: ReadingRange) {
        self.0.entry(stream).or_default().readings.insert(readings);
    }

    /// Lets go of readings.
    pub fn remove(&mut self, stream: StreamId, readings: ReadingRange) {
        if let Some(held) = self.0.get_mut(&stream) {
            held.readings.remove(readings);
            held.tidy();
            if held.readings.is_empty() {
                self.0.remove(&stream);
            }
        }
    }

    /// Notes that a batch goes in parts.
    pub fn cut(&mut self, stream: StreamId, at: u64) {
        if let Some(held) = self.0.get_mut(&stream) {
            held.cuts.insert(at);
        }
    }

    /// Notes that readings go with other times.
    pub fn moved(&mut self, stream: StreamId, readings: ReadingRange, by_ms: i64) {
        if let Some(held) = self.0.get_mut(&stream).filter(|held| held.readings.meets(readings)) {
            held.moves.push((readings, by_ms));
        }
    }

    /// Takes over what a snapshot says of everything that came before it.
    pub fn narrow_to(&mut self, snapshot: &Self) {
        self.0.retain(|id, held| {
            let Some(told) = snapshot.0.get(id) else { return false };
            held.readings.intersect(&told.readings);
            held.cuts.clone_from(&told.cuts);
            held.moves.clone_from(&told.moves);
            held.tidy();
            !held.readings.is_empty()
        });
    }

    /// Takes a record in, in the order in which they were written.
    pub fn replay(&mut self, record: &Record) {
        match record {
            Record::List(_) => {}
            Record::Batch(batch) => self.insert(batch.stream, batch.readings),
            Record::Settled(stream, readings) => self.remove(*stream, *readings),
            Record::Cut(stream, at) => self.cut(*stream, *at),
            Record::Moved(stream, readings, by_ms) => self.moved(*stream, *readings, *by_ms),
            Record::Held(snapshot) => self.narrow_to(snapshot),
        }
    }

    /// A stream.
    pub fn stream(&self, stream: StreamId) -> Option<&HeldStream> {
        self.0.get(&stream)
    }

    /// Whether any of these readings is held.
    pub fn has(&self, stream: StreamId, readings: ReadingRange) -> bool {
        self.0.get(&stream).is_some_and(|held| held.readings.meets(readings))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The streams.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &HeldStream)> {
        self.0.iter().map(|(id, held)| (*id, held))
    }
}

impl FromIterator<(StreamId, HeldStream)> for Held {
    fn from_iter<T: IntoIterator<Item = (StreamId, HeldStream)>>(streams: T) -> Self {
        Self(streams.into_iter().filter(|(_, held)| !held.readings.is_empty()).collect())
    }
}
