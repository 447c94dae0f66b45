//! Every verb of the project, and the parts of them that the end-to-end tests use.
//!
//! [`setup`] installs, [`build`] compiles, [`server`] runs the built Worker in
//! workerd; [`serve`], [`demo`], [`test`], [`tidy`], [`bench`] and [`release`] are verbs on top of these.

pub mod bench;
pub mod build;
pub mod command;
pub mod cross;
pub mod demo;
mod process_group;
pub mod project;
pub mod release;
pub mod serve;
pub mod server;
pub mod setup;
pub mod signals;
pub mod test;
pub mod tidy;
pub mod tokens;
pub mod wrangler;

/// Bytes as lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
