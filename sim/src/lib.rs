//! Fake devices that cut power, tear, lose and corrupt, with a seed.
//!
//! [`FakeDisk`] and [`FakeFile`] share a [`Power`] that counts their operations and goes off at a
//! chosen one. [`contract`] holds every boot environment to its contract, and [`player`] plays the
//! boot loader, for the demo and for tests without a machine.
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

pub use disk::{FakeDisk, FakeDiskError, Op};
pub use environment::{FakeEnv, FakeEnvError};
pub use file::{FakeFile, FakeFileError, Tear};
pub use power::{Power, PowerCut};
pub use random::Random;
