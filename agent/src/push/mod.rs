//! The way of a batch to the server: the request, what its answer means, and what to do then.

pub mod client;
pub mod identity;
pub mod link;
pub mod sender;
pub mod transport;
pub mod verdict;
