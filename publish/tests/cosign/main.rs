//! Foreign judges of signatures: cosign 2 and 3, oras, a registry, openssl.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::panic, reason = "a test may fail by panicking")]

mod bench;
mod judges;
mod locked;
mod registry;
mod tools;
