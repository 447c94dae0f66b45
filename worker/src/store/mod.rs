//! Where things are kept: [`shards`] (Durable Objects), [`catalogue`] (D1), [`blobs`] and [`objects`] (R2);
//! [`gather`] asks them all. No HTTP in here.

/// Calls of shards and stores that are on their way at the same time: an isolate may have six connections open.
pub const CALLS_AT_ONCE: usize = 6;

pub mod blobs;
pub mod catalogue;
pub mod gather;
pub mod objects;
pub mod placement;
pub mod pushes;
pub mod shards;
