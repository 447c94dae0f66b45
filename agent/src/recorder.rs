//! The collecting thread: a round of readings at every tick, a batch into the queue whenever a push is due.

use crate::{
    clock::Clock,
    collectors::Collectors,
    counters::Counters,
    pending::Pending,
    queue::{Full, Queue},
    schedule::Schedule,
    ticks::{next_tick, stamp},
};
use edgewatch_shared::{
    TimestampMs,
    limits::HOUR_MS,
    wire::{Facts, push::StreamId},
};
use log::{info, warn};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Milliseconds between two looks at the host's facts. Reason: most change with a reboot only.
const FACTS_EVERY_MS: i64 = HOUR_MS;

/// What the collecting thread works with.
pub struct Recorder {
    /// What is read.
    pub collectors: Collectors,
    /// Gathers the host's facts.
    pub gather_facts: fn() -> Facts,
    /// Set when the server has to be told the facts.
    pub facts_due: Arc<AtomicBool>,
    /// What the readings are counted in.
    pub stream: StreamId,
    /// The name in every body, where the token does not say it.
    pub host_in_body: Option<String>,
    /// Milliseconds between readings.
    pub interval_ms: i64,
    /// Stamps.
    pub clock: Arc<Clock>,
    /// When to push and when to stop.
    pub schedule: Arc<Schedule>,
    /// Where batches go.
    pub queue: Arc<Queue>,
    /// Counts what is dropped.
    pub counters: Arc<Counters>,
}

/// What the thread remembers from round to round.
struct State {
    pending: Pending,
    facts: Facts,
    facts_gathered_ms: i64,
    is_dropping: bool,
}

impl Recorder {
    /// Collects until it is told to stop, queues what is left and closes the queue.
    pub fn run(mut self) {
        let mut state = State {
            pending: Pending::new(self.stream),
            facts: (self.gather_facts)(),
            facts_gathered_ms: self.clock.running_ms(),
            is_dropping: false,
        };
        let mut last = None;
        while !self.schedule.is_stopping() {
            let tick = next_tick(self.clock.now(), last, self.interval_ms);
            if self.waited_until(tick, &mut state) {
                last = Some(tick);
                self.collect(tick, &mut state);
            }
        }
        self.queue_pending(&mut state);
        self.queue.close();
    }

    /// Waits for the tick, and queues a batch if a push falls due meanwhile. False if the wait was
    /// broken off: to stop, or because the clock was set and the tick is now too far away.
    fn waited_until(&mut self, tick: TimestampMs, state: &mut State) -> bool {
        loop {
            if self.schedule.is_stopping() {
                return false;
            }
            let to_tick_ms = tick.ms_since(self.clock.now());
            if to_tick_ms <= 0 {
                return true;
            }
            if to_tick_ms > self.interval_ms.saturating_mul(2) {
                return false;
            }
            let mut wait_ms = to_tick_ms;
            if !state.pending.is_empty() {
                let due_ms = self.schedule.push_due_ms();
                let to_push_ms = due_ms.saturating_sub(self.clock.running_ms());
                if to_push_ms <= 0 {
                    self.queue_pending(state);
                    continue;
                }
                wait_ms = wait_ms.min(to_push_ms);
            }
            self.schedule.wait(wait_ms);
        }
    }

    fn collect(&mut self, tick: TimestampMs, state: &mut State) {
        let time = stamp(self.clock.now(), tick, self.interval_ms);
        let round = self.collectors.collect();
        state.pending.add(round, time, self.clock.offset_ms());
        if state.pending.fills_a_batch() {
            self.queue_pending(state);
        }
    }

    fn queue_pending(&self, state: &mut State) {
        let now_ms = self.clock.running_ms();
        self.schedule.push_made(now_ms);
        if now_ms.saturating_sub(state.facts_gathered_ms) >= FACTS_EVERY_MS {
            state.facts_gathered_ms = now_ms;
            let facts = (self.gather_facts)();
            if facts != state.facts {
                state.facts = facts;
                self.facts_due.store(true, Ordering::Relaxed);
            }
        }
        let facts = self.facts_due.swap(false, Ordering::Relaxed).then(|| state.facts.clone());
        let host = self.host_in_body.as_deref();
        for batch in state.pending.freeze(host, facts, self.clock.offset_ms()) {
            match self.queue.push(batch) {
                Ok(()) => {
                    if std::mem::take(&mut state.is_dropping) {
                        info!("the queue has room again");
                    }
                }
                Err(Full(batch)) => {
                    self.counters.dropped_batches.count();
                    if batch.has_facts() {
                        self.facts_due.store(true, Ordering::Relaxed);
                    }
                    if !std::mem::replace(&mut state.is_dropping, true) {
                        warn!("the queue is full: new batches are dropped until the server takes old ones");
                    }
                }
            }
        }
    }
}
