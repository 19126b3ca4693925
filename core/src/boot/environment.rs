//! The seams to a boot environment: what an agent needs of it, and what it needs of a medium.

use core::fmt;

use super::BootState;

/// A place where a [`BootState`] outlives a power cut, shared with a boot loader.
///
/// # Contract
/// - `store` is one transition. After a power cut at any moment of it, `load` gives the state
///   before or the state after; where the medium destroyed the very sector it was writing, and the
///   back end has no second copy of everything, `load` gives [`Health::Safe`]: the Good slots as
///   they are both before and after, and no trial.
/// - Returned `Ok` means durable.
/// - `store` of the state that `load` gave changes nothing that matters, and repairs a damaged copy.
/// - Variables of others are kept byte for byte.
/// - When nothing is readable, `load` is an error: it never invents a state.
pub trait BootEnv {
    /// What can go wrong.
    type Error: fmt::Debug + fmt::Display;

    /// Reads the environment.
    ///
    /// # Errors
    /// When the medium cannot be read, or no copy on it is whole.
    fn load(&mut self) -> Result<Loaded, Self::Error>;

    /// Makes `state` what the next boot sees.
    ///
    /// # Errors
    /// When the medium cannot be read or written, or the environment has no room. The state before
    /// or `state` is then in force, as after a power cut.
    fn store(&mut self, state: &BootState) -> Result<(), Self::Error>;
}

/// What [`BootEnv::load`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The state, or `None` in an environment in which none was ever stored: a factory one.
    /// See [`BootState::factory`].
    pub state: Option<BootState>,
    /// In which condition the environment is.
    pub health: Health,
}

/// The condition of a boot environment that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every copy is as it should be.
    Whole,
    /// One of two copies is damaged. The state is complete; the next `store` repairs the copy.
    CopyDamaged,
    /// The live copy is damaged: the state is the record of which slots are Good, without a trial,
    /// as the loader takes it too. The next `store` repairs it.
    Safe,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::CopyDamaged => "one copy is damaged",
            Self::Safe => "the live copy is damaged, the safe one is in force",
        })
    }
}

/// One copy of an environment on a medium: a file, or an area of a device.
///
/// # Contract
/// It is written in place: never truncated, renamed or allocated anew, because a boot loader reads
/// it without replaying a journal. Writing may lengthen a file that is too short.
pub trait EnvFile {
    /// What can go wrong with the medium.
    type Error: fmt::Debug + fmt::Display;

    /// Reads from the start until `content` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn read(&mut self, content: &mut [u8]) -> Result<usize, Self::Error>;

    /// Writes `content` at the start, in one call to the medium, and makes it durable.
    ///
    /// # Errors
    /// Whatever the medium says; any part may then have been written.
    fn write(&mut self, content: &[u8]) -> Result<(), Self::Error>;
}
