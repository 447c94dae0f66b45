//! Where things are kept: [`shards`] (Durable Objects), [`catalogue`] (D1), [`blobs`] and [`objects`] (R2);
//! [`gather`] asks them all. No HTTP in here.

pub mod blobs;
pub mod catalogue;
pub mod gather;
pub mod objects;
pub mod placement;
pub mod pushes;
pub mod shards;
