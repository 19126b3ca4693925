//! Runs the real binaries against real tools: the demo, the full test, the measurements.
//! Links none of our crates.

pub mod demo;
pub mod device;
pub mod full_test;
pub mod guest;
pub mod hw;

pub mod measure;
pub mod programs;
pub mod registry;
mod run;
pub mod sample;
mod say;
mod tree;
