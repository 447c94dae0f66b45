//! Two things at the same time: one that ends, and one that goes on until then.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Rounds that are made at least, however quick the work is.
const ROUNDS_MIN: usize = 3;

/// Sets a flag when it goes, also when what it watches over panics.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Does `work` while another thread does `again`, over and over, with the number of the round. Returns what the work
/// returned and how many rounds were made.
#[track_caller]
pub fn meanwhile<T>(work: impl FnOnce() -> T, mut again: impl FnMut(usize) + Send) -> (T, usize) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut rounds = 0;
            while rounds < ROUNDS_MIN || !is_over.load(Ordering::SeqCst) {
                again(rounds);
                rounds += 1;
            }
            rounds
        });
        let ended = Ended(&is_over);
        let result = work();
        drop(ended);
        (result, beside.join().expect("what goes on meanwhile holds"))
    })
}
