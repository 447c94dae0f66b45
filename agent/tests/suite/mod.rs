//! The tests of the real binary: what arrives, what is tried again, what is dropped.

mod agent_process;
mod fake_server;
mod tls;

mod commands;
mod failures;
mod install;
mod lists;
mod outage;
mod pushes;
mod read_only;
mod reloads;
mod status;
mod stops;
mod transport;
mod unit;
mod watched;
