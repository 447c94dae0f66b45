//! The sending thread: the queue's oldest batch, again and again, until the server has it or has refused it for good.

use super::{
    client::Client,
    identity::Identity,
    link::Link,
    verdict::{Judged, Verdict, judge},
};
use crate::{
    backoff::retry_ms,
    batch::Batch,
    clock::{Clock, Exchange, STEP_MS},
    counters::Counters,
    queue::Queue,
    schedule::{FLUSH_MS_MAX, Schedule},
};
use edgewatch_shared::wire::push::{DictionaryId, MEDIA_TYPE};
use log::{debug, error, info, log, warn};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Where batches go.
const PATH: &str = "/api/v1/push";

/// What the sending thread works with.
pub struct Sender {
    /// Where batches wait.
    pub queue: Arc<Queue>,
    /// When to stop, and whom to tell the server's pace.
    pub schedule: Arc<Schedule>,
    /// Signs, and learns from replies.
    pub clock: Arc<Clock>,
    /// Counts what fails.
    pub counters: Arc<Counters>,
    /// Set when the host's facts were lost with a batch and have to be told again.
    pub facts_due: Arc<AtomicBool>,
    /// The way to the server.
    pub client: Client,
    /// Who we are.
    pub identity: Identity,
    /// A number out of `[0, 1)`.
    pub random: fn() -> f64,
}

/// How the oldest batch has fared so far.
#[derive(Default)]
struct Tries {
    failed: u32,
    /// The server may have stored it without our hearing of it: its samples must not change any more.
    may_be_stored: bool,
}

/// What the thread remembers from push to push.
#[derive(Default)]
struct State {
    tries: Tries,
    /// The series list of the last push that was taken: the server has it, unless it says otherwise.
    known_list: Option<DictionaryId>,
}

impl Sender {
    /// Sends until the queue is closed and empty, or until there is no use in trying before the agent ends.
    pub fn run(self) {
        let mut link = Link::default();
        let mut state = State::default();
        while let Some(batch) = self.queue.wait_for_front() {
            let batch = self.stamped_right(batch, &state.tries);
            let with_list = state.known_list != Some(batch.list());
            let body = match batch.body(with_list) {
                Ok(body) => body,
                Err(fault) => {
                    error!("a batch cannot be sent, it is dropped: {fault}");
                    self.reject(&batch);
                    self.queue.take_front();
                    state.tries = Tries::default();
                    continue;
                }
            };
            let (verdict, clock_stepped) = self.push(&body);
            // A token of the wrong time is no news once the time is mended: the next one will be right.
            let mended = clock_stepped && matches!(verdict, Verdict::Unauthorized { .. });
            let news = if mended { None } else { link.news(&verdict, self.clock.running_ms()) };
            if let Some((level, line)) = news {
                log!(level, "{line}");
            }
            if self.settle(&batch, verdict, &mut state).is_break() {
                return;
            }
        }
    }

    /// A batch that was stamped before the clock turned out to be wrong is stamped anew, as long as no server can have stored it.
    fn stamped_right(&self, batch: Arc<Batch>, tries: &Tries) -> Arc<Batch> {
        let offset_ms = self.clock.offset_ms();
        let off_by_ms = offset_ms.saturating_sub(batch.clock_offset_ms());
        if tries.may_be_stored || off_by_ms.saturating_abs() < STEP_MS {
            return batch;
        }
        match batch.restamped(offset_ms) {
            Ok(restamped) => {
                self.queue.replace_front(std::iter::once(restamped.clone()));
                Arc::new(restamped)
            }
            Err(fault) => {
                error!("a batch keeps its old timestamps: {fault}");
                batch
            }
        }
    }

    /// Makes one request. Returns what became of it, and whether its answer set our clock.
    fn push(&self, body: &[u8]) -> (Verdict, bool) {
        let bearer = self.identity.bearer(self.clock.now().seconds());
        let sent_ms = self.clock.running_ms();
        let answer = match self.client.post(PATH, &bearer, MEDIA_TYPE, body) {
            Ok(answer) => answer,
            Err(no_answer) => {
                let verdict = Verdict::Retry { why: no_answer.to_string(), retry_after_s: None };
                return (verdict, false);
            }
        };
        let received_ms = self.clock.running_ms();
        let Judged { verdict, server } = judge(&answer);
        let step_ms =
            server.map_or(0, |server| self.clock.correct(Exchange { sent_ms, received_ms, server }));
        let stepped = step_ms.saturating_abs() >= STEP_MS;
        if stepped {
            info!("the clock was corrected by {step_ms} ms, to the server's");
        }
        (verdict, stepped)
    }

    /// Does what the verdict asks for.
    fn settle(&self, batch: &Batch, verdict: Verdict, state: &mut State) -> ControlFlow<()> {
        let tries = &mut state.tries;
        match verdict {
            Verdict::Delivered(reply) => {
                debug!(
                    "pushed {} samples; {} were there before, {} refused by their time",
                    reply.ingested, reply.duplicate, reply.refused
                );
                state.known_list = Some(batch.list());
                self.schedule.follow(reply.next_push_ms, self.clock.running_ms());
            }
            Verdict::UnknownList { .. } => {
                // With its list it cannot be unknown: a server that says so once more is asked again after a pause.
                if state.known_list.take() == Some(batch.list()) {
                    return ControlFlow::Continue(());
                }
                return self.wait(tries, None);
            }
            Verdict::Rejected { .. } => self.reject(batch),
            Verdict::TooLarge { why } => match batch.halves() {
                Ok(Some(halves)) => {
                    self.queue.replace_front(halves.into_iter());
                    tries.failed = 0;
                    return ControlFlow::Continue(());
                }
                Ok(None) => {
                    warn!("a batch of one reading is too large, it is dropped: {why}");
                    self.reject(batch);
                }
                Err(fault) => {
                    error!("a batch cannot be split, it is dropped: {fault}");
                    self.reject(batch);
                }
            },
            Verdict::Retry { retry_after_s, .. } => {
                tries.may_be_stored = true;
                if let Some(retry_after_s) = retry_after_s {
                    self.schedule.rest(retry_after_s.saturating_mul(1_000), self.clock.running_ms());
                }
                return self.wait(tries, retry_after_s);
            }
            // The same bytes will be welcome once the host is: nothing of them was stored.
            Verdict::Unauthorized { .. } => return self.wait(tries, None),
        }
        self.queue.take_front();
        *tries = Tries::default();
        ControlFlow::Continue(())
    }

    fn reject(&self, batch: &Batch) {
        self.counters.rejected_batches.count();
        if batch.has_facts() {
            self.facts_due.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for the next try. An agent that is told to stop meanwhile tries at once; one that
    /// was told before breaks off if the wait would outlast its end.
    fn wait(&self, tries: &mut Tries, retry_after_s: Option<u64>) -> ControlFlow<()> {
        self.counters.push_failures.count();
        tries.failed = tries.failed.saturating_add(1);
        let wait_ms = retry_ms(tries.failed, (self.random)(), retry_after_s);
        if !self.schedule.is_stopping() {
            self.schedule.wait_unless_stopping(wait_ms);
        } else if wait_ms < FLUSH_MS_MAX {
            std::thread::sleep(Duration::from_millis(wait_ms));
        } else {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
