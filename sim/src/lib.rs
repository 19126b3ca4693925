//! Fake devices that cut power, tear, lose and corrupt, with a seed.
//!
//! [`FakeDisk`] and [`FakeFile`] share a [`Power`] that counts their operations and goes off at a
//! chosen one. [`contract`] holds every boot environment to its contract, and [`player`] plays the
//! boot loader, for the demo and for tests without a machine. [`replay`] asks after every write that
//! a real machine made what would boot if the power had gone off there.
#![forbid(unsafe_code)]

pub mod contract;
mod disk;
mod environment;
mod fat;
mod file;
pub mod machine;
pub mod player;
mod power;
mod random;
pub mod replay;

pub use disk::{FakeDisk, FakeDiskError, Op};
pub use environment::{FakeEnv, FakeEnvError};
pub use file::{FakeFile, FakeFileError, Tear};
pub use power::{Power, PowerCut};
pub use random::Random;
