//! The harness of the end-to-end tests: the built Worker in workerd and the real agent, driven from outside.
//!
//! Tests lie in `e2e/tests`, one noun a file. They need `cargo xtask build` (with and without
//! `--test-hooks`): what they run is what was built last. A file's tests share a server and keep
//! apart by host names; a test that sets the clock, makes a store fail or restarts has a server of
//! its own. State and logs of every server stay in `target/e2e/<name>` until its next start.

pub mod agent;
pub mod answer;
pub mod api;
pub mod client;
pub mod compact;
pub mod deadline;
pub mod edgewatch;
pub mod hooks;
pub mod machine;
pub mod meanwhile;
pub mod releases;
pub mod samples;
pub mod saved_state;
pub mod self_metrics;
pub mod storage;
pub mod tokens;
