//! The simplest boot environment that keeps the contract: one sector, written whole or not at all.

use gybe_core::boot::variables::{self, Notation, VariableError};
use gybe_core::boot::{BootEnv, BootState, EnvFile, Health, Loaded};

use crate::{FakeFile, FakeFileError};

/// Length of the one sector.
const LEN: usize = 512;

/// An environment in one sector of a [`FakeFile`]. It makes one fault: a cut store has happened or
/// has not, because a sector is never torn.
#[derive(Clone, Debug)]
pub struct FakeEnv {
    file: FakeFile,
}

/// Why a fake environment cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FakeEnvError {
    /// The file does not work.
    #[error("boot environment: {0}")]
    File(FakeFileError),
    /// The variables hold no state.
    #[error("boot environment: {0}")]
    Variables(VariableError),
    /// What is in the file is no text.
    #[error("boot environment: not text")]
    NotText,
}

impl FakeEnv {
    /// The environment in this file; an empty one is a factory environment.
    #[must_use]
    pub const fn new(file: FakeFile) -> Self {
        Self { file }
    }
}

impl BootEnv for FakeEnv {
    type Error = FakeEnvError;

    fn load(&mut self) -> Result<Loaded, FakeEnvError> {
        let mut sector = [0; LEN];
        self.file.read(&mut sector).map_err(FakeEnvError::File)?;
        let text = str::from_utf8(&sector).map_err(|_| FakeEnvError::NotText)?;
        let lines = || text.lines().filter_map(|line| line.split_once('='));
        let value = |name: &str| lines().find(|(found, _)| *found == name).map(|(_, value)| value);
        let state = variables::decode(Notation::Digit, value).map_err(FakeEnvError::Variables)?;
        Ok(Loaded { state, health: Health::Whole })
    }

    fn store(&mut self, state: &BootState) -> Result<(), FakeEnvError> {
        let variables = variables::encode(state, Notation::Digit);
        let lines = variables.each_ref().map(|v| format!("{}={}\n", v.name, v.value()));
        let mut sector = lines.concat().into_bytes();
        sector.resize(LEN, 0);
        self.file.write(&sector).map_err(FakeEnvError::File)
    }
}
