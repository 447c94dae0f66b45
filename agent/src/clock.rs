//! The corrected clock: a clock that only runs forward, and an offset that the server's replies correct.
//!
//! A host whose own clock is wrong signs tokens that the server accepts and stamps samples
//! that belong where they are put, from the first reply on.

use edgewatch_shared::TimestampMs;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A change of the offset in ms from which on stamps that were made before it are made anew.
/// Reason: below lies what a slow network and two honest clocks disagree by.
pub const STEP_MS: i64 = 1_000;

/// A request and its reply, by the clock that only runs forward, and the server's time in the reply.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When the request left.
    pub sent_ms: i64,
    /// When its reply was there.
    pub received_ms: i64,
    /// What the server's clock said in between.
    pub server: TimestampMs,
}

/// The offset after `exchange`.
///
/// The server read its clock between the two instants, so the true offset lies in an
/// interval as wide as the request took. An offset inside is as good as any and stays, so that
/// stamps do not tremble with the network; one outside moves to the middle.
pub fn corrected_offset_ms(offset_ms: i64, exchange: Exchange) -> i64 {
    let earliest = exchange.server.0.saturating_sub(exchange.received_ms);
    let latest = exchange.server.0.saturating_sub(exchange.sent_ms);
    if (earliest..=latest).contains(&offset_ms) { offset_ms } else { earliest.midpoint(latest) }
}

/// The time that stamps and tokens are made with.
#[derive(Debug)]
pub struct Clock {
    running_ms: fn() -> i64,
    offset_ms: AtomicI64,
    is_confirmed: AtomicBool,
}

impl Clock {
    /// A clock that runs with `running_ms` (milliseconds since whenever, never back) and says `wall` now.
    pub fn new(running_ms: fn() -> i64, wall: TimestampMs) -> Self {
        let offset_ms = AtomicI64::new(wall.0.saturating_sub(running_ms()));
        Self { running_ms, offset_ms, is_confirmed: AtomicBool::new(false) }
    }

    /// Milliseconds on the clock that only runs forward: for waiting, and for [`Exchange`].
    pub fn running_ms(&self) -> i64 {
        (self.running_ms)()
    }

    /// What the corrected clock is ahead of the running one.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// The corrected time.
    pub fn now(&self) -> TimestampMs {
        self.reading().0
    }

    /// Whether the last reply agreed with this clock: with the host's own, or with what a reply before had set it to. One
    /// reply alone may be wrong, and what is thrown away for its age does not come back.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed.load(Ordering::Relaxed)
    }

    /// The corrected time and the offset that it was told by, which belong together whatever a reply sets meanwhile.
    pub fn reading(&self) -> (TimestampMs, i64) {
        let offset_ms = self.offset_ms();
        (TimestampMs(self.running_ms().saturating_add(offset_ms)), offset_ms)
    }

    /// Learns from a reply; returns by how many ms the clock was set forward (or back, if negative).
    pub fn correct(&self, exchange: Exchange) -> i64 {
        let before = self.offset_ms();
        let after = corrected_offset_ms(before, exchange);
        self.offset_ms.store(after, Ordering::Relaxed);
        let step_ms = after.saturating_sub(before);
        self.is_confirmed.store(step_ms.saturating_abs() < STEP_MS, Ordering::Relaxed);
        step_ms
    }
}

#[cfg(test)]
pub mod standing {
    //! A clock for tests: it stands still until a test moves it, which no other test sees.

    use std::cell::Cell;

    thread_local! {
        static RUNNING_MS: Cell<i64> = const { Cell::new(0) };
    }

    /// What it says.
    pub fn running_ms() -> i64 {
        RUNNING_MS.get()
    }

    /// Moves it.
    pub fn pass(ms: i64) {
        RUNNING_MS.set(running_ms() + ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(sent_ms: i64, received_ms: i64, server: i64) -> Exchange {
        Exchange { sent_ms, received_ms, server: TimestampMs(server) }
    }

    #[test]
    fn an_offset_that_the_reply_allows_stays_and_another_moves_to_the_middle() {
        // Sent at 1,000, received at 1,200, the server said 5,100: the offset is 3,900 to 4,100.
        let reply = exchange(1_000, 1_200, 5_100);
        for (before, after) in [
            (3_899, 4_000),
            (3_900, 3_900),
            (4_050, 4_050),
            (4_100, 4_100),
            (4_101, 4_000),
            (-999_999, 4_000),
        ] {
            assert_eq!(corrected_offset_ms(before, reply), after, "{before}");
        }
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        for server in [i64::MIN, i64::MAX] {
            let _ = corrected_offset_ms(0, exchange(i64::MAX, i64::MIN, server));
        }
    }

    #[test]
    fn a_clock_that_was_wrong_says_the_servers_time_after_one_reply_and_is_sure_of_it_after_two() {
        let clock = Clock::new(|| 1_000, TimestampMs(50_000));
        assert_eq!((clock.reading(), clock.is_confirmed()), ((TimestampMs(50_000), 49_000), false));
        for (server, step_ms, is_confirmed) in [
            (3_650_000, 3_600_000, false),
            (3_650_000, 0, true),
            (3_650_999, 999, true),
            (50_000, -3_600_999, false),
            (50_000, 0, true),
        ] {
            assert_eq!(clock.correct(exchange(1_000, 1_000, server)), step_ms);
            assert_eq!((clock.now(), clock.is_confirmed()), (TimestampMs(server), is_confirmed));
        }
    }

    #[test]
    fn a_host_that_knows_the_time_is_confirmed_by_one_reply() {
        let clock = Clock::new(|| 1_000, TimestampMs(50_000));
        clock.correct(exchange(1_000, 1_000, 50_999));
        assert!(clock.is_confirmed());
    }
}
