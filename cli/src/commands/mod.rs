//! One command a file.

pub mod hosts;
pub mod inspect;
pub mod query;
pub mod retention;
pub mod token;
