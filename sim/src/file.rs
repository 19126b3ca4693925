//! A copy of a boot environment whose writes can be torn.

use std::sync::{Arc, Mutex, PoisonError};

use gybe_core::boot::EnvFile;

use crate::power::Step;
use crate::{Power, PowerCut, Random};

/// What a medium makes of the write during which the power goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Each unit of so many bytes is kept or lost, in any combination.
    Units(usize),
    /// As before, and of one unit nothing is left but noise.
    Noise(usize),
}

/// Why a fake file did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FakeFileError {
    /// The power is off.
    #[error("{0}")]
    Power(#[from] PowerCut),
    /// It was made to fail.
    #[error("input/output error")]
    Io,
}

/// A file or area in memory. Clones are the same file, so that one can be looked at while another
/// belongs to an environment.
#[derive(Clone, Debug)]
pub struct FakeFile {
    power: Power,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    tear: Tear,
    random: Random,
    fails: bool,
    write_count: usize,
}

impl FakeFile {
    /// A file with this content.
    #[must_use]
    pub fn new(power: &Power, bytes: Vec<u8>) -> Self {
        let (tear, random) = (Tear::Units(512), Random::new(0));
        let content = Content { bytes, tear, random, fails: false, write_count: 0 };
        Self { power: power.clone(), content: Arc::new(Mutex::new(content)) }
    }

    /// Sets what happens to the write during which the power goes off.
    pub fn tear(&self, tear: Tear, seed: u64) {
        self.with(|content| (content.tear, content.random) = (tear, Random::new(seed)));
    }

    /// Lets every later read and write fail, or work again.
    pub fn fail(&self, fails: bool) {
        self.with(|content| content.fails = fails);
    }

    /// What is in the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.with(|content| content.bytes.clone())
    }

    /// Puts other bytes in the file.
    pub fn replace(&self, bytes: &[u8]) {
        self.with(|content| content.bytes = bytes.to_vec());
    }

    /// How often it was written.
    #[must_use]
    pub fn write_count(&self) -> usize {
        self.with(|content| content.write_count)
    }

    fn with<T>(&self, action: impl FnOnce(&mut Content) -> T) -> T {
        action(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Content {
    /// Keeps of a write what the medium happens to keep.
    fn write_torn(&mut self, new: &[u8]) {
        let (unit_len, noise) = match self.tear {
            Tear::Units(len) => (len, false),
            Tear::Noise(len) => (len, true),
        };
        self.bytes.resize(self.bytes.len().max(new.len()), 0);
        let unit_count = new.len().div_ceil(unit_len).try_into().unwrap_or(u64::MAX);
        let ruined = noise.then(|| self.random.below(unit_count));
        for ((old, new), index) in
            self.bytes.chunks_mut(unit_len).zip(new.chunks(unit_len)).zip(0..)
        {
            if Some(index) == ruined {
                self.random.fill(old);
            } else if self.random.flip() {
                old.get_mut(..new.len()).unwrap_or_default().copy_from_slice(new);
            }
        }
    }
}

impl EnvFile for FakeFile {
    type Error = FakeFileError;

    fn read(&mut self, content: &mut [u8]) -> Result<usize, FakeFileError> {
        self.power.check()?;
        self.with(|file| {
            if file.fails {
                return Err(FakeFileError::Io);
            }
            let read = content.iter_mut().zip(&file.bytes).map(|(to, from)| *to = *from);
            Ok(read.count())
        })
    }

    fn write(&mut self, content: &[u8]) -> Result<(), FakeFileError> {
        let step = self.power.step();
        self.with(|file| match step {
            Step::Off(cut) => Err(cut.into()),
            Step::Done | Step::CutNow(_) if file.fails => Err(FakeFileError::Io),
            Step::CutNow(cut) => {
                file.write_torn(content);
                Err(cut.into())
            }
            Step::Done => {
                file.write_count += 1;
                let kept = file.bytes.get(content.len()..).unwrap_or_default();
                file.bytes = [content, kept].concat();
                Ok(())
            }
        })
    }
}
