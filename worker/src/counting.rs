//! What this instance has counted and not yet handed on to a shard. It rides on the
//! next call to any shard; what an instance still holds when it ends is lost, so
//! the totals may lag, but never jump back.

use edgewatch_engine::counters::{Counter, Counters};
use edgewatch_shared::{ErrorCode, RefusalReason};
use std::cell::RefCell;

thread_local! {
    static PENDING: RefCell<Counters> = RefCell::default();
}

/// Counts something.
pub fn add(counter: Counter, count: u64) {
    PENDING.with_borrow_mut(|pending| pending.add(counter, count));
}

/// Counts a request that was answered.
pub fn request(route: u8, status: u16) {
    add(Counter::Requests { route, status }, 1);
}

/// Counts a push that was refused.
pub fn refused(code: ErrorCode) {
    add(Counter::Refused(RefusalReason::of(code)), 1);
}

/// Takes everything, to be sent along with a call.
pub fn take() -> Counters {
    PENDING.take()
}

/// Takes back what a call that failed should have handed on.
pub fn give_back(counters: &Counters) {
    PENDING.with_borrow_mut(|pending| pending.merge(counters));
}
