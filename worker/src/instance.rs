//! What all requests and all shards of a wasm instance share: heads, buffers, contexts.

use edgewatch_engine::shard::Instance;
use std::cell::{Cell, RefCell};

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
    static PENDING_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Works with what is shared. `work` never waits, so nobody else can be at it.
pub fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(work)
}

/// Makes room for bytes that wait for their commit; `false` if there is none.
pub fn reserve(bytes: usize, bytes_max: usize) -> bool {
    let reserved = PENDING_BYTES.get().saturating_add(bytes);
    let fits = reserved <= bytes_max;
    if fits {
        PENDING_BYTES.set(reserved);
    }
    fits
}

/// Gives back what waits no more.
pub fn release(bytes: usize) {
    PENDING_BYTES.set(PENDING_BYTES.get().saturating_sub(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::limits::PENDING_BYTES_MAX;

    #[test]
    fn so_many_bytes_may_wait_and_not_one_more() {
        assert!(reserve(PENDING_BYTES_MAX, PENDING_BYTES_MAX));
        assert!(!reserve(1, PENDING_BYTES_MAX));
        release(1);
        assert!(reserve(1, PENDING_BYTES_MAX));
        release(PENDING_BYTES_MAX);
    }
}
