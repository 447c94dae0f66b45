//! The collecting thread: a round of readings at every tick, a batch into the spool whenever a push is due.

use crate::{
    clock::Clock,
    collectors::{Reading, top::Records},
    facts::untold::Untold,
    pending::Pending,
    schedule::Schedule,
    spool::{Full, Spool},
    ticks::{next_tick, stamp},
};
use edgewatch_shared::{TimestampMs, limits::HOUR_MS, wire::Facts};
use log::{debug, info, warn};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Milliseconds between two looks at the host's facts. Reason: most change with a reboot only.
const FACTS_EVERY_MS: i64 = HOUR_MS;

/// Reads the host once.
pub type Collect = Box<dyn FnMut() -> Vec<Reading> + Send>;

/// What the collecting thread works with.
pub struct Recorder {
    /// Reads the host once.
    pub collect: Collect,
    /// Makes records of the host's processes, unless they are switched off.
    pub records: Option<Records>,
    /// Gathers the host's facts.
    pub gather_facts: fn() -> Facts,
    /// Where facts go.
    pub untold: Arc<Untold>,
    /// The name in every body, where the token does not say it.
    pub host_in_body: Option<String>,
    /// Milliseconds between readings.
    pub interval_ms: Arc<AtomicI64>,
    /// Stamps.
    pub clock: Arc<Clock>,
    /// When to push and when to stop.
    pub schedule: Arc<Schedule>,
    /// Where batches go.
    pub spool: Arc<Spool>,
    /// What was read and is in no batch yet.
    pub pending: Pending,
    /// What the thread remembers from round to round.
    pub state: State,
}

/// What the collecting thread remembers.
#[derive(Debug, Default)]
pub struct State {
    facts_gathered_ms: Option<i64>,
    is_dropping: bool,
}

/// When there will be something to push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing is pending.
    Nothing,
    /// In so many milliseconds.
    InMs(i64),
    /// It has just been frozen.
    Frozen,
}

impl Recorder {
    /// Collects until it is told to stop, freezes what is left and closes the spool.
    pub fn run(mut self) {
        self.look_at_facts();
        let mut last = None;
        while !self.schedule.is_stopping() {
            let tick = next_tick(self.clock.now(), last, self.interval_ms());
            if self.waited_until(tick) {
                last = Some(tick);
                self.collect(tick);
            }
        }
        self.freeze();
        debug!("{} readings were taken", self.pending.taken());
        // What collectors keep is on the disk before the end is told: nobody waits for this thread after it.
        drop(self.collect);
        self.spool.close();
    }

    fn interval_ms(&self) -> i64 {
        self.interval_ms.load(Ordering::Relaxed)
    }

    /// Waits for the tick, and freezes a batch if a push falls due meanwhile. False if the wait was
    /// broken off: to stop, or because the clock was set and the tick is now too far away.
    fn waited_until(&mut self, tick: TimestampMs) -> bool {
        loop {
            if self.schedule.is_stopping() {
                return false;
            }
            let to_tick_ms = tick.ms_since(self.clock.now());
            if to_tick_ms <= 0 {
                return true;
            }
            if to_tick_ms > self.interval_ms().saturating_mul(2) {
                return false;
            }
            match self.freeze_if_due() {
                Due::Nothing => self.schedule.wait(to_tick_ms),
                Due::InMs(to_push_ms) => self.schedule.wait(to_tick_ms.min(to_push_ms)),
                Due::Frozen => {}
            }
        }
    }

    /// Reads the host at its tick.
    pub fn collect(&mut self, tick: TimestampMs) {
        // A reply may set the clock meanwhile.
        let (now, offset_ms) = self.clock.reading();
        let time = stamp(now, tick, self.interval_ms());
        let readings = (self.collect)();
        if !self.pending.has_room_for(&readings) {
            self.freeze();
        }
        self.pending.add(readings, time, offset_ms);
    }

    /// Freezes what is pending if a push is due.
    pub fn freeze_if_due(&mut self) -> Due {
        if self.pending.is_empty() {
            return Due::Nothing;
        }
        let due_ms = self.schedule.push_due_ms();
        let to_push_ms = due_ms.saturating_sub(self.clock.running_ms());
        if to_push_ms > 0 {
            return Due::InMs(to_push_ms);
        }
        self.freeze();
        Due::Frozen
    }

    fn freeze(&mut self) {
        self.schedule.push_made(self.clock.running_ms());
        self.look_at_facts();
        let ((now, offset_ms), running_ms) = (self.clock.reading(), self.clock.running_ms());
        let records = self.records.as_mut().filter(|_| !self.pending.is_empty());
        let processes = records.and_then(|records| records.record(now, running_ms));
        let host = self.host_in_body.as_deref();
        let Some((batch, list)) = self.pending.freeze(host, offset_ms) else { return };
        let readings = batch.readings;
        match self.spool.freeze(batch.with_processes(processes), list) {
            Ok(()) => {
                debug!("readings {} to {} are frozen", readings.first, readings.last);
                if std::mem::take(&mut self.state.is_dropping) {
                    info!("the spool has room again");
                }
            }
            Err(Full) => {
                if !std::mem::replace(&mut self.state.is_dropping, true) {
                    warn!("the spool is full: new batches are dropped until the server takes old ones");
                }
            }
        }
    }

    fn look_at_facts(&mut self) {
        let now_ms = self.clock.running_ms();
        let is_due = |gathered_ms| now_ms.saturating_sub(gathered_ms) >= FACTS_EVERY_MS;
        if self.state.facts_gathered_ms.is_none_or(is_due) {
            self.state.facts_gathered_ms = Some(now_ms);
            self.untold.are((self.gather_facts)());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Exchange,
        counters::Counters,
        spool::{Limits, Setup, WhenFull, disk::OsDisk},
    };
    use edgewatch_shared::wire::push::StreamId;

    #[test]
    fn a_reading_during_which_the_clock_is_set_moves_with_it() {
        const SERVER: TimestampMs = TimestampMs(3_610_000);
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::new(|| 10_000, TimestampMs(10_000)));
        let stream = StreamId(1);
        let setup = Setup {
            dir: dir.path().join("spool"),
            limits: Limits { bytes_max: 1 << 20, age_ms_max: HOUR_MS, when_full: WhenFull::DropNewest },
            stream,
            clock: Arc::clone(&clock),
            counters: Arc::new(Counters::default()),
            disk: Arc::new(OsDisk),
        };
        let spool = Arc::new(Spool::open(setup).unwrap());
        let told = Arc::clone(&clock);
        let mut recorder = Recorder {
            collect: Box::new(move || {
                told.correct(Exchange { sent_ms: 10_000, received_ms: 10_000, server: SERVER });
                vec![Reading::plain("load_1m", 0.5)]
            }),
            records: None,
            gather_facts: Facts::default,
            untold: Arc::default(),
            host_in_body: None,
            interval_ms: Arc::new(1_000.into()),
            clock,
            schedule: Arc::new(Schedule::new(60_000)),
            spool: Arc::clone(&spool),
            pending: Pending::new(stream),
            state: State::default(),
        };
        recorder.collect(TimestampMs(10_000));
        assert_eq!(recorder.freeze_if_due(), Due::Frozen);
        assert_eq!(spool.fresh().unwrap().batch.newest, SERVER);
    }
}
