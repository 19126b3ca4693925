//! The device: its partitions, slots and boot environment.

pub mod identity;
pub mod mounts;
pub mod partition;

mod direct;
