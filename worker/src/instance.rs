//! What all requests and all shards of a wasm instance share: heads, buffers, contexts.

use edgewatch_engine::{head::ShardNumber, shard::Instance};
use edgewatch_shared::limits::PENDING_BYTES_MAX;
use std::{cell::RefCell, collections::BTreeMap};

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
    static PENDING_BYTES: RefCell<BTreeMap<ShardNumber, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Works with what is shared. `work` never waits, so nobody else can be at it.
pub fn with<T>(work: impl FnOnce(&mut Instance) -> T) -> T {
    INSTANCE.with_borrow_mut(work)
}

/// Makes room for all that waits for its commit in a shard, now of so many bytes; `false` if there is none, and then it
/// is as before. A new incarnation replaces what the one before it left behind, should it have ended with pushes waiting.
pub fn reserve(shard: ShardNumber, bytes: usize) -> bool {
    PENDING_BYTES.with_borrow_mut(|pending| {
        let others = pending.iter().filter(|(other, _)| **other != shard).map(|(_, bytes)| *bytes);
        let fits = others.fold(bytes, usize::saturating_add) <= PENDING_BYTES_MAX;
        if fits {
            pending.insert(shard, bytes);
        }
        fits
    })
}

/// Nothing waits in a shard any more.
pub fn release(shard: ShardNumber) {
    PENDING_BYTES.with_borrow_mut(|pending| pending.remove(&shard));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_may_wait_in_all_shards_and_not_one_more() {
        assert!(reserve(1, PENDING_BYTES_MAX));
        assert!(!reserve(1, PENDING_BYTES_MAX + 1));
        assert!(!reserve(2, 1));
        // The object of shard 1 began anew.
        assert!(reserve(1, PENDING_BYTES_MAX - 1));
        assert!(reserve(2, 1));
        assert!(!reserve(2, 2));
        release(1);
        assert!(reserve(2, 2));
        release(2);
    }
}
