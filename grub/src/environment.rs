//! The two environment files, and the order in which they are written.
//!
//! The *live* file holds the whole state, and is the only one the loader writes. The *safe* file
//! holds which slots are Good, for the day on which the live one is damaged. Whatever is cut, the
//! safe file never names a slot Good that is not: it is lowered before a slot is cleared, and
//! raised after one is committed.

use gybe_core::boot::{BootEnv, BootState, EnvFile, Health, Loaded};
use gybe_core::slot::PerSlot;

use crate::{Block, BlockError};

/// What the name of the safe file has behind the name of the live one, beside which it lies.
pub const SAFE_SUFFIX: &str = ".safe";

/// GRUB's environment, in two files.
#[derive(Debug)]
pub struct Environment<F> {
    live: F,
    safe: F,
}

/// Why one of the two files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError<E> {
    /// It cannot be read.
    #[error("{0}")]
    Medium(E),
    /// It is not an environment block with our variables.
    #[error("{0}")]
    Block(BlockError),
}

/// Why the environment cannot be loaded or stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError<E> {
    /// Both files are damaged.
    #[error("boot environment: {live}; and its safe copy: {safe}")]
    BothDamaged {
        /// What is wrong with the live file.
        live: CopyError<E>,
        /// What is wrong with the safe file.
        safe: CopyError<E>,
    },
    /// The live file cannot take the state.
    #[error("boot environment: {0}")]
    Live(CopyError<E>),
    /// The safe file cannot take the state.
    #[error("boot environment, safe copy: {0}")]
    Safe(CopyError<E>),
}

/// A file's block as it is, or an empty one where there is none, and what it says.
struct Copy<E> {
    block: Block,
    state: Result<Option<BootState>, CopyError<E>>,
}

impl<F: EnvFile> Environment<F> {
    /// The environment in these two files. They should lie in separate erase blocks, and on a file
    /// system that the loader reads without a journal.
    pub const fn new(live: F, safe: F) -> Self {
        Self { live, safe }
    }

    /// Makes both files a factory environment, whatever is in them: for provisioning, and for an
    /// operator who lost both. A device in the field boots a slot with it, as with no file at all.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn format(&mut self) -> Result<(), EnvironmentError<F::Error>> {
        let block = Block::empty();
        let medium = CopyError::Medium;
        self.safe.write(block.as_bytes()).map_err(medium).map_err(EnvironmentError::Safe)?;
        self.live.write(block.as_bytes()).map_err(medium).map_err(EnvironmentError::Live)
    }

    /// The live and the safe file again.
    pub fn into_files(self) -> (F, F) {
        (self.live, self.safe)
    }
}

impl<F: EnvFile> BootEnv for Environment<F> {
    type Error = EnvironmentError<F::Error>;

    fn load(&mut self) -> Result<Loaded, Self::Error> {
        let live = read(&mut self.live).state;
        let safe = read(&mut self.safe).state;
        let (state, health) = match (live, safe) {
            (Ok(None), Ok(None)) => (None, Health::Whole),
            (Ok(Some(live)), Ok(Some(safe))) if is_within(safe.good, live.good) => {
                (Some(live), Health::Whole)
            }
            // A live file without our variables was lost, unless the safe one has none either.
            (Ok(None) | Err(_), Ok(Some(safe))) => (Some(safe), Health::Safe),
            (Ok(live), Ok(_) | Err(_)) => (live, Health::CopyDamaged),
            (Err(_), Ok(None)) => (None, Health::Safe),
            (Err(live), Err(safe)) => return Err(EnvironmentError::BothDamaged { live, safe }),
        };
        let without_trial = |state| BootState { trial: None, failed: None, ..state };
        let state = if health == Health::Safe { state.map(without_trial) } else { state };
        Ok(Loaded { state, health })
    }

    fn store(&mut self, state: &BootState) -> Result<(), Self::Error> {
        let live = read(&mut self.live);
        let mut safe = read(&mut self.safe);
        let known = safe.state.as_ref().ok().copied().flatten();
        if known.is_none_or(|known| !is_within(known.good, state.good)) {
            let before = live.state.as_ref().ok().copied().flatten().or(known).unwrap_or(*state);
            let good = both(before.good, state.good);
            safe = write(&mut self.safe, &safe, &safe_record(state, good))
                .map_err(EnvironmentError::Safe)?;
        }
        write(&mut self.live, &live, state).map_err(EnvironmentError::Live)?;
        write(&mut self.safe, &safe, &safe_record(state, state.good))
            .map_err(EnvironmentError::Safe)?;
        Ok(())
    }
}

fn read<F: EnvFile>(file: &mut F) -> Copy<F::Error> {
    // One byte more than a block has, so that a longer file is seen.
    let mut content = [0; Block::LEN.saturating_add(1)];
    let read = file.read(&mut content).map_err(CopyError::Medium).and_then(|len| {
        Block::parse(content.get(..len).unwrap_or_default()).map_err(CopyError::Block)
    });
    match read {
        Ok(block) => Copy { state: block.state().map_err(CopyError::Block), block },
        Err(error) => Copy { block: Block::empty(), state: Err(error) },
    }
}

/// Writes `state` over `copy`, unless it is there already.
fn write<F: EnvFile>(
    file: &mut F,
    copy: &Copy<F::Error>,
    state: &BootState,
) -> Result<Copy<F::Error>, CopyError<F::Error>> {
    let block = copy.block.with_state(state).map_err(CopyError::Block)?;
    if copy.state.is_err() || block != copy.block {
        file.write(block.as_bytes()).map_err(CopyError::Medium)?;
    }
    Ok(Copy { block, state: Ok(Some(*state)) })
}

/// What the safe file says when `good` slots are Good and `state` is, or will be, in force.
fn safe_record(state: &BootState, good: PerSlot<bool>) -> BootState {
    let order = if *good.of(state.order) { state.order } else { !state.order };
    let order = if *good.of(order) { order } else { state.order };
    BootState { order, good, trial: None, failed: None }
}

const fn both(one: PerSlot<bool>, other: PerSlot<bool>) -> PerSlot<bool> {
    PerSlot { a: one.a && other.a, b: one.b && other.b }
}

/// Whether every slot that is Good in `few` is Good in `many`.
const fn is_within(few: PerSlot<bool>, many: PerSlot<bool>) -> bool {
    (many.a || !few.a) && (many.b || !few.b)
}

#[cfg(test)]
mod tests;
