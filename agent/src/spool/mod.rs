//! The spool: every batch is written to disk before it is sent, and stays until the server has it.
//!
//! [`segment`] is a file of [`record`]s, [`log`] all of them; [`held`] says what of each stream waits. Of what is on the disk
//! memory knows ranges of reading numbers and a few numbers a segment, so that days without a server cost none.
//! [`state`] decides; this file lets two threads share it. What the disk does not take waits in memory, within bounds.
//! `docs/spool-format.md` has the files byte by byte.

pub mod disk;
mod held;
mod lock;
mod log;
mod memory;
mod ranges;
pub mod record;
pub mod rejected;
mod segment;
mod state;

use self::log::Log;
use crate::{
    batch::{Batch, SeriesList},
    clock::Clock,
    counters::Counters,
};
use disk::Disk;
use edgewatch_shared::{
    TimestampMs,
    wire::push::{ReadingRange, StreamId},
};
use lock::Lock;
pub use lock::LockError;
pub use memory::MEMORY_BYTES_MAX;
pub use state::FRESH_BATCHES_MAX;
use state::State;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Its folder in the state directory.
pub const FOLDER: &str = "spool";

/// There is no room for a batch; it is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How often and how long one agent waits at its start for the other to end. Reason: one that stops takes at most 5 s.
const LOCK_TRIES: u32 = 60;
const LOCK_TRY_EVERY: Duration = Duration::from_millis(100);
/// How often a folder is opened before a file in it that cannot be read is put out of the way. Reason: ten minutes, in which a
/// host may get over what ails it.
const HOPEFUL_TRIES: u32 = 60;

/// Which batches go when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The new one: the beginning of an outage is what people look for.
    DropNewest,
    /// The oldest, a segment of them at a time.
    DropOldest,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes on the disk.
    pub bytes_max: u64,
    /// Milliseconds since a batch's last reading.
    pub age_ms_max: i64,
    /// What goes when there is no room.
    pub when_full: WhenFull,
}

/// What waits and what was lost, at some instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that wait.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// How many of the batches are in memory only.
    pub batches_in_memory: usize,
    /// Bytes of the files, what is delivered in them included.
    pub bytes: u64,
    /// The time of the oldest batch's last reading, about.
    pub oldest: Option<TimestampMs>,
    /// Batches dropped for lack of room or for their age, since the start.
    pub dropped_batches: u64,
    /// Batches that the server refused for good, since the start.
    pub rejected_batches: u64,
    /// Batches and places in files that could not be read, since the start.
    pub damaged_batches: u64,
    /// Whether the disk does not take what it is given.
    pub disk_fails: bool,
}

/// A batch that waits, as it is to be sent.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What is to be sent: all of a frozen batch, or a part of it.
    pub batch: Batch,
    /// Whether it is news; else it is caught up with.
    pub is_fresh: bool,
    /// The readings of all of the frozen batch.
    record: ReadingRange,
}

/// What the spool works with.
pub struct Setup {
    /// Its folder; made if need be.
    pub dir: PathBuf,
    /// How much it keeps.
    pub limits: Limits,
    /// The stream of this process.
    pub stream: StreamId,
    /// Judges ages, and says when stamps are wrong.
    pub clock: Arc<Clock>,
    /// Counts what is lost.
    pub counters: Arc<Counters>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

/// The spool, shared by the collecting thread and the sending one.
pub struct Spool {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    changed: Condvar,
    stats: Mutex<Stats>,
    lock: Mutex<Option<Lock>>,
}

impl Spool {
    /// Opens the folder. One that another agent uses is an error; one that cannot be used is said, and batches are kept
    /// in memory.
    pub fn open(setup: Setup) -> Result<Self, LockError> {
        let Setup { dir, limits, stream, clock, counters, disk } = setup;
        let spool = Self {
            dir,
            disk,
            state: Mutex::new(State::new(limits, clock, counters, stream)),
            changed: Condvar::new(),
            stats: Mutex::default(),
            lock: Mutex::default(),
        };
        let mut state = spool.lock();
        for tries in 1.. {
            match spool.open_folder(&mut state) {
                Ok(()) => break,
                Err(OpenError::Lock(error)) if tries == LOCK_TRIES => return Err(error),
                Err(OpenError::Lock(error)) => {
                    if tries == 1 {
                        ::log::warn!("the spool is used by {}, waiting for it to end", error.holder);
                    }
                    thread::sleep(LOCK_TRY_EVERY);
                }
                Err(OpenError::Io(error)) => {
                    state.disk_failed(&error);
                    break;
                }
            }
        }
        spool.done(state);
        Ok(spool)
    }

    fn open_folder(&self, state: &mut State) -> Result<(), OpenError> {
        self.disk.create_dir(&self.dir)?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(Lock::take(&self.dir)?);
        }
        state.tries = state.tries.saturating_add(1);
        let is_hopeful = state.tries < HOPEFUL_TRIES;
        let (log, found) = Log::open(&self.dir, state.limits.bytes_max, Arc::clone(&self.disk), is_hopeful)?;
        (0..found.damaged).for_each(|_| state.counters.damaged_batches.count());
        state.opened(log, &found.held);
        Ok(())
    }

    /// Takes the newest batch in: on disk, or in memory if the disk fails.
    pub fn freeze(&self, batch: Batch, list: &Arc<SeriesList>) -> Result<(), Full> {
        let mut state = self.lock();
        if state.log.is_none() && state.may_try_disk() {
            match self.open_folder(&mut state) {
                Ok(()) => {}
                Err(OpenError::Lock(error)) => state.disk_failed(&io::Error::other(error)),
                Err(OpenError::Io(error)) => state.disk_failed(&error),
            }
        }
        let frozen = state.freeze(batch, list);
        self.done(state);
        self.changed.notify_all();
        frozen
    }

    /// The oldest of the fresh batches.
    pub fn fresh(&self) -> Option<Waiting> {
        self.with(State::fresh)
    }

    /// The oldest batch that is not fresh.
    pub fn backlog(&self) -> Option<Waiting> {
        self.with(State::backlog)
    }

    /// The oldest batch that will be gone when the process ends.
    pub fn oldest_in_memory(&self) -> Option<Waiting> {
        self.with(State::oldest_in_memory)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The series list of a batch; `None` where it can never be read.
    pub fn list(&self, waiting: &Waiting) -> io::Result<Option<SeriesList>> {
        self.lock().list(waiting)
    }

    /// The oldest reading that is held of a batch's stream.
    pub fn floor(&self, waiting: &Waiting) -> u64 {
        let first = waiting.batch.readings.first;
        self.lock().floor(waiting.batch.stream).unwrap_or(first)
    }

    /// The server may have stored this, so it must not change any more.
    pub fn may_be_stored(&self, waiting: &Waiting) {
        self.lock().may_be_stored(waiting);
    }

    /// From now on a batch goes in halves, each with its own readings. False if it has but one.
    pub fn cut(&self, waiting: &Waiting) -> bool {
        let ReadingRange { first, last } = waiting.batch.readings;
        let readings = last.saturating_sub(first).saturating_add(1);
        if readings > 1 {
            self.with(|state| state.cut(waiting, first.saturating_add(readings / 2)));
        }
        readings > 1
    }

    /// Lets go of a batch that was delivered or refused for good.
    pub fn settle(&self, waiting: &Waiting) {
        self.with(|state| state.settle(waiting));
    }

    /// Makes durable what is not. Called while the server is away: what is delivered at once needs no disk that lasts.
    pub fn sync(&self) {
        let to_sync = self.lock().log.as_mut().and_then(Log::take_unsynced);
        let Some(to_sync) = to_sync else { return };
        // Nobody waits for the disk meanwhile.
        let synced = to_sync.sync(self.disk.as_ref());
        self.with(|state| match synced {
            Ok(()) => state.log.iter_mut().for_each(|log| log.synced(&to_sync)),
            Err(error) => state.rescue(&error),
        });
    }

    /// Nothing more will be frozen.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether nothing more will be frozen.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many batches were frozen so far.
    pub fn frozen(&self) -> u64 {
        self.lock().frozen
    }

    /// Waits until more than `frozen` batches were frozen, until nothing more will be, or for so long.
    pub fn wait(&self, frozen: u64, at_most: Duration) {
        let waiting = |state: &mut State| state.frozen == frozen && !state.closed;
        let _woken = self.changed.wait_timeout_while(self.lock(), at_most, waiting);
    }

    /// What waits and what was lost. Does not wait for the disk.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        self.done(state);
        result
    }

    fn done(&self, state: MutexGuard<'_, State>) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = state.stats();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the process: see the release profile.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error that says whose it is.
fn of_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Why a folder is not in use.
enum OpenError {
    Lock(LockError),
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LockError> for OpenError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

#[cfg(test)]
mod tests;
