//! What an install would cost, found out without writing.

use std::path::PathBuf;

use gybe_core::block::{BLOCK_LEN_U64, ReadBlocks as _};
use gybe_core::install::needed_blocks;
use gybe_core::trailer::Trailer;

use super::copy::is_right;
use super::likely::{Before, Likely};
use super::lookup::Pass;
use super::origin::Origin;
use super::pages::{self, HeldRecipes, Pages};
use super::parts::Parts;
use super::recipe::{self, Item, Recipe};
use super::{Chunks, InstallError, Job, Tally, bytes, make_room, wanted};
use crate::device::partition::RunningPartition;

/// The tally that installing would have. The inactive slot is looked at as an install would; of
/// the running slot its own word is taken.
///
/// # Errors
/// [`InstallError`], as installing would give it.
pub fn plan(job: &Job<'_>) -> Result<Tally, InstallError> {
    let config = job.release.config();
    let paths = job.target_paths()?;
    let mut tally = Tally::new(job);
    let parts = Parts::new(job.release, job.package)?;
    let mut source = parts.recipe(job)?.keeping();
    let mut origin = Origin::find(job)?;
    let before = Before::read(job, &paths)?;
    let mut inactive = open(&paths)?;
    let trailer = fitting(job, &parts, &inactive)?;
    let held = HeldRecipes { running: origin.held(), inactive: before.recipe.as_ref() };
    let table_bytes = pages::read_table(&config.recipe, &mut source, held, &mut tally)?;
    let table = recipe::table(config, &table_bytes, source.len())?;
    let mut pages = Pages::new(table, source, held)?;
    pages.bring(&table_bytes, &trailer, &mut tally, |_, _| Ok(()))?;
    let mut recipe = Recipe::new(table, pages);
    let likely = Likely::find(&before);
    let mut missing = Chunks::default();
    let mut blocks = Vec::new();
    let of = origin.passes();
    for number in 0..of {
        let pass = Pass { number, of };
        let lookup = origin.lookup(pass)?;
        recipe.walk(|item| {
            match item {
                Item::Zeros { count, .. } if number == 0 => {
                    tally.zero_bytes += bytes(u64::from(count));
                }
                Item::Chunk(chunk) if origin.belongs(pass, &chunk.chunk) => {
                    let len = bytes(u64::from(chunk.place.count));
                    make_room(&mut blocks, chunk.place.count);
                    if likely.has(&chunk) && is_right(&chunk, &mut inactive, &mut blocks) {
                        tally.skipped_bytes += len;
                    } else if origin.find_chunk(&lookup, &chunk.chunk).is_some() {
                        tally.copied_bytes += len;
                        tally.written_bytes += len;
                    } else {
                        missing.insert(chunk.number);
                    }
                }
                _ => {}
            }
            Ok::<(), InstallError>(())
        })?;
    }
    // What it took until here it takes again.
    tally.settle(job.source);
    let before = tally.requests;
    wanted::each(&mut recipe, config, &mut missing, job.source.reach(), |wanted| {
        let pack = job.release.manifest().packs.get(wanted.pack);
        if let Some(pack) = pack.filter(|pack| job.source.lacks(&pack.digest)) {
            let (name, digest) = (job.source.name().to_owned(), pack.digest);
            return Err(InstallError::AbsentPack { name, digest });
        }
        tally.count(&wanted);
        Ok(())
    })?;
    tally.detour(job.source, tally.requests - before);
    Ok(tally)
}

/// Refuses an install that would fetch more than is allowed, before anything is written. Where there
/// is no limit, nothing is looked at.
///
/// # Errors
/// [`InstallError::Budget`], or as [`plan`].
pub(super) fn refuse_beyond_budget(job: &Job<'_>) -> Result<(), InstallError> {
    let Some(limit) = job.source.budget_left() else { return Ok(()) };
    let before = fetched(job);
    let planned = plan(job)?;
    // The recipe was fetched to know this, and is fetched again to be written.
    let needed = planned.fetched_bytes.saturating_sub(before);
    let left = job.source.budget_left().unwrap_or(limit);
    if needed > left {
        return Err(InstallError::Budget { needed, left });
    }
    Ok(())
}

/// Refuses an install for which the source lacks something, before anything is written. Where it lacks
/// nothing, nothing is looked at.
///
/// # Errors
/// [`InstallError::AbsentPack`], or as [`plan`].
pub(super) fn refuse_absent(job: &Job<'_>) -> Result<(), InstallError> {
    let mut packs = job.release.manifest().packs.iter();
    if packs.any(|pack| job.source.lacks(&pack.digest)) {
        plan(job)?;
    }
    Ok(())
}

fn fetched(job: &Job<'_>) -> u64 {
    job.source.traffic().map_or(0, |traffic| traffic.bytes)
}

fn open(paths: &[PathBuf]) -> Result<Vec<RunningPartition>, InstallError> {
    Ok(paths.iter().map(|path| RunningPartition::open(path)).collect::<Result<_, _>>()?)
}

/// The trailer that an install would begin with, if everything fits.
fn fitting(
    job: &Job<'_>,
    parts: &Parts<'_>,
    partitions: &[RunningPartition],
) -> Result<Trailer, InstallError> {
    let described = parts.describe();
    let lens = described.map(|(len, _)| len);
    let mut room = 0;
    let targets = job.release.config().targets.iter().zip(partitions).enumerate();
    for (index, (target, partition)) in targets {
        let (needed, found) = (needed_blocks(index, target, lens), partition.block_count());
        if found < needed {
            let [needed, found] = [needed, found].map(|blocks| blocks * BLOCK_LEN_U64);
            let target = target.name.to_owned();
            return Err(InstallError::TooSmall { target, needed, found });
        }
        if index == 0 {
            room = found;
        }
    }
    let planned = Trailer::plan(job.release.manifest().digest, described, 0, room);
    planned.ok_or(InstallError::RecipeEnds)
}
