//! One command a file.

pub mod export;
pub mod hosts;
pub mod import;
pub mod inspect;
pub mod query;
pub mod rebuild_catalogue;
pub mod retention;
pub mod token;
