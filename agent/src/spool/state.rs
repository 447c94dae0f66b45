//! What the spool does while nobody else touches it.

mod next;

use super::{
    Full, Limits, Stats, Waiting, WhenFull,
    held::Held,
    log::{Log, Place},
    memory::Memory,
    ranges::Ranges,
    record::{HEAD_BYTES, Record},
};
use crate::{
    batch::{Batch, SeriesList},
    clock::Clock,
    counters::Counters,
};
use edgewatch_shared::{
    TimestampMs,
    limits::MINUTE_MS,
    wire::push::{ReadingRange, StreamId},
};
use log::{info, warn};
pub use next::FRESH_BATCHES_MAX;
use std::{collections::VecDeque, io, sync::Arc};

/// Milliseconds after which a disk that failed is tried again. Reason: room may have been made, and a try costs little.
const RETRY_DISK_MS: i64 = 10_000;
/// Milliseconds between two looks for what is too old.
const LOOK_FOR_OLD_MS: i64 = MINUTE_MS;

/// The spool.
pub struct State {
    pub(super) limits: Limits,
    pub(super) clock: Arc<Clock>,
    pub(super) counters: Arc<Counters>,
    /// The stream of this process.
    pub(super) stream: StreamId,
    /// The folder, unless it cannot be used.
    pub(super) log: Option<Log>,
    held: Held,
    /// What the disk did not take: newer than all that is on it.
    memory: Memory,
    /// The batches that go before all others, all of our stream: their readings, and a place that each does not lie before.
    fresh: VecDeque<(ReadingRange, Place)>,
    /// Nothing before is held.
    front: Place,
    oldest: Option<TimestampMs>,
    /// Readings of our stream that the server may have stored without our hearing of it.
    may_be_stored: Ranges,
    disk_fails: bool,
    read_fails: bool,
    is_full: bool,
    /// How often it was tried to open the folder.
    pub(super) tries: u32,
    retry_disk_ms: i64,
    /// Whether the disk did not take a note, and needs to be told all of what is held.
    is_behind: bool,
    look_for_old_ms: i64,
    pub(super) frozen: u64,
    pub(super) closed: bool,
}

impl State {
    /// Nothing yet.
    pub fn new(limits: Limits, clock: Arc<Clock>, counters: Arc<Counters>, stream: StreamId) -> Self {
        Self {
            limits,
            clock,
            counters,
            stream,
            log: None,
            held: Held::default(),
            memory: Memory::default(),
            fresh: VecDeque::new(),
            front: Place::default(),
            oldest: None,
            may_be_stored: Ranges::default(),
            disk_fails: false,
            read_fails: false,
            is_full: false,
            tries: 0,
            retry_disk_ms: i64::MIN,
            is_behind: false,
            look_for_old_ms: i64::MIN,
            frozen: 0,
            closed: false,
        }
    }

    /// Takes over what was found in the folder.
    pub fn opened(&mut self, log: Log, found: &Held) {
        for (stream, held) in found.streams() {
            held.readings.iter().for_each(|readings| self.held.insert(stream, readings));
            held.cuts.iter().for_each(|cut| self.held.cut(stream, *cut));
            held.moves.iter().for_each(|(readings, by_ms)| self.held.moved(stream, *readings, *by_ms));
        }
        self.fresh.iter_mut().for_each(|(_, place)| *place = log.end());
        self.log = Some(log);
        self.find_oldest();
    }

    /// Says that the disk fails, unless it has been said.
    pub fn disk_failed(&mut self, error: &io::Error) {
        self.retry_disk_ms = self.clock.running_ms().saturating_add(RETRY_DISK_MS);
        if !std::mem::replace(&mut self.disk_fails, true) {
            warn!("the spool cannot be written, batches are kept in memory until it can: {error}");
        }
    }

    /// Whether the disk is worth a try.
    pub fn may_try_disk(&self) -> bool {
        !self.disk_fails || self.clock.running_ms() >= self.retry_disk_ms
    }

    /// Takes the newest batch in, on disk if that works.
    pub fn freeze(&mut self, batch: Batch, list: &Arc<SeriesList>) -> Result<(), Full> {
        self.drop_old();
        self.write_memory();
        let may_write = self.memory.is_empty() && self.log.is_some() && self.may_try_disk();
        let on_disk = may_write && self.has_room(&batch, list);
        let (stream, readings, newest) = (batch.stream, batch.readings, batch.newest);
        let end = self.log.as_ref().map_or(Place::default(), Log::end);
        self.held.insert(stream, readings);
        let place = if on_disk { self.append(&batch, list) } else { None };
        if place.is_none() {
            let drops_oldest = self.limits.when_full == WhenFull::DropOldest || self.is_some_on_disk();
            let mut batch = batch;
            while let Err(too_much) = self.memory.push(batch, list) {
                batch = too_much;
                if !drops_oldest || !self.drop_oldest_in_memory() {
                    self.held.remove(stream, readings);
                    return self.turn_away();
                }
            }
        }
        self.oldest = self.oldest.or(Some(newest));
        self.is_news(readings, place.unwrap_or(end));
        self.frozen += 1;
        Ok(())
    }

    /// Whether the disk may take so much more. Room is made if the oldest is to go.
    fn has_room(&mut self, batch: &Batch, list: &SeriesList) -> bool {
        let bytes = (batch.to_bytes().len() + list.encoded.len() + 2 * HEAD_BYTES) as u64;
        while self.log.as_ref().is_some_and(|log| log.bytes() + bytes > self.limits.bytes_max) {
            if self.limits.when_full == WhenFull::DropNewest || !self.drop_oldest_segment() {
                if !std::mem::replace(&mut self.is_full, true) {
                    warn!(
                        "the spool is full: the newest batches are kept beside it, in memory, until there is room"
                    );
                }
                return false;
            }
        }
        if std::mem::take(&mut self.is_full) {
            info!("the spool has room again");
        }
        true
    }

    /// Whether the disk has any of what waits: the beginning of an outage. Then memory has the end of it, because what is new
    /// is to find room there as soon as the server is back.
    fn is_some_on_disk(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_held(&self.held))
    }

    fn turn_away(&self) -> Result<(), Full> {
        self.counters.dropped_batches.count();
        Err(Full)
    }

    fn append(&mut self, batch: &Batch, list: &SeriesList) -> Option<Place> {
        let log = self.log.as_mut()?;
        match log.append(batch, list, &self.held) {
            Ok(place) => {
                if std::mem::take(&mut self.disk_fails) {
                    info!("the spool is written again");
                }
                if std::mem::take(&mut self.is_behind) {
                    self.note(Record::Held(self.held.clone()));
                }
                Some(place)
            }
            Err(error) => {
                self.disk_failed(&error);
                None
            }
        }
    }

    /// Writes what is in memory to the disk, as far as it takes it.
    fn write_memory(&mut self) {
        while self.log.is_some() && self.may_try_disk() {
            let Some(oldest) = self.memory.pop() else { break };
            let batch = &oldest.batch;
            let held = self.held.stream(batch.stream).filter(|held| held.readings.meets(batch.readings));
            let Some(held) = held else { continue };
            let is_whole = held.readings.within(batch.readings).next() == Some(batch.readings);
            // The disk must not take for held what was delivered of it, nor send it otherwise than it was sent.
            self.is_behind |= !is_whole || !held.cuts.is_empty() || !held.moves.is_empty();
            if !self.has_room(batch, &oldest.list) || self.append(batch, &oldest.list).is_none() {
                self.memory.put_back(oldest);
                return;
            }
        }
    }

    /// Writes a note. One that the disk does not take is made up for by the next thing that it takes.
    fn note(&mut self, note: Record) {
        if let Some(log) = self.log.as_mut()
            && let Err(error) = log.note(note, &self.held)
        {
            self.is_behind = true;
            self.disk_failed(&error);
        }
    }

    fn is_on_disk(&self, stream: StreamId, readings: ReadingRange) -> bool {
        self.log.as_ref().is_some_and(|log| log.has(stream, readings))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The oldest reading of a stream that is held.
    pub fn floor(&self, stream: StreamId) -> Option<u64> {
        self.held.stream(stream)?.readings.first()
    }

    /// The server may have stored what was sent: it must not change any more.
    pub fn may_be_stored(&mut self, waiting: &Waiting) {
        if waiting.batch.stream == self.stream {
            self.may_be_stored.insert(waiting.batch.readings);
        }
    }

    /// Notes that a batch goes in two parts, of which the second begins at this reading.
    pub fn cut(&mut self, waiting: &Waiting, at: u64) {
        self.held.cut(waiting.batch.stream, at);
        if self.is_on_disk(waiting.batch.stream, waiting.batch.readings) {
            self.note(Record::Cut(waiting.batch.stream, at));
        }
    }

    /// What was sent is delivered, or set aside: it is not held any more.
    pub fn settle(&mut self, waiting: &Waiting) {
        let Waiting { batch, record, .. } = waiting;
        self.may_be_stored.remove(batch.readings);
        // It was dropped on its way.
        if !self.held.has(batch.stream, batch.readings) {
            return;
        }
        self.held.remove(batch.stream, batch.readings);
        let is_done = !self.held.has(batch.stream, *record);
        self.count_down(batch.stream, *record, usize::from(is_done), batch.sample_count);
        self.let_go(batch.stream, batch.readings);
        self.write_memory();
    }

    /// Readings that are not held any more.
    fn let_go(&mut self, stream: StreamId, readings: ReadingRange) {
        self.held.remove(stream, readings);
        if self.is_on_disk(stream, readings) {
            self.note(Record::Settled(stream, readings));
        }
        let held = &self.held;
        self.memory.retain(|batch| held.has(batch.stream, batch.readings));
        self.fresh.retain(|(readings, _)| held.has(self.stream, *readings));
        if let Some(log) = self.log.as_mut() {
            log.remove_settled(held);
        }
        if self.held.is_empty() {
            self.oldest = None;
        }
    }

    fn count_down(&mut self, stream: StreamId, record: ReadingRange, batches: usize, samples: usize) {
        if let Some(log) = self.log.as_mut() {
            log.count_down(stream, record, batches, samples);
        }
    }

    /// Drops what is older than it may be. Only a clock that a server has confirmed can tell.
    fn drop_old(&mut self) {
        let now_ms = self.clock.running_ms();
        if now_ms < self.look_for_old_ms || !self.clock.is_confirmed() {
            return;
        }
        let mut dropped = 0u64;
        while let Some(batch) = self.oldest_batch() {
            let held = self.held.stream(batch.stream);
            let mut newest = batch.newest.plus_ms(held.map_or(0, |held| held.moved_ms(batch.readings.last)));
            if batch.stream == self.stream && !self.may_be_stored.meets(batch.readings) {
                newest = batch.newest.plus_ms(self.clock.offset_ms().saturating_sub(batch.clock_offset_ms));
            }
            self.oldest = Some(newest);
            if self.clock.now().ms_since(newest) <= self.limits.age_ms_max {
                break;
            }
            dropped += 1;
            self.counters.dropped_batches.count();
            self.count_down(batch.stream, batch.readings, 1, batch.sample_count);
            self.let_go(batch.stream, batch.readings);
        }
        if dropped > 0 {
            warn!("{dropped} batches were too old to be delivered, they are dropped");
        }
        self.look_for_old_ms = now_ms.saturating_add(LOOK_FOR_OLD_MS);
    }

    /// Drops all of the oldest segment. False if there is none.
    fn drop_oldest_segment(&mut self) -> bool {
        let Some((readings, batches)) = self.log.as_mut().and_then(|log| log.drop_oldest(&self.held)) else {
            return false;
        };
        for (stream, readings) in readings {
            self.let_go(stream, readings);
        }
        (0..batches).for_each(|_| self.counters.dropped_batches.count());
        true
    }

    fn drop_oldest_in_memory(&mut self) -> bool {
        let Some(oldest) = self.memory.pop() else { return false };
        self.let_go(oldest.batch.stream, oldest.batch.readings);
        self.counters.dropped_batches.count();
        true
    }

    /// The disk does not say that it has what was written last: it is written again, elsewhere. What memory has no room for
    /// stays where it is.
    pub fn rescue(&mut self, error: &io::Error) {
        self.disk_failed(error);
        let Some(log) = self.log.as_mut() else { return };
        for (batch, list) in log.not_synced(&self.held).into_iter().rev() {
            let (stream, readings, samples) = (batch.stream, batch.readings, batch.sample_count);
            if !self.memory.push_before(batch, &list) {
                break;
            }
            log.forget(stream, readings, samples);
        }
        self.is_behind = true;
    }

    fn find_oldest(&mut self) {
        self.oldest = self.oldest_batch().map(|batch| batch.newest);
    }

    /// What waits, and what was lost.
    pub fn stats(&self) -> Stats {
        let (batches, samples) = self.log.as_ref().map_or((0, 0), Log::counts);
        let in_memory = self.memory.len();
        Stats {
            batches: batches + in_memory,
            samples: samples + self.memory.iter().map(|batch| batch.sample_count).sum::<usize>(),
            batches_in_memory: in_memory,
            bytes: self.log.as_ref().map_or(0, Log::bytes),
            oldest: self.oldest,
            dropped_batches: self.counters.dropped_batches.get(),
            rejected_batches: self.counters.rejected_batches.get(),
            damaged_batches: self.counters.damaged_batches.get(),
            disk_fails: self.disk_fails || self.log.is_none(),
        }
    }
}
