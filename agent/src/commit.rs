//! Keeping the running slot: its trial is over.

use gybe_core::block::{BLOCK_LEN, BlockIndex, ReadBlocks as _};
use gybe_core::digest::Digest;
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use gybe_core::verity::{Geometry, TreeBuilder, leaf};
use tracing::{info, warn};

use crate::device::cmdline::CommandLine;
use crate::device::partition::PartitionError;
use crate::device::slots::Running;
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::evidence::{Note, Reached, note_boot};
use crate::release::Refusal;
use crate::session::{Memory, Session};

/// How many blocks are read at once.
const READ_BLOCKS: u64 = 64;
/// The target that the loader reads.
const BOOT_TARGET: &str = "boot";

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The slot that runs.
    pub slot: Slot,
    /// Whether it was not Good before.
    pub changed: bool,
}

/// Keeps the running slot, if what runs is what was signed.
///
/// It is one environment write: a power cut before it leaves the trial, after it the slot is Good.
/// What is remembered follows, and is made again from the environment if it is lost.
///
/// # Errors
/// When no slot runs, it may not be kept, or the environment cannot be written.
pub fn commit(session: &mut Session, memory: &mut Memory) -> Result<Committed, Error> {
    let running = session.slots.running.ok_or(Error::NoneRuns)?;
    let slot = running.slot;
    let committed = session.boot.commit(slot)?;
    let changed = committed != session.boot;
    if changed {
        prove_running(session, slot, running.root_hash)?;
        session.store(committed)?;
        info!(%slot, "committed");
        note(session, running);
        memory.update(|state| *state = session.reconcile(state.clone()));
    }
    Ok(Committed { slot, changed })
}

/// Notes how the trial ended. It has ended, whether that can be noted or not.
fn note(session: &Session, running: Running) {
    let Running { slot, trial, loader, root_hash } = running;
    let line = CommandLine { slot: Some(slot), trial, loader, root_hash };
    let boot = ThisBoot::read(&session.root);
    let noted = note_boot(&session.root, &boot, &line, Note::reached(Reached::Committed));
    if let Err(cause) = noted {
        warn!(%cause, "the evidence does not say that the trial ended well");
    }
}

/// Checks that what runs is what was signed: the loader read the boot target before anything
/// could check it, and may have been told another root hash.
fn prove_running(session: &Session, slot: Slot, told: Option<Digest>) -> Result<(), Error> {
    let held = match session.held.of(slot) {
        Ok(held) => held,
        Err(cause) => return Err(CommitError::Unknown { slot, why: cause.to_string() }.into()),
    };
    let policy = session.policy_at_rest()?;
    let release = held.package.open(&policy);
    let release = release.map_err(|cause| CommitError::Unsigned { slot, cause })?;
    let expected = release.manifest().root_hash;
    match told {
        Some(found) if found == expected => {}
        Some(found) => return Err(CommitError::OtherRoot { found, expected }.into()),
        // A folder has no kernel that could have checked a root hash.
        None if !session.root.is_host() => {}
        None => return Err(CommitError::NoRootHash.into()),
    }
    prove_boot_target(session, slot, &release)
}

fn prove_boot_target(session: &Session, slot: Slot, release: &Release<'_>) -> Result<(), Error> {
    let mut targets = release.config().targets.iter();
    let Some(target) = targets.find(|target| target.name == BOOT_TARGET) else { return Ok(()) };
    let unlike = |found| CommitError::BootTarget { slot, found, expected: target.root_hash };
    let geometry = Geometry::new(target.blocks).ok_or_else(|| unlike(None))?;
    let mut medium = session.open_for_reading(slot, BOOT_TARGET)?;
    medium.drop_caches()?;
    let mut tree = TreeBuilder::new(geometry);
    let mut blocks = vec![[0; BLOCK_LEN]; usize::try_from(READ_BLOCKS).unwrap_or(1)];
    let mut sink = |_, _: &_| Ok::<(), PartitionError>(());
    let mut index = 0;
    while index < target.blocks {
        let count = target.blocks.saturating_sub(index).min(READ_BLOCKS);
        let some = usize::try_from(count).ok().and_then(|count| blocks.get_mut(..count));
        let some = some.unwrap_or_default();
        medium.read(BlockIndex(index), some)?;
        for block in some.iter() {
            tree.push(leaf(block), &mut sink).map_err(|_| unlike(None))?;
        }
        index = index.saturating_add(count);
    }
    let found = tree.finish(&mut sink).map_err(|_| unlike(None))?;
    if found != target.root_hash {
        return Err(unlike(Some(found)).into());
    }
    Ok(())
}

/// Why what runs is not kept.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It is not known what runs.
    #[error("slot {slot} is not committed, because it cannot say what it holds: {why}")]
    Unknown {
        /// The slot.
        slot: Slot,
        /// What is wrong with it.
        why: String,
    },
    /// What runs is not signed by anyone who is trusted.
    #[error("slot {slot} is not committed: {cause}")]
    Unsigned {
        /// The slot.
        slot: Slot,
        /// Why it is not believed.
        cause: Refusal,
    },
    /// The kernel checks the root file system against another hash.
    #[error("the kernel was told roothash {}, but signed is {}", found.hex(), expected.hex())]
    OtherRoot {
        /// What the command line says.
        found: Digest,
        /// What was signed.
        expected: Digest,
    },
    /// The kernel checks the root file system against nothing.
    #[error("the kernel command line has no roothash=, so nothing proves what runs")]
    NoRootHash,
    /// The boot target was altered.
    #[error("the boot target of slot {slot} is not what was signed{}", Hashes(*found, *expected))]
    BootTarget {
        /// The slot.
        slot: Slot,
        /// Its root hash, where there is one.
        found: Option<Digest>,
        /// What was signed.
        expected: Digest,
    },
}

/// The end of a message about two hashes.
struct Hashes(Option<Digest>, Digest);

impl std::fmt::Display for Hashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(found, expected) = self;
        found.map_or(Ok(()), |found| {
            write!(f, ": root hash {}, signed is {}", found.hex(), expected.hex())
        })
    }
}
