//! One command a file.

pub mod hosts;
pub mod query;
pub mod token;
