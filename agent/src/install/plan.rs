//! What an install would cost, found out without writing.

use gybe_core::release::Release;

use super::copy::is_right;
use super::likely::Likely;
use super::lookup::Pass;
use super::origin::Origin;
use super::parts::{Parts, read_table};
use super::recipe::{Item, Recipe};
use super::{Chunks, InstallError, Job, Tally, bytes, fetch, make_room};
use crate::device::partition::RunningPartition;

/// The tally that installing would have. The inactive slot is looked at as an install would; of
/// the running slot its own word is taken.
///
/// # Errors
/// [`InstallError`], as installing would give it.
pub fn plan(job: &Job<'_>) -> Result<Tally, InstallError> {
    let release: &Release<'_> = job.release;
    let paths = job.target_paths()?;
    let mut tally = Tally::new(release, job.package);
    let parts = Parts::new(release, job.package)?;
    let source = parts.recipe_blob(job)?;
    let table = read_table(release, &source)?;
    tally.fetched(source.len());
    let mut recipe = Recipe::new(release.config(), &table, source)?;
    let mut origin = Origin::find(job)?;
    let likely = Likely::find(job, &paths, &mut recipe)?;
    let mut inactive = Vec::new();
    for path in &paths {
        inactive.push(RunningPartition::open(path)?);
    }
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
    fetch::wanted(&mut recipe, release.config(), &mut missing, |frame| {
        tally.fetched_frames += 1;
        tally.fetched(u64::from(frame.frame.record.stored_len));
        let blocks: u64 = frame.places.iter().map(|(place, _)| u64::from(place.count)).sum();
        tally.unpacked_bytes += bytes(blocks);
        tally.written_bytes += bytes(blocks);
        Ok(())
    })?;
    Ok(tally)
}
