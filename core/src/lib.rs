//! What an update is allowed to do, and in which order, without an operating system.
//!
//! The core verifies signed releases, reads recipes, and installs them block by block over two
//! small traits. It has no allocator, no clock and no I/O of its own.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

#[cfg(test)]
extern crate std;

pub mod apply;
pub mod base64;
pub mod block;
pub mod boot;
pub mod chunk;
pub mod config;
pub mod digest;
pub mod install;
pub mod json;
pub mod manifest;
pub mod recipe;
pub mod release;
pub mod rollout;
pub mod slot;
pub mod trailer;
pub mod trust;
pub mod verity;
pub mod version;
