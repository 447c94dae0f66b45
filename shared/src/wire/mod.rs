//! What travels as JSON between Edgewatch and everybody else. Shapes only: no
//! rule is checked here beyond what a type can say ([`crate::validate`] checks the rest).

mod v1;

pub use v1::*;
