//! The U-Boot half of the boot contract: the environment's image, where its copies lie, and the
//! order in which they are written.
//!
//! The other half is `boot.cmd` in this package, which is made into `boot.scr` by `mkimage`.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

#[cfg(test)]
extern crate std;

mod environment;
mod fw_env;
mod image;

pub use environment::{CopyError, Environment, EnvironmentError, FILE_LEN, second_file_name};
pub use fw_env::{Area, FwEnv, FwEnvError, LEN_MAX};
pub use image::{Image, ImageError, SEQUENCE, Stamp};
