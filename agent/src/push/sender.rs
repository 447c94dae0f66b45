//! The sending thread: fresh batches first, then what has to be caught up with, each until the server has it or has
//! refused it for good.

use super::{
    client::{Answer, NoAnswer},
    identity::Identity,
    link::Link,
    verdict::{Fate, Judged, Verdict, judge},
};
use crate::{
    backoff::retry_ms,
    batch::{BatchError, SeriesList, Told},
    clock::{Clock, Exchange, STEP_MS},
    counters::Counters,
    facts::untold::Untold,
    schedule::{FLUSH_MS_MAX, Schedule},
    spool::{Spool, Waiting, rejected},
};
use edgewatch_shared::{
    limits::DAY_MS,
    wire::{
        Facts, PushReply,
        push::{DictionaryId, StreamId},
    },
};
use log::{debug, error, info, log, warn};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Where batches go.
pub const PATH: &str = "/api/v1/push";

/// How many times as often as fresh batches those of the past go. Reason: the batches of 16 hours are sent in 80 minutes,
/// and a fleet that comes back together sends 13 times its usual pushes meanwhile: of the 256 hosts of a shard 55 a second,
/// of which a shard takes hundreds.
const CATCH_UP: i64 = 12;
/// Bounds of the milliseconds between two batches of the past. Reason: a host is no flood; nor does a slow pace, which asks
/// for fewer pushes, leave the past where it is.
const CATCH_UP_MS: std::ops::RangeInclusive<i64> = 1_000..=60_000;
/// Milliseconds between batches at the least while the server does not take them. Reason: readings of each second in
/// batches of their own would be many pushes later; and no more than this is lost if the agent is killed.
const AWAY_PACE_MS: u64 = 10_000;
/// Milliseconds between two times that the disk is waited for while the server is away: what a power cut costs.
const SYNC_EVERY_MS: u64 = 10_000;
/// Series lists that the server is believed to have. Reason: the past and the present have one each, now and then two.
const KNOWN_LISTS: usize = 8;
/// How often a batch of the past may be refused or failed at while others are taken. Reason: ten minutes at the usual pace, and
/// whatever fails by chance does not fail ten times in a row.
const FAILURES_MAX: u32 = 10;
/// Milliseconds for which a server that does not know records gets none. Reason: it may be a new one the next day, or have
/// been the old one of two while they were changed.
const BARE_MS: i64 = DAY_MS;
/// The longest wait for a batch; then it is waited on.
const IDLE_MS_MAX: i64 = 3_600_000;

/// Makes one request, with a bearer token and a body.
pub type Post = Box<dyn FnMut(&str, &[u8]) -> Result<Answer, NoAnswer> + Send>;

/// What the sending thread works with.
pub struct Sender {
    /// Where batches wait.
    pub spool: Arc<Spool>,
    /// When to stop, and whom to tell the server's pace.
    pub schedule: Arc<Schedule>,
    /// Signs, and learns from replies.
    pub clock: Arc<Clock>,
    /// Counts what fails.
    pub counters: Arc<Counters>,
    /// The facts that the server does not know.
    pub untold: Arc<Untold>,
    /// The way to the server.
    pub post: Post,
    /// Who we are.
    pub identity: Identity,
    /// A number out of `[0, 1)`.
    pub random: fn() -> f64,
    /// Where batches go that the server refused for good.
    pub rejected_dir: PathBuf,
    /// What the thread remembers from push to push.
    pub state: State,
}

/// What the sending thread remembers.
#[derive(Debug, Default)]
pub struct State {
    link: Link,
    /// Pushes that failed, one after the other.
    failed: u32,
    /// The series lists of the last pushes that were taken: the server has them, unless it says otherwise.
    known_lists: VecDeque<DictionaryId>,
    /// When the next batch of the past may be sent.
    catch_up_ms: i64,
    /// Whether a fresh batch was the last to be taken: where fresh ones never end, the past has its turns.
    is_turn_of_the_past: bool,
    /// The batch of the past that was refused or failed at last while others were taken, by its stream and first reading, and how
    /// often it did.
    suspect: Option<(StreamId, u64, u32)>,
    /// Since when the server is one that does not know records, and gets none.
    bare_since_ms: Option<i64>,
    /// How often the settings were set anew when this was last looked at.
    nudges: u64,
    /// Whether some samples of the last batch that was taken were refused.
    is_refused: bool,
    /// Whether it was said that what is refused cannot be set aside.
    cannot_set_aside: bool,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next one.
    Step,
    /// Wait for a batch, but no longer than this. So many were frozen before.
    Idle {
        /// Batches frozen so far.
        frozen: u64,
        /// Milliseconds.
        at_most_ms: i64,
    },
    /// The server does not take what there is: wait so many milliseconds.
    Pause(u64),
    /// All is sent that is to be sent before the agent ends.
    End,
}

impl Sender {
    /// Sends until the spool is closed and has nothing that is lost with the process, or until there is no use in trying.
    /// Either way what is frozen last is on the disk when it ends.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Next::Step => {}
                Next::Idle { frozen, at_most_ms } => {
                    let at_most_ms = u64::try_from(at_most_ms).unwrap_or_default();
                    self.spool.wait(frozen, Duration::from_millis(at_most_ms));
                }
                Next::Pause(wait_ms) if !self.schedule.is_stopping() => self.pause(wait_ms),
                Next::Pause(wait_ms) if wait_ms < FLUSH_MS_MAX => {
                    std::thread::sleep(Duration::from_millis(wait_ms));
                }
                Next::Pause(_) | Next::End => break,
            }
        }
        while !self.spool.is_closed() {
            self.spool.wait(self.spool.frozen(), Duration::from_millis(FLUSH_MS_MAX));
        }
        self.spool.sync();
    }

    /// Waits for the next try, and for the disk now and then. An agent that is told to stop meanwhile tries at once.
    fn pause(&self, wait_ms: u64) {
        let start = Instant::now();
        let wait = Duration::from_millis(wait_ms);
        loop {
            self.spool.sync();
            let left = wait.saturating_sub(start.elapsed()).min(Duration::from_millis(SYNC_EVERY_MS));
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            if left_ms == 0 || self.schedule.wait_unless_stopping(left_ms) {
                return;
            }
        }
    }

    /// Sends one batch, if one is to be sent now.
    pub fn step(&mut self) -> Next {
        let nudges = self.schedule.nudges();
        if std::mem::replace(&mut self.state.nudges, nudges) != nudges {
            // Settings that are new may name another server.
            self.state.bare_since_ms = None;
            self.state.known_lists.clear();
            self.untold.forget();
        }
        let (frozen, is_closed) = (self.spool.frozen(), self.spool.is_closed());
        let to_catch_up_ms = self.state.catch_up_ms.saturating_sub(self.clock.running_ms());
        // What is on the disk waits there for the next start.
        let past = || if !is_closed && to_catch_up_ms <= 0 { self.spool.backlog() } else { None };
        let in_memory = || if is_closed { self.spool.oldest_in_memory() } else { None };
        let turn = if self.state.is_turn_of_the_past { past() } else { None };
        let waiting = turn.or_else(|| self.spool.fresh()).or_else(past).or_else(in_memory);
        match waiting {
            Some(waiting) => self.send(&waiting),
            None if is_closed => Next::End,
            None if to_catch_up_ms > 0 && !self.spool.is_empty() => {
                Next::Idle { frozen, at_most_ms: to_catch_up_ms }
            }
            None => Next::Idle { frozen, at_most_ms: IDLE_MS_MAX },
        }
    }

    fn send(&mut self, waiting: &Waiting) -> Next {
        let id = waiting.batch.list;
        let is_known = self.state.known_lists.contains(&id);
        let list = if is_known { Ok(None) } else { self.spool.list(waiting) };
        let facts = if waiting.is_fresh { self.untold.get() } else { None };
        let told_list = list.as_ref().ok().and_then(Option::as_ref);
        let body = match self.body(waiting, facts.clone(), told_list) {
            Ok(body) => body,
            Err(fault) => {
                self.give_up(waiting, &fault);
                return Next::Step;
            }
        };
        let (verdict, clock_stepped) = self.push(&body);
        let is_one_reading = waiting.batch.readings.first == waiting.batch.readings.last;
        let verdict = match verdict {
            Verdict::TooLarge { why, is_ours: true } if is_one_reading => Verdict::Rejected { why },
            Verdict::TooLarge { why, is_ours: false } if is_one_reading => {
                Verdict::Retry { why, retry_after_s: None, fate: Fate::Refused }
            }
            // Nothing is left that could be left out: it waits for a newer server.
            Verdict::UnknownSection { why } if self.is_bare() || waiting.batch.processes.is_none() => {
                Verdict::Retry { why, retry_after_s: None, fate: Fate::Refused }
            }
            Verdict::Retry { why, fate, .. } if fate.is_suspect() && self.is_hopeless(waiting) => {
                let why = format!("{FAILURES_MAX} times others were taken and this one was not: {why}");
                Verdict::Rejected { why }
            }
            verdict => verdict,
        };
        if !waiting.is_fresh {
            self.state.catch_up_ms = self.clock.running_ms().saturating_add(self.catch_up_ms());
        }
        // A token of the wrong time is no news once the time is mended: the next one will be right.
        let mended = clock_stepped && matches!(verdict, Verdict::Unauthorized { .. });
        let news = if mended { None } else { self.state.link.news(&verdict, self.clock.running_ms()) };
        if let Some((level, line)) = news {
            log!(level, "{line}");
        }
        match verdict {
            Verdict::Delivered(reply) => self.delivered(waiting, facts, &reply),
            Verdict::UnknownList { .. } if is_known => {
                self.state.known_lists.retain(|known| *known != id);
                return Next::Step;
            }
            // With its list it cannot be unknown: a server that says so once more is asked again after a pause. So is one that
            // was not told it, because the disk could not be read.
            Verdict::UnknownList { .. } if !matches!(list, Ok(None)) => return self.retry(None),
            Verdict::UnknownList { why } => {
                self.give_up(waiting, &format!("its series list cannot be read, and {why}"));
            }
            Verdict::UnknownSection { .. } => {
                self.state.bare_since_ms = Some(self.clock.running_ms());
                return Next::Step;
            }
            Verdict::Rejected { .. } => return self.set_aside(waiting),
            Verdict::TooLarge { .. } => _ = self.spool.cut(waiting),
            Verdict::Retry { retry_after_s, fate, .. } => {
                if fate.may_be_stored() {
                    self.spool.may_be_stored(waiting);
                }
                return self.retry(retry_after_s);
            }
            // The same bytes will be welcome once the host is: nothing of them was stored.
            Verdict::Unauthorized { .. } => return self.retry(None),
        }
        self.state.failed = 0;
        Next::Step
    }

    fn body(
        &self,
        waiting: &Waiting,
        facts: Option<Facts>,
        list: Option<&SeriesList>,
    ) -> Result<Vec<u8>, BatchError> {
        // A host that enrolled since is known by its token.
        let host = self.identity.host_in_body();
        let host = host.map(|now| waiting.batch.host.as_deref().unwrap_or(now));
        let (floor, is_bare) = (self.spool.floor(waiting), self.is_bare());
        waiting.batch.body(Told { floor, host, facts, list, is_bare })
    }

    fn is_bare(&self) -> bool {
        let now_ms = self.clock.running_ms();
        self.state.bare_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) < BARE_MS)
    }

    /// Makes one request. Returns what became of it, and whether its answer set our clock.
    fn push(&mut self, body: &[u8]) -> (Verdict, bool) {
        let bearer = self.identity.bearer(self.clock.now().seconds());
        let sent_ms = self.clock.running_ms();
        let answer = match (self.post)(&bearer, body) {
            Ok(answer) => answer,
            Err(no_answer) => return (Verdict::from(&no_answer), false),
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

    fn delivered(&mut self, waiting: &Waiting, facts: Option<Facts>, reply: &PushReply) {
        let PushReply { ingested, duplicate, refused, .. } = *reply;
        debug!("pushed {ingested} samples; {duplicate} were there before, {refused} were refused");
        self.counters.refused_samples.add(refused);
        if refused > 0 && !self.state.is_refused {
            warn!(
                "the server refuses samples, {refused} of this batch, for their time or for want of room for their series"
            );
        }
        self.state.is_refused = refused > 0;
        let known_lists = &mut self.state.known_lists;
        known_lists.retain(|known| *known != waiting.batch.list);
        known_lists.push_back(waiting.batch.list);
        if known_lists.len() > KNOWN_LISTS {
            known_lists.pop_front();
        }
        if let Some(facts) = facts {
            self.untold.told(&facts);
        }
        self.spool.settle(waiting);
        self.state.is_turn_of_the_past = waiting.is_fresh;
        // The slot that is told to whoever catches up is none for the next fresh push.
        if waiting.is_fresh {
            self.schedule.follow(reply.next_push_ms, self.clock.running_ms());
        }
    }

    /// Keeps a batch that will never be taken as a file, with all that is needed to send it by hand. Where there is no room
    /// for it, it waits where it is.
    fn set_aside(&mut self, waiting: &Waiting) -> Next {
        let readings = waiting.batch.readings;
        let name = format!(
            "{:013}-{:016x}-{}-{}.batch",
            self.clock.now().0.max(0),
            waiting.batch.stream.0,
            readings.first,
            readings.last
        );
        let list = self.spool.list(waiting).map_err(|error| error.to_string());
        let body =
            list.and_then(|list| self.body(waiting, None, list.as_ref()).map_err(|fault| fault.to_string()));
        let kept = body.and_then(|body| {
            rejected::keep(&self.rejected_dir, &name, &body).map_err(|error| error.to_string())
        });
        match kept {
            Ok(path) => debug!("it is kept as {}", path.display()),
            Err(fault) => {
                if !std::mem::replace(&mut self.state.cannot_set_aside, true) {
                    let dir = self.rejected_dir.display();
                    error!("a batch that was refused stays in the spool, {dir} cannot be written: {fault}");
                }
                return self.retry(None);
            }
        }
        self.counters.rejected_batches.count();
        self.spool.settle(waiting);
        (self.state.failed, self.state.cannot_set_aside) = (0, false);
        Next::Step
    }

    /// Whether this batch was refused or failed at too often while others were taken: then it is the batch.
    fn is_hopeless(&mut self, waiting: &Waiting) -> bool {
        if waiting.is_fresh || self.state.failed > 0 {
            return false;
        }
        let (stream, first) = (waiting.batch.stream, waiting.batch.readings.first);
        let before = self.state.suspect.filter(|(of, from, _)| (*of, *from) == (stream, first));
        let failures = before.map_or(1, |(.., failures)| failures.saturating_add(1));
        self.state.suspect = Some((stream, first, failures));
        failures >= FAILURES_MAX
    }

    fn give_up(&self, waiting: &Waiting, fault: &dyn std::fmt::Display) {
        error!("a batch cannot be sent, it is dropped: {fault}");
        self.counters.damaged_batches.count();
        self.spool.settle(waiting);
    }

    /// The same again after a pause, in which what is read goes into fewer batches.
    fn retry(&mut self, retry_after_s: Option<u64>) -> Next {
        self.counters.push_failures.count();
        let rest_ms = retry_after_s.unwrap_or_default().saturating_mul(1_000).max(AWAY_PACE_MS);
        self.schedule.rest(rest_ms, self.clock.running_ms());
        self.state.failed = self.state.failed.saturating_add(1);
        self.state.is_turn_of_the_past = false;
        Next::Pause(retry_ms(self.state.failed, (self.random)(), retry_after_s))
    }

    /// Milliseconds until the next batch of the past, spread so that a fleet that came back together drifts apart.
    fn catch_up_ms(&self) -> i64 {
        let usual_ms = (self.schedule.pace_ms() / CATCH_UP).clamp(*CATCH_UP_MS.start(), *CATCH_UP_MS.end());
        (usual_ms as f64 * (0.75 + 0.5 * (self.random)())) as i64
    }
}

#[cfg(test)]
mod tests;
