//! The parts of the new trailer: written first, so that what is fetched of the recipe is fetched
//! once, and the recipe read from the slot afterwards.

use super::fetched::Fetched;
use super::{InstallError, Job};
use crate::device::partition::PartitionError;
use crate::release::{Document, Package};
use gybe_core::block::{BLOCK_LEN, Block, WriteBlocks};
use gybe_core::digest::Digest;
use gybe_core::install::Install;
use gybe_core::release::Release;
use gybe_core::trailer::{PARTS, PartName, SIGNATURES_LEN_MAX, Signature, encode_signature};

/// What a trailer will hold, but for the recipe, which is brought page by page.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    manifest: &'a [u8],
    config: &'a [u8],
    signatures: Vec<u8>,
    recipe: (u64, Digest),
}

impl<'a> Parts<'a> {
    pub(super) fn new(release: &Release<'_>, package: &'a Package) -> Result<Self, InstallError> {
        let mut signatures = Vec::new();
        for document in &package.documents {
            let signature = Document::signature(document);
            encode_signature(&signature, &mut |piece| signatures.extend_from_slice(piece));
        }
        if let Some(index) = &package.index {
            let index = Signature::Index(index);
            encode_signature(&index, &mut |piece| signatures.extend_from_slice(piece));
        }
        if signatures.len() > SIGNATURES_LEN_MAX {
            let (len, limit) = (signatures.len(), SIGNATURES_LEN_MAX);
            return Err(InstallError::Signatures { len, limit });
        }
        let recipe = release.manifest().recipe;
        let (manifest, config) = (package.manifest.as_slice(), package.config.as_slice());
        Ok(Self { manifest, config, signatures, recipe: (recipe.len, recipe.digest) })
    }

    /// Length and digest of each part, in order.
    pub(super) fn describe(&self) -> [(u64, Digest); PARTS] {
        let of = |bytes: &[u8]| (bytes.len() as u64, Digest::of(bytes));
        [of(self.manifest), of(self.config), of(&self.signatures), self.recipe]
    }

    /// The recipe, to be fetched.
    pub(super) fn recipe(&self, job: &Job<'_>) -> Result<Fetched, InstallError> {
        let (len, digest) = self.recipe;
        Ok(Fetched::new(job.source.blob_of_len(&digest, len)?, job.source))
    }

    /// Writes all parts but the recipe.
    pub(super) fn write<W: WriteBlocks<Error = PartitionError>>(
        &self,
        install: &mut Install<'_, W>,
    ) -> Result<(), InstallError> {
        let parts = [
            (PartName::Manifest, self.manifest),
            (PartName::Config, self.config),
            (PartName::Signatures, self.signatures.as_slice()),
        ];
        parts.into_iter().try_for_each(|(name, bytes)| write(install, name, bytes))
    }
}

fn write<W: WriteBlocks<Error = PartitionError>>(
    install: &mut Install<'_, W>,
    name: PartName,
    bytes: &[u8],
) -> Result<(), InstallError> {
    let mut blocks: Vec<Block> = vec![[0; BLOCK_LEN]; bytes.len().div_ceil(BLOCK_LEN)];
    let (filled, _) = blocks.as_flattened_mut().split_at_mut(bytes.len());
    filled.copy_from_slice(bytes);
    Ok(install.write_part(name, 0, &blocks)?)
}
