//! What both threads go by: when the next push is due, and whether to stop.

use edgewatch_shared::limits::PUSH_INTERVAL_MS;
use std::{
    ops::RangeInclusive,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Milliseconds between pushes that a server can ask for at the least. Reason: a watched host, not a flood.
pub const PACE_MS_MIN: i64 = 1_000;
/// Milliseconds between pushes that a server can ask for at the most. Reason: a host must not fall silent by a typo.
pub const PACE_MS_MAX: i64 = 15 * 60_000;
/// Milliseconds between being told to stop and the end, whatever is left. Reason: the 5 s that are promised, and some to exit in.
pub const FLUSH_MS_MAX: u64 = 4_500;

/// What is asked for around the usual pace: a slot within its shard's minute.
const SLOT_MS: RangeInclusive<i64> = PUSH_INTERVAL_MS / 2..=PUSH_INTERVAL_MS * 3 / 2;

/// The pace after a reply, and the wait until the next push. The server's usual answer, about a minute, gives a slot to
/// whoever pushes once a minute, and leaves a host with another setting to that; any other answer, within bounds, goes
/// before the setting.
pub fn pace_and_wait_ms(next_push_ms: u64, setting_ms: i64) -> (i64, i64) {
    let asked_ms = i64::try_from(next_push_ms).unwrap_or(i64::MAX);
    match (SLOT_MS.contains(&asked_ms), setting_ms == PUSH_INTERVAL_MS) {
        (true, true) => (setting_ms, asked_ms),
        (true, false) => (setting_ms, setting_ms),
        (false, _) => {
            let pace_ms = asked_ms.clamp(PACE_MS_MIN, PACE_MS_MAX);
            (pace_ms, pace_ms)
        }
    }
}

/// The schedule. Instants are on the clock that only runs forward.
#[derive(Debug)]
pub struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    setting_ms: i64,
    stopping: bool,
    /// How often waiting threads were told to look again.
    nudges: u64,
    pace_ms: i64,
    push_due_ms: i64,
}

impl Schedule {
    /// The first push is due at once; from then on one every `setting_ms`, until a server asks for another pace.
    pub fn new(setting_ms: i64) -> Self {
        Self {
            state: Mutex::new(State {
                setting_ms,
                stopping: false,
                nudges: 0,
                pace_ms: setting_ms,
                push_due_ms: i64::MIN,
            }),
            changed: Condvar::new(),
        }
    }

    /// From now on a push is due every `setting_ms`, until a server asks for another pace, and whoever waits looks again.
    pub fn set(&self, setting_ms: i64) {
        let mut state = self.lock();
        if setting_ms != state.setting_ms {
            let last_ms = state.push_due_ms.saturating_sub(state.pace_ms);
            state.push_due_ms = last_ms.saturating_add(setting_ms);
            (state.setting_ms, state.pace_ms) = (setting_ms, setting_ms);
        }
        state.nudges = state.nudges.wrapping_add(1);
        self.changed.notify_all();
    }

    /// How often the settings were set anew.
    pub fn nudges(&self) -> u64 {
        self.lock().nudges
    }

    /// Milliseconds between pushes as of now.
    pub fn pace_ms(&self) -> i64 {
        self.lock().pace_ms
    }

    /// When the next push is due.
    pub fn push_due_ms(&self) -> i64 {
        self.lock().push_due_ms
    }

    /// A push was made ready at `now_ms`: the next one is due a pace later.
    pub fn push_made(&self, now_ms: i64) {
        let mut state = self.lock();
        state.push_due_ms = now_ms.saturating_add(state.pace_ms);
    }

    /// A server answered at `now_ms` and asked for the next push in `next_push_ms`.
    pub fn follow(&self, next_push_ms: u64, now_ms: i64) {
        let mut state = self.lock();
        let (pace_ms, wait_ms) = pace_and_wait_ms(next_push_ms, state.setting_ms);
        if wait_ms != state.setting_ms || pace_ms != state.pace_ms {
            state.pace_ms = pace_ms;
            state.push_due_ms = now_ms.saturating_add(wait_ms);
            self.changed.notify_all();
        }
    }

    /// A server takes nothing before `wait_ms` have passed: what is read meanwhile goes into fewer, larger pushes, each
    /// of which will cost the server a request. The next reply sets another pace.
    pub fn rest(&self, wait_ms: u64, now_ms: i64) {
        let wait_ms = i64::try_from(wait_ms).unwrap_or(i64::MAX).min(PACE_MS_MAX);
        let mut state = self.lock();
        if wait_ms > state.pace_ms {
            state.pace_ms = wait_ms;
            state.push_due_ms = now_ms.saturating_add(wait_ms);
            self.changed.notify_all();
        }
    }

    /// From now on nobody waits any more.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Whether to stop.
    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for `wait_ms`, or until something changes.
    pub fn wait(&self, wait_ms: i64) {
        let state = self.lock();
        if !state.stopping {
            let _woken = self.changed.wait_timeout(state, duration(wait_ms));
        }
    }

    /// Waits for `wait_ms`, whatever changes, unless it is time to stop or the settings are new. Returns whether that broke
    /// the wait off.
    pub fn wait_unless_stopping(&self, wait_ms: u64) -> bool {
        let state = self.lock();
        let nudges = state.nudges;
        let waiting = |state: &mut State| !state.stopping && state.nudges == nudges;
        let wait = Duration::from_millis(wait_ms);
        let waited = self.changed.wait_timeout_while(state, wait, waiting);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stopping || state.nudges != nudges
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment or two that belong to different waits.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn duration(wait_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_pace_goes_before_the_setting_within_bounds() {
        for (next_push_ms, setting_ms, pace_ms, wait_ms) in [
            (60_000, 10_000, 10_000, 10_000),
            (60_000, 3_600_000, 3_600_000, 3_600_000),
            (60_000, 60_000, 60_000, 60_000),
            // A slot: for those who push once a minute.
            (30_000, 60_000, 60_000, 30_000),
            (90_000, 60_000, 60_000, 90_000),
            (30_000, 10_000, 10_000, 10_000),
            (90_000, 10_000, 10_000, 10_000),
            (29_999, 10_000, 29_999, 29_999),
            (90_001, 10_000, 90_001, 90_001),
            (5_000, 60_000, 5_000, 5_000),
            (0, 60_000, PACE_MS_MIN, PACE_MS_MIN),
            (999, 60_000, PACE_MS_MIN, PACE_MS_MIN),
            (900_000, 10_000, PACE_MS_MAX, PACE_MS_MAX),
            (900_001, 10_000, PACE_MS_MAX, PACE_MS_MAX),
            (u64::MAX, 10_000, PACE_MS_MAX, PACE_MS_MAX),
        ] {
            let expected = (pace_ms, wait_ms);
            assert_eq!(pace_and_wait_ms(next_push_ms, setting_ms), expected, "{next_push_ms}");
        }
    }

    #[test]
    fn a_slot_moves_the_next_push_and_not_the_pace() {
        let schedule = Schedule::new(60_000);
        schedule.push_made(0);
        schedule.follow(47_000, 300);
        assert_eq!(schedule.push_due_ms(), 47_300);
        // No reply comes.
        schedule.push_made(47_300);
        assert_eq!(schedule.push_due_ms(), 107_300);
    }

    #[test]
    fn who_is_told_to_wait_pushes_less_often_until_the_next_reply() {
        let schedule = Schedule::new(60_000);
        schedule.push_made(0);
        schedule.rest(60_000, 100);
        assert_eq!(schedule.push_due_ms(), 60_000, "no longer than its pace");
        schedule.rest(3_600_000, 100);
        assert_eq!(schedule.push_due_ms(), 100 + PACE_MS_MAX);
        schedule.push_made(100 + PACE_MS_MAX);
        assert_eq!(schedule.push_due_ms(), 100 + 2 * PACE_MS_MAX);
        schedule.follow(60_000, 500_000);
        assert_eq!(schedule.push_due_ms(), 560_000);
    }

    #[test]
    fn the_first_push_is_due_at_once_and_the_next_a_pace_later() {
        let schedule = Schedule::new(60_000);
        assert!(schedule.push_due_ms() <= 0);
        schedule.push_made(5);
        assert_eq!(schedule.push_due_ms(), 60_005);
    }

    #[test]
    fn a_servers_pace_counts_from_its_reply_and_the_own_one_from_push_to_push() {
        let schedule = Schedule::new(60_000);
        schedule.push_made(0);
        schedule.follow(60_000, 300);
        assert_eq!(schedule.push_due_ms(), 60_000);
        schedule.follow(5_000, 300);
        assert_eq!(schedule.push_due_ms(), 5_300);
        schedule.push_made(5_300);
        schedule.follow(5_000, 5_400);
        assert_eq!(schedule.push_due_ms(), 10_400);
        schedule.follow(60_000, 5_400);
        assert_eq!(schedule.push_due_ms(), 65_400);
    }

    #[test]
    fn a_new_setting_counts_from_the_last_push() {
        let schedule = Schedule::new(60_000);
        schedule.push_made(1_000);
        schedule.set(10_000);
        assert_eq!((schedule.push_due_ms(), schedule.pace_ms()), (11_000, 10_000));
        schedule.follow(5_000, 2_000);
        // The same setting leaves the server's pace alone.
        schedule.set(10_000);
        assert_eq!((schedule.push_due_ms(), schedule.pace_ms()), (7_000, 5_000));
        assert!(!Schedule::new(1).wait_unless_stopping(0));
    }

    #[test]
    fn nobody_waits_once_it_stops() {
        let schedule = Schedule::new(60_000);
        assert!(!schedule.wait_unless_stopping(0));
        schedule.stop();
        assert!(schedule.wait_unless_stopping(u64::MAX / 2));
        schedule.wait(i64::MAX);
        assert!(schedule.is_stopping());
    }
}
