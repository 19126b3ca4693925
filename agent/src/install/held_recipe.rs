//! The recipe in a slot's trailer: what the slot holds, as far as it says so itself.

use std::path::{Path, PathBuf};

use gybe_core::block::{BLOCK_LEN, ReadBlocks};
use gybe_core::config::{CONFIG_LEN_MAX, Config};
use gybe_core::recipe::Table;
use gybe_core::trailer::{Part, PartName, Trailer};
use gybe_core::version::Version;

use super::InstallError;
use super::recipe::{self, Recipe, RecipePart};
use crate::device::partition::RunningPartition;

/// A recipe whose table was checked; its pages stay where they are.
#[derive(Debug)]
pub(super) struct HeldRecipe {
    config: Vec<u8>,
    table: Vec<u8>,
    part: Part,
    path: PathBuf,
    chunks_max: usize,
}

impl HeldRecipe {
    /// The recipe that `trailer` names, on the partition at `path` behind `medium`. `None` when
    /// something that is needed of it is not whole: that only costs bytes.
    pub(super) fn read<R: ReadBlocks>(
        path: &Path,
        medium: &mut R,
        trailer: &Trailer,
    ) -> Option<Self> {
        let mut room = vec![[0; BLOCK_LEN]; CONFIG_LEN_MAX / BLOCK_LEN];
        let config = trailer.read_part(medium, PartName::Config, &mut room).ok()?.to_vec();
        let table_size = Config::parse(&config, Version::ours()).ok()?.recipe.table_size;
        let part = *trailer.part(PartName::Recipe);
        let mut table = vec![0; table_size];
        RecipePart::new(RunningPartition::open(path).ok()?, part).read_at(0, &mut table).ok()?;
        let held = Self { config, table, part, path: path.to_owned(), chunks_max: 0 };
        let chunks_max = held.open().ok()?.chunks_max();
        Some(Self { chunks_max, ..held })
    }

    /// The configuration that the recipe belongs to.
    pub(super) fn config(&self) -> Result<Config<'_>, InstallError> {
        // It was read before; what the bytes say has not changed.
        Config::parse(&self.config, Version::ours()).map_err(|_| InstallError::RecipeEnds)
    }

    /// The bytes of its table.
    pub(super) fn table_bytes(&self) -> &[u8] {
        &self.table
    }

    /// Its table.
    pub(super) fn table(&self) -> Result<Table<'_>, InstallError> {
        recipe::table(&self.config()?, &self.table, self.part.len)
    }

    /// Where its bytes lie.
    pub(super) fn part(&self) -> Result<RecipePart, InstallError> {
        Ok(RecipePart::new(RunningPartition::open(&self.path)?, self.part))
    }

    /// Opens the recipe for reading.
    pub(super) fn open(&self) -> Result<Recipe<'_, RecipePart>, InstallError> {
        Ok(Recipe::new(self.table()?, self.part()?))
    }

    /// How many chunks there are at most.
    pub(super) const fn chunks_max(&self) -> usize {
        self.chunks_max
    }
}
