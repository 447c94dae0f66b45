//! What travels between Edgewatch and everybody else: JSON, and the compact [`push`] of our own agent. Shapes only: no
//! rule is checked here beyond what a type can say ([`crate::validate`] checks the rest).

pub mod export;
mod processes;
pub mod push;
mod rebuild;
mod retention;
mod usage;
mod v1;

pub use processes::*;
pub use rebuild::*;
pub use retention::*;
pub use usage::*;
pub use v1::*;
