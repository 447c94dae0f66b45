//! Waiting for what will come: by looking, never by a guess at how long it takes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until there is something to see; panics with `what` was awaited once `within` is over.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", within.as_secs_f32());
        thread::sleep(LOOK_INTERVAL);
    }
}
