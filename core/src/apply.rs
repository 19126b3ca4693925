//! A whole install in one call, for devices without an operating system: no allocator, no threads,
//! and three or more blocks of memory.
//!
//! It takes the steps of [`crate::install`] in their order. What is right in the slot already is
//! read, hashed and left; everything else comes from a [`Source`] that can be read again. The
//! recipe is fetched once, into the slot's trailer, and read from there page by page.
//!
//! | workspace | chunks up to | targets up to |
//! |---|---|---|
//! | 3 blocks | 512 KiB | 64 MiB |
//! | 4 blocks | 1 MiB, the longest there are | 8 GiB |
//! | 5 blocks | 1 MiB | 1 TiB |
//!
//! Beside it, each target's first block is held until the slot is proven, and the recipe's table
//! must lie in memory that can be addressed: 64 bytes a page, and a page describes about 60 chunks.

mod bring;
mod error;
mod fill;
mod seams;

pub use error::{ApplyError, FillError};
pub use seams::{Decoder, NoDecoder, NoDecoderError, Source};

use crate::block::{Block, WriteBlocks};
use crate::boot::BootEnv;
use crate::chunk::known_blocks;
use crate::config::Config;
use crate::digest::Digest;
use crate::install::{Inactive, Install, Proven, read_back_blocks};
use crate::recipe::{RecipeError, Table};
use crate::release::Release;
use crate::slot::Slot;
use crate::verity::Geometry;
use fill::Fill;

/// What of a release must lie in memory, or in flash that can be addressed.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    /// The bytes of the manifest that was verified.
    pub manifest: &'a [u8],
    /// The bytes of its configuration.
    pub config: &'a [u8],
    /// The signatures under which it was accepted, as the trailer keeps them.
    pub signatures: &'a [u8],
    /// The table at the start of its recipe.
    pub table: &'a [u8],
}

/// What an install did, for people and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that the source was asked for. Stored frames are asked for twice.
    pub fetched_bytes: u64,
    /// Blocks that were right in the slot already.
    pub skipped_blocks: u64,
    /// Blocks that are zeros.
    pub zero_blocks: u64,
    /// Blocks that came from stored frames.
    pub stored_blocks: u64,
    /// Blocks that came from compressed frames.
    pub decoded_blocks: u64,
}

/// What an install comes to.
pub type Applied<W, E, S, D> = Result<(Proven, Tally), ApplyError<W, E, S, D>>;

/// An install that is about to be made.
#[derive(Debug)]
pub struct Apply<'a, S, D> {
    /// The release.
    pub release: &'a Release<'a>,
    /// Those of its documents that lie in memory.
    pub documents: Documents<'a>,
    /// Where its recipe and its packs are read.
    pub source: &'a mut S,
    /// What decodes its compressed frames.
    pub decoder: &'a mut D,
    /// Memory to work in: [`workspace_blocks`] of it.
    pub workspace: &'a mut [Block],
}

impl<S: Source, D: Decoder> Apply<'_, S, D> {
    /// Installs the release into `slot` and proves it; arming is the caller's. `targets` and
    /// `running` are as [`Install::begin`] takes them.
    ///
    /// # Errors
    /// [`ApplyError`]. The slot is then as it was, or Unbootable and not loadable; the same call
    /// goes on where this one ended.
    pub fn run<W: WriteBlocks, E: BootEnv>(
        self,
        slot: Slot,
        running: Option<Slot>,
        targets: &mut [Inactive<W>],
        environment: &mut E,
    ) -> Applied<W::Error, E::Error, S::Error, D::Error> {
        let Self { release, documents, source, decoder, workspace } = self;
        let table = table(release, &documents).map_err(FillError::Recipe)?;
        let (found, needed) = (workspace.len(), workspace_blocks(release.config()));
        let too_small = FillError::Workspace { found, needed };
        let [page, block, leaves @ ..] = &mut *workspace else { return Err(too_small.into()) };
        if found < needed {
            return Err(too_small.into());
        }
        let parts = parts(release, &documents);
        let begun = Install::begin_in(block, release, slot, running, targets, parts, environment);
        let mut install = begun.map_err(ApplyError::Begin)?;
        let mut fill = Fill::new(&mut install, release, table, source, decoder, block, leaves);
        fill.parts(&documents)?;
        fill.targets(page)?;
        let tally = fill.tally();
        let proven = install.prove(workspace).map_err(FillError::Install)?;
        Ok((proven, tally))
    }
}

/// How many blocks of memory [`Apply::run`] works in for a release with this configuration.
#[must_use]
pub fn workspace_blocks(config: &Config<'_>) -> usize {
    let leaves = known_blocks(config.chunk_blocks_max).max(1);
    let shapes = config.targets.iter().filter_map(|target| Geometry::new(target.blocks));
    leaves.saturating_add(2).max(read_back_blocks(shapes))
}

fn table<'a>(release: &Release<'_>, documents: &Documents<'a>) -> Result<Table<'a>, RecipeError> {
    let config = release.config();
    let table = Table::parse(documents.table, &config.recipe.table_digest, config.parts())?;
    if table.recipe_len() != release.manifest().recipe.len {
        let what = "the recipe is not as long as its table says";
        return Err(RecipeError::Table { what });
    }
    Ok(table)
}

/// Length and digest of each part of the trailer, in order. Read-back fails if the documents are
/// not those of the release.
fn parts(release: &Release<'_>, documents: &Documents<'_>) -> [(u64, Digest); 4] {
    let len = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let manifest = release.manifest();
    [
        (len(documents.manifest), manifest.digest),
        (len(documents.config), manifest.config.digest),
        (len(documents.signatures), Digest::of(documents.signatures)),
        (manifest.recipe.len, manifest.recipe.digest),
    ]
}
