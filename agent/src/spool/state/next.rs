//! What goes next: fresh batches, then the past, each as it is to be sent.

use super::{
    super::{Waiting, log::Search, record::Record},
    Place, State,
};
use crate::{
    batch::{Batch, BatchError, SeriesList},
    clock::STEP_MS,
};
use edgewatch_shared::wire::push::ReadingRange;
use log::{error, info, warn};
use std::io;

/// Batches that wait as fresh ones; with more the newest goes first, and the others are caught up with. Reason: a short
/// fault delays nothing, and after a long one people want to see now before then.
pub const FRESH_BATCHES_MAX: usize = 5;

impl State {
    /// The newest batch is fresh; it does not lie before this place.
    pub(super) fn is_news(&mut self, readings: ReadingRange, place: Place) {
        // With one more than may be, it is known that only the newest counts.
        if self.fresh.len() > FRESH_BATCHES_MAX {
            self.fresh.pop_front();
        }
        self.fresh.push_back((readings, place));
    }

    /// The oldest of the fresh batches. If there are many, only the newest still counts as fresh.
    pub fn fresh(&mut self) -> Option<Waiting> {
        if self.fresh.len() > FRESH_BATCHES_MAX {
            self.fresh.drain(..FRESH_BATCHES_MAX);
        }
        let fresh = self.fresh.clone();
        fresh.into_iter().find_map(|(readings, place)| {
            let batch = self.find(readings, place)?;
            self.waiting(batch, true)
        })
    }

    /// A batch of our stream, if it can be read.
    fn find(&self, readings: ReadingRange, mut place: Place) -> Option<Batch> {
        let is_it = |batch: &Batch| batch.stream == self.stream && batch.readings == readings;
        while let Some((batch, _, end)) =
            self.log.as_ref().and_then(|log| log.search(place, &self.held).found)
        {
            if is_it(&batch) {
                return Some(batch);
            }
            place = end;
        }
        self.memory.iter().find(|batch| is_it(batch)).cloned()
    }

    fn is_fresh(&self, batch: &Batch) -> bool {
        batch.stream == self.stream && self.fresh.iter().any(|(readings, _)| *readings == batch.readings)
    }

    /// The oldest batch that is not fresh.
    pub fn backlog(&mut self) -> Option<Waiting> {
        self.drop_old();
        loop {
            let batch = self.oldest_batch().filter(|batch| !self.is_fresh(batch))?;
            if let Some(waiting) = self.waiting(batch, false) {
                return Some(waiting);
            }
        }
    }

    /// The oldest batch that is in memory only.
    pub fn oldest_in_memory(&mut self) -> Option<Waiting> {
        loop {
            let batch = self.memory.iter().next()?.clone();
            let is_fresh = self.is_fresh(&batch);
            if let Some(waiting) = self.waiting(batch, is_fresh) {
                return Some(waiting);
            }
        }
    }

    /// The oldest batch that is held and can be read. What can never be read on the way is given up.
    pub(super) fn oldest_batch(&mut self) -> Option<Batch> {
        let search = self.log.as_ref().map(|log| log.search(self.front, &self.held));
        let Search { found, lost, failed } = search.unwrap_or_default();
        match &found {
            Some((_, place, _)) if failed.is_none() => self.front = *place,
            _ => {}
        }
        self.read_failed(failed.as_ref());
        let is_less = !lost.is_empty();
        for (stream, readings) in lost {
            warn!("readings {} to {} cannot be read from the spool", readings.first, readings.last);
            self.counters.damaged_batches.count();
            self.let_go(stream, readings);
        }
        if is_less && let Some(log) = self.log.as_mut() {
            log.count(&self.held);
        }
        found.map(|(batch, ..)| batch).or_else(|| self.memory.iter().next().cloned())
    }

    /// Says that some of the disk cannot be read, or that all can again, unless it has been said.
    fn read_failed(&mut self, failed: Option<&io::Error>) {
        let failed_before = std::mem::replace(&mut self.read_fails, failed.is_some());
        match failed {
            Some(error) if !failed_before => {
                warn!("some of the spool cannot be read, it waits until it can: {error}");
            }
            None if failed_before => info!("all of the spool can be read again"),
            _ => {}
        }
    }

    /// What is to be sent of a batch: as much of it as goes at once, with the times that it is to have.
    fn waiting(&mut self, batch: Batch, is_fresh: bool) -> Option<Waiting> {
        let (stream, record) = (batch.stream, batch.readings);
        match self.part_of(&batch) {
            Ok(batch) => Some(Waiting { batch, record, is_fresh }),
            Err(fault) => {
                error!("a batch is given up: {fault}");
                self.counters.damaged_batches.count();
                self.count_down(stream, record, 1, batch.sample_count);
                self.let_go(stream, record);
                None
            }
        }
    }

    fn part_of(&mut self, batch: &Batch) -> Result<Batch, BatchError> {
        let held = self.held.stream(batch.stream).ok_or(BatchError::Shape)?;
        let part = held.part_of(batch.readings).ok_or(BatchError::Shape)?;
        let batch = batch.part(part)?.moved(held.moved_ms(part.first))?;
        // Stamped before the clock turned out to be wrong: it is stamped anew, as long as no server can have stored it.
        let off_by_ms = self.clock.offset_ms().saturating_sub(batch.clock_offset_ms);
        let is_ours = batch.stream == self.stream && !self.may_be_stored.meets(part);
        if !is_ours || off_by_ms.saturating_abs() < STEP_MS {
            return Ok(batch);
        }
        self.held.moved(batch.stream, part, off_by_ms);
        if self.is_on_disk(batch.stream, part) {
            self.note(Record::Moved(batch.stream, part, off_by_ms));
        }
        batch.moved(off_by_ms)
    }

    /// The series list of a batch; `None` where it can never be read.
    pub fn list(&self, waiting: &Waiting) -> io::Result<Option<SeriesList>> {
        let id = waiting.batch.list;
        let in_memory = self.memory.list(id).map(|list| SeriesList::clone(list));
        match &self.log {
            Some(log) if in_memory.is_none() => log.list(id),
            _ => Ok(in_memory),
        }
    }
}
