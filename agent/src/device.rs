//! The device: its partitions, slots and boot environment.

pub mod aligned;
pub mod clock;
pub mod cmdline;
pub mod environment;
pub mod gpt;
pub mod identity;
pub mod local_time;
pub mod mapper;
pub mod mounts;
pub mod partition;
pub mod reboot;
pub mod slots;
pub mod sysfs;
pub mod this_boot;

mod direct;
mod write_back;
