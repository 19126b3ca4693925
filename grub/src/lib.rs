//! The GRUB half of the boot contract: the environment block, and the two files it is kept in.
//!
//! The other half is `grub.cfg` in this package, which uses only commands that GRUB 2.06 has.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

#[cfg(test)]
extern crate std;

mod block;
mod environment;

pub use block::{Block, BlockError};
pub use environment::{CopyError, Environment, EnvironmentError, SAFE_SUFFIX};
