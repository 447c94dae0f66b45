//! What all requests and all shards of a wasm instance share: heads, buffers, contexts.

use edgewatch_engine::shard::Instance;
use std::cell::RefCell;

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

/// Works with what is shared. `work` never waits, so nobody else can be at it.
pub fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(work)
}
