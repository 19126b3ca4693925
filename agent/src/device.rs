//! The device: its partitions, slots and boot environment.

pub mod aligned;
pub mod cmdline;
pub mod environment;
pub mod gpt;
pub mod identity;
pub mod mapper;
pub mod mounts;
pub mod partition;
pub mod slots;
pub mod sysfs;

mod direct;
mod write_back;
