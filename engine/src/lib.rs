//! The storage and query engine of a shard, pure: it knows no clock, no network
//! and no SDK. Storage comes in as [`Sql`], time as an argument, and what has to
//! reach R2 is handed out step by step ([`seal::Seal`]).
//!
//! The way of a batch: [`frame::Frame`] (a batch as bytes) → [`shard::Shard::push`]
//! → [`wal`] → [`head`] (for readers) → [`seal`] → [`block`] → [`query`].

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test may stop at the first surprise"
    )
)]

pub mod agenda;
pub mod block;
pub mod block_index;
mod bytes;
pub mod call;
pub mod chunk;
pub mod compaction;
pub mod compression;
pub mod counters;
pub mod dictionaries;
pub mod frame;
pub mod head;
pub mod headlines;
pub mod jobs;
pub mod ledger;
pub mod moves;
pub mod pace;
pub mod planner;
pub mod query;
pub mod quota;
pub mod records;
pub mod recovery;
pub mod registry;
pub mod retention;
pub mod rollup;
pub mod seal;
pub mod series_limit;
pub mod series_registry;
pub mod shard;
pub mod split;
pub mod sql;
pub mod streams;
pub mod usage;
pub mod wal;

#[cfg(test)]
mod rusqlite_sql;

pub use shard::Shard;
pub use sql::Sql;
