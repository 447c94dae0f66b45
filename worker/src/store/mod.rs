//! Where things are kept: [`shards`] (Durable Objects), [`catalogue`] (D1), [`blobs`] (R2). No HTTP in here.

pub mod blobs;
pub mod catalogue;
pub mod shards;
