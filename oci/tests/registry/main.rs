//! A registry that is slow, broken or hostile, and one that is none of it: what is asked of it, what
//! is told it, and what is taken from it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

mod device;
mod documents;
mod hostile;
mod links;
mod mirrors;
mod push;
mod reports;
mod server;
mod who;
