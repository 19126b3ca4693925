//! An earlier release that a new one builds on: where each of its chunks lies, in which packs.
//!
//! Everything it says is checked by digest, from its manifest down to each frame that is read
//! again: a base that was damaged makes no release.

mod error;
mod pack;

use std::collections::HashMap;

use gybe_core::config::Config;
use gybe_core::digest::Digest;
use gybe_core::manifest::Manifest;
use gybe_core::recipe::{
    FrameRecord, PAGE_LEN_MAX, PAGES_MAX, PackId, Part, Record, Stored, TABLE_LEN_MAX, Table,
};
use gybe_core::version::Version;
use gybe_oci::{Resolved, Source};

pub use error::BaseError;
pub use pack::{BasePack, Group};

/// The most bytes of a recipe that is read.
const RECIPE_LEN_MAX: u64 = (TABLE_LEN_MAX + PAGES_MAX * PAGE_LEN_MAX) as u64;

/// An earlier release, opened to be built on.
#[derive(Debug)]
pub struct Base {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The kind of device that it is for.
    pub compatible: String,
    /// Its version, for people.
    pub version: String,
    /// Its rollback index.
    pub rollback_index: u64,
    /// Its sequence.
    pub sequence: u64,
    /// The architecture that it is for.
    pub architecture: String,
    /// Its packs, in its order.
    pub packs: Vec<BasePack>,
    /// Where each chunk of its targets is stored.
    pub(crate) chunks: HashMap<Digest, Stored>,
    next_pack: u32,
}

impl Base {
    /// Opens the release that was found in `source`.
    ///
    /// # Errors
    /// [`BaseError`]: it is damaged, or it needs a newer gybe.
    pub fn of(source: &Source, resolved: &Resolved) -> Result<Self, BaseError> {
        let manifest = Manifest::parse(&resolved.manifest)
            .map_err(|cause| BaseError::Manifest { why: cause.to_string() })?;
        let config_len = manifest.config.len;
        source.blob_of_len(&manifest.config.digest, config_len)?;
        let limit = gybe_core::config::CONFIG_LEN_MAX as u64;
        let text = source.read_blob(&manifest.config.digest, limit)?;
        let config = Config::parse(&text, Version::ours())
            .map_err(|cause| BaseError::Config { why: cause.to_string() })?;
        if config.packs.len() != manifest.packs.len() {
            return Err(BaseError::Packs {
                listed: manifest.packs.len(),
                told: config.packs.len(),
            });
        }
        source.blob_of_len(&manifest.recipe.digest, manifest.recipe.len)?;
        let recipe = source.read_blob(&manifest.recipe.digest, RECIPE_LEN_MAX)?;
        let Recipe { chunks, mut packs } = Recipe::read(&config, &recipe)?;

        let history = pack::History::read(&text)?;
        let mut opened = Vec::new();
        for (pack, blob) in config.packs.iter().zip(&manifest.packs) {
            let frames = packs.remove(&pack.id).unwrap_or_default();
            let groups = history.groups(pack.id, frames.records.len())?;
            let blob = source.blob_of_len(&blob.digest, blob.len)?;
            opened.push(BasePack::new(pack.id, blob, frames, groups)?);
        }
        let packs = opened;
        let highest = packs.iter().map(|pack| u32::from(pack.id.0)).max();
        let after = highest.map_or(0, |highest| highest.saturating_add(1));
        Ok(Self {
            digest: manifest.digest,
            compatible: manifest.compatible.to_owned(),
            version: manifest.version.to_owned(),
            rollback_index: manifest.rollback_index,
            sequence: manifest.sequence,
            architecture: manifest.architecture.to_owned(),
            packs,
            chunks,
            next_pack: after.max(history.next_pack),
        })
    }

    /// A number that no pack of this release, or of those that it builds on, ever had.
    ///
    /// # Errors
    /// [`BaseError::Numbers`]: none is left.
    pub fn next_pack(&self) -> Result<PackId, BaseError> {
        u16::try_from(self.next_pack).map(PackId).map_err(|_| BaseError::Numbers)
    }

    /// For each of its packs, whether a device needs it that runs one of `running`: whether it has a
    /// chunk that one of them lacks. Without any, a device needs every pack that has a chunk.
    #[must_use]
    pub fn needed_packs(&self, running: &[&Self]) -> Vec<bool> {
        let mut needed = vec![false; self.packs.len()];
        for (digest, stored) in &self.chunks {
            let lacks = |base: &&Self| !base.chunks.contains_key(digest);
            if (running.is_empty() || running.iter().any(lacks))
                && let Some(needed) =
                    self.pack(stored.pack).and_then(|(place, _)| needed.get_mut(place))
            {
                *needed = true;
            }
        }
        needed
    }

    /// The pack numbered `id`, and its place in the release.
    pub(crate) fn pack(&self, id: PackId) -> Option<(usize, &BasePack)> {
        self.packs.iter().enumerate().find(|(_, pack)| pack.id == id)
    }
}

/// What a recipe says.
#[derive(Default)]
struct Recipe {
    chunks: HashMap<Digest, Stored>,
    packs: HashMap<PackId, Frames>,
}

/// The frames of a pack, and how many bytes they have.
#[derive(Default)]
struct Frames {
    records: Vec<FrameRecord>,
    len: u64,
}

impl Recipe {
    fn read(config: &Config<'_>, bytes: &[u8]) -> Result<Self, BaseError> {
        let cut_off = || BaseError::RecipeLen { found: bytes.len() as u64 };
        let table = bytes.get(..config.recipe.table_size).ok_or_else(cut_off)?;
        let table = Table::parse(table, &config.recipe.table_digest, config.parts())?;
        if table.recipe_len() != bytes.len() as u64 {
            return Err(cut_off());
        }
        let mut recipe = Self::default();
        for (number, at, entry) in table.pages() {
            let at = usize::try_from(at).map_err(|_| cut_off())?;
            let page = bytes.get(at..).and_then(|rest| rest.get(..usize::from(entry.len)));
            let page = page.ok_or_else(cut_off)?;
            match entry.part {
                Part::Target(_) => {
                    for record in entry.records(number, page)? {
                        if let Record::Chunk(chunk) = record? {
                            recipe.chunks.entry(chunk.digest).or_insert(chunk.stored);
                        }
                    }
                }
                Part::Pack(id) => {
                    let frames = recipe.packs.entry(id).or_default();
                    for frame in entry.frames(number, page)? {
                        let frame = frame?;
                        if frame.offset != frames.len {
                            return Err(BaseError::FramePlace { pack: id, frame: frame.index });
                        }
                        frames.len = frames.len.saturating_add(u64::from(frame.record.stored_len));
                        frames.records.push(frame.record);
                    }
                }
            }
        }
        Ok(recipe)
    }
}
