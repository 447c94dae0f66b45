//! What all requests and all shards of a wasm instance share: heads, buffers, contexts.

use edgewatch_engine::{
    compression::{Deflater, Inflater},
    head::HeadRegistry,
    shard::Instance,
};
use edgewatch_shared::limits::HEADS_BYTES_MAX;
use std::cell::RefCell;

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::new(Instance {
        heads: HeadRegistry::new(HEADS_BYTES_MAX),
        inflater: Inflater::default(),
        deflater: Deflater::default(),
    });
}

/// Works with what is shared. `work` never waits, so nobody else can be at it.
pub fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(work)
}
