//! The host's agent: collects metrics and pushes them to an Edgewatch server.
//!
//! Two threads around a queue. [`recorder`] runs the [`collectors`] at every tick and freezes
//! what they read into batches; [`push::sender`] delivers those of the [`spool`] until
//! the server has them. Both go by one [`schedule`] and one corrected [`clock`]. The agent
//! opens no port, runs nothing that a server sends, and needs no privileges.
//!
//! Clocks and randomness are handed in by [`command`]; everything that decides is tested without them.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod backoff;
pub mod batch;
pub mod clock;
pub mod collectors;
pub mod command;
pub mod counters;
pub mod credentials;
pub mod facts;
#[cfg(test)]
mod generated;
pub mod logger;
pub mod os_clock;
pub mod pending;
pub mod platform;
pub mod push;
pub mod recorder;
pub mod schedule;
pub mod server_url;
pub mod settings;
#[cfg(unix)]
pub mod signals;
#[cfg(not(unix))]
#[path = "signals_elsewhere.rs"]
pub mod signals;
pub mod spool;
pub mod status;
pub mod ticks;
pub mod update;
