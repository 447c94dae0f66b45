//! What the agent and the server both believe: limits, time, names, labels,
//! batches, validation, the wire and the metric catalogue.
//!
//! Nothing here does IO or reads a clock: time and randomness are arguments.
//! Bytes from outside enter as [`wire`] types; [`validate`] is the only door
//! through which they become a [`Batch`].

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

pub mod batch;
pub mod catalogue;
pub mod code;
pub mod codec;
pub mod host;
pub mod keys;
pub mod limits;
pub mod name;
pub mod series;
pub mod time;
pub mod token;
pub mod validate;
pub mod wire;

pub use batch::Batch;
pub use code::{ErrorCode, RefusalReason};
pub use host::{HostId, HostName};
pub use series::{Labels, Sample, Series};
pub use time::TimestampMs;
