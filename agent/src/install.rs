//! Brings a release into the inactive slot: skips what is right there, copies what the running
//! slot has, and fetches the rest.
//!
//! The order of steps that keeps the device bootable is in [`gybe_core::install`]; this module
//! finds the bytes. Reading, decoding, hashing and writing overlap; memory does not grow with the
//! image.

mod bitmap;
mod copy;
mod error;
mod fetch;
mod fetched;
mod held_recipe;
mod intake;
mod likely;
mod lookup;
mod origin;
mod pages;
mod parts;
mod plan;
mod recipe;
mod tally;
mod wanted;

use std::path::PathBuf;

use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::boot::BootEnv;
use gybe_core::install::{Inactive, Install, Proven};
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use gybe_core::trailer::{Part, PartName};
use gybe_oci::Source;
use tracing::info;

use crate::config::SlotPaths;
use crate::cores::Cores;
use crate::device::aligned::Aligned;
use crate::device::mounts::Mounts;
use crate::device::partition::{Partition, RunningPartition};
use crate::release::{Package, Read};
use bitmap::Bitmap;
pub use error::InstallError;
use likely::{Before, Likely};
use origin::Origin;
use pages::{HeldRecipes, Pages};
use parts::Parts;
pub use plan::plan;
use recipe::{Recipe, RecipePart};
pub use tally::{Phase, Progress, Tally};

/// The most threads that hash and write what was found or fetched, each with up to 1 MiB of it,
/// however many cores there are: an install takes no more memory where there are more.
const WRITERS_MAX: usize = 2;

/// How much is in memory when a slot is read back, 1 MiB: half of it is hashed while the other half
/// is read.
pub(crate) const READ_BACK_BLOCKS: usize = 256;

/// What to install, from where, and to where.
#[derive(Debug)]
pub struct Job<'a> {
    /// The release.
    pub release: &'a Release<'a>,
    /// The documents that it was opened from.
    pub package: &'a Package,
    /// What was read for them.
    pub read: Read,
    /// Where its blobs are read.
    pub source: &'a Source,
    /// The slot to install to.
    pub slot: Slot,
    /// The partitions of that slot.
    pub inactive: &'a SlotPaths,
    /// The running slot and its partitions; `None` when provisioning from another system.
    pub running: Option<(Slot, &'a SlotPaths)>,
}

/// Installs the release and proves it. Arming is the caller's.
///
/// # Errors
/// [`InstallError`]; running it again goes on where this ended.
pub fn run<E: BootEnv>(
    job: &Job<'_>,
    mounts: &Mounts,
    environment: &mut E,
    progress: &Progress<'_>,
) -> Result<(Proven, Tally), InstallError> {
    plan::refuse_beyond_budget(job)?;
    plan::refuse_absent(job)?;
    let paths = job.target_paths()?;
    let in_use = job.running_identities()?;
    let mut targets = Vec::new();
    for path in &paths {
        targets.push(Inactive::new(Partition::open(path, mounts, &in_use)?));
    }
    let mut tally = Tally::new(job);
    let parts = Parts::new(job.release, job.package)?;
    let packs = fetch::packs(job)?;
    let mut source = parts.recipe(job)?;
    let mut origin = Origin::find(job)?;
    // What the inactive slot still says of itself is read here: the first writes end it.
    let before = Before::read(job, &paths)?;
    let held = HeldRecipes { running: origin.held(), inactive: before.recipe.as_ref() };
    let config = job.release.config();
    let table_bytes = pages::read_table(&config.recipe, &mut source, held, &mut tally)?;
    let table = recipe::table(config, &table_bytes, source.len())?;
    let pages = Pages::new(table, source, held)?;
    let likely = Likely::find(&before);
    drop(before);

    let running = job.running.map(|(slot, _)| slot);
    let lens = parts.describe();
    let begun = Install::begin(job.release, job.slot, running, &mut targets, lens, environment);
    let mut install = begun.map_err(|cause| error::begin(cause, job.release))?;
    info!(slot = %job.slot, release = %job.release.manifest().digest, "install began");
    parts.write(&mut install)?;
    let part = write_recipe(&mut install, pages, &table_bytes, &mut tally, progress)?;

    let on_slot = RecipePart::new(RunningPartition::open(&job.inactive.root)?, part);
    let mut recipe = Recipe::new(table, on_slot);
    let mut missing =
        copy::run(&mut install, &mut recipe, &mut origin, &likely, &paths, &mut tally, progress)?;
    drop(origin);
    fetch::run(&mut install, &mut recipe, job, &packs, &mut missing, &mut tally, progress)?;
    tally.settle(job.source);
    info!(
        fetched = tally.fetched_bytes,
        copied = tally.copied_bytes,
        skipped = tally.skipped_bytes,
        "written, reading back"
    );
    progress(Phase::ReadBack, 0, tally.total_bytes);
    let mut buffer = Aligned::new(READ_BACK_BLOCKS);
    let proven = install.prove_with(buffer.blocks(), &mut Cores::of_this_machine())?;
    info!(slot = %job.slot, "proven");
    Ok((proven, tally))
}

/// Brings the recipe into the trailer and says where it lies there.
fn write_recipe(
    install: &mut Install<'_, Partition>,
    mut pages: Pages<'_>,
    table: &[u8],
    tally: &mut Tally,
    progress: &Progress<'_>,
) -> Result<Part, InstallError> {
    let trailer = *install.trailer();
    let part = *trailer.part(PartName::Recipe);
    pages.bring(table, &trailer, tally, |offset, blocks| {
        install.write_part(PartName::Recipe, offset, blocks)?;
        let done = bytes(offset + blocks.len() as u64).min(part.len);
        progress(Phase::Recipe, done, part.len);
        Ok(())
    })?;
    Ok(part)
}

impl Job<'_> {
    /// The partitions of the slot to install to, in the order of the release's targets.
    fn target_paths(&self) -> Result<Vec<PathBuf>, InstallError> {
        let targets = &self.release.config().targets;
        if let Some(name) = self.inactive.left_alone(targets) {
            return Err(InstallError::MissingTarget { name });
        }
        let path = |name: &str| {
            let unknown = || InstallError::UnknownTarget { name: name.to_owned() };
            self.inactive.target(name).map(ToOwned::to_owned).ok_or_else(unknown)
        };
        targets.iter().map(|target| path(target.name)).collect()
    }

    /// Every medium that the running slot uses.
    fn running_identities(&self) -> Result<Vec<crate::device::identity::Identity>, InstallError> {
        let Some((_, paths)) = self.running else { return Ok(Vec::new()) };
        let mut identities = Vec::new();
        for (_, path) in paths.all() {
            identities.push(RunningPartition::open(path)?.identity());
        }
        Ok(identities)
    }
}

/// A length in blocks as one in bytes.
const fn bytes(blocks: u64) -> u64 {
    blocks.saturating_mul(BLOCK_LEN as u64)
}

/// Makes `blocks` have `count` blocks of whatever was in them.
fn make_room(blocks: &mut Vec<Block>, count: u32) {
    blocks.resize(usize::try_from(count).unwrap_or(0), [0; BLOCK_LEN]);
}

/// Keeps one bit for each chunk of a recipe.
type Chunks = Bitmap;
