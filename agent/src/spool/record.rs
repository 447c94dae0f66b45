//! Records: what a segment is made of. `docs/spool-format.md` has them byte by byte.

use super::held::{Held, HeldStream};
use crate::batch::Batch;
use edgewatch_shared::wire::push::{ReadingRange, StreamId};

/// What every record begins with, so that the next one is found behind a damaged one.
const MARKER: [u8; 4] = [0xed, 0x9e, 0x57, 0x01];
/// Bytes before a record's content: marker, length, checksum, kind.
pub const HEAD_BYTES: usize = 13;
/// Bytes of a record's content at most. Reason: a series list may have 1 MiB of text, and what lies before its content.
pub const CONTENT_BYTES_MAX: usize = 4 << 20;

/// Kinds of records.
const LIST: u8 = 1;
const BATCH: u8 = 2;
const SETTLED: u8 = 3;
const CUT: u8 = 4;
const MOVED: u8 = 5;
const HELD: u8 = 6;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A series list, as it travels; the batches of its segment refer to it by its id.
    List(Vec<u8>),
    /// A batch.
    Batch(Box<Batch>),
    /// Readings that were delivered or given up.
    Settled(StreamId, ReadingRange),
    /// A batch with this reading is sent in parts, one of which begins here.
    Cut(StreamId, u64),
    /// Readings that are sent with other times, so many ms later.
    Moved(StreamId, ReadingRange, i64),
    /// Of everything that was written before, this much is still held.
    Held(Held),
}

impl Record {
    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::List(encoded) => framed(LIST, encoded),
            Self::Batch(batch) => framed(BATCH, &batch.to_bytes()),
            Self::Settled(stream, readings) => {
                framed(SETTLED, &numbers([stream.0, readings.first, readings.last]))
            }
            Self::Cut(stream, at) => framed(CUT, &numbers([stream.0, *at])),
            Self::Moved(stream, readings, by_ms) => {
                framed(MOVED, &numbers([stream.0, readings.first, readings.last, by_ms.cast_unsigned()]))
            }
            Self::Held(held) => framed(HELD, &held_bytes(held)),
        }
    }

    /// Reads a record's content; `None` for what no release wrote, although its checksum is right.
    fn of(kind: u8, content: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(content);
        let mut next = || numbers.next();
        let record = match kind {
            LIST => return Some(Self::List(content.to_vec())),
            BATCH => return Batch::from_bytes(content).ok().map(|batch| Self::Batch(Box::new(batch))),
            SETTLED => Self::Settled(StreamId(next()?), range(next()?, next()?)?),
            CUT => Self::Cut(StreamId(next()?), next()?),
            MOVED => {
                let (stream, readings) = (StreamId(next()?), range(next()?, next()?)?);
                Self::Moved(stream, readings, next()?.cast_signed())
            }
            HELD => Self::Held(read_held(&mut numbers)?),
            _ => return None,
        };
        numbers.0.is_empty().then_some(record)
    }
}

/// What lies at a place in a segment.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// A record, and where the next one begins.
    Record(Box<Record>, usize),
    /// Nothing that can be read; further on, here, something may be.
    Damaged(usize),
    /// The end.
    End,
}

/// Reads what lies at `at`. What is damaged is passed over up to the next record, or up to the end.
pub fn read(bytes: &[u8], at: usize) -> Found {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Found::End };
    if let Some((record, length)) = whole(rest) {
        return Found::Record(Box::new(record), at.saturating_add(length));
    }
    let is_record = |from: &usize| rest.get(*from..).is_some_and(|rest| whole(rest).is_some());
    let next = (1..rest.len()).filter(|from| rest.get(*from..).is_some_and(|rest| rest.starts_with(&MARKER)));
    Found::Damaged(at.saturating_add(next.into_iter().find(is_record).unwrap_or(rest.len())))
}

/// The length of a record's content, as its head says.
pub fn content_bytes(head: &[u8; HEAD_BYTES]) -> Option<usize> {
    let length = head.strip_prefix(&MARKER)?.first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length <= CONTENT_BYTES_MAX).then_some(length)
}

/// The record at the front of `bytes`, and its length.
pub fn whole(bytes: &[u8]) -> Option<(Record, usize)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let content = rest.get(..content_bytes(head)?)?;
    let [_, _, _, _, length @ .., kind] = head;
    let (length, checksum) = length.split_first_chunk::<4>()?;
    if checksum != checksum_of(length, *kind, content).to_le_bytes() {
        return None;
    }
    Some((Record::of(*kind, content)?, HEAD_BYTES.saturating_add(content.len())))
}

fn framed(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum_of(&length, kind, content).to_le_bytes();
    [&MARKER[..], &length, &checksum, &[kind], content].concat()
}

/// CRC-32 over length, kind and content.
fn checksum_of(length: &[u8], kind: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    [length, &[kind], content].into_iter().for_each(|bytes| hasher.update(bytes));
    hasher.finalize()
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn range(first: u64, last: u64) -> Option<ReadingRange> {
    (first <= last).then_some(ReadingRange { first, last })
}

/// Numbers of eight bytes each, one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// A list: how many, and as many.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.next()?).map(|_| read(self)).collect()
    }
}

fn held_bytes(held: &Held) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |number: u64| out.extend(number.to_le_bytes());
    put(held.streams().count() as u64);
    for (id, stream) in held.streams() {
        put(id.0);
        put(stream.readings.iter().len() as u64);
        stream.readings.iter().for_each(|range| [range.first, range.last].into_iter().for_each(&mut put));
        put(stream.cuts.len() as u64);
        stream.cuts.iter().copied().for_each(&mut put);
        put(stream.moves.len() as u64);
        for (range, by_ms) in &stream.moves {
            [range.first, range.last, by_ms.cast_unsigned()].into_iter().for_each(&mut put);
        }
    }
    out
}

fn read_held(numbers: &mut Numbers<'_>) -> Option<Held> {
    let streams = numbers.list(|numbers| {
        let id = StreamId(numbers.next()?);
        let readings = numbers.list(|numbers| range(numbers.next()?, numbers.next()?))?;
        let cuts = numbers.list(Numbers::next)?;
        let moves = numbers.list(|numbers| {
            let readings = range(numbers.next()?, numbers.next()?)?;
            Some((readings, numbers.next()?.cast_signed()))
        })?;
        let readings = readings.into_iter().collect();
        Some((id, HeldStream { readings, cuts: cuts.into_iter().collect(), moves }))
    })?;
    Some(streams.into_iter().collect())
}
