//! The real binary against a server of a few lines.

mod suite;
