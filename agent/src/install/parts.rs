//! The parts of the new trailer: written first, so that the recipe is fetched once and read from
//! the slot afterwards.

use gybe_core::block::{BLOCK_LEN, Block, WriteBlocks};
use gybe_core::digest::{Digest, Hasher};
use gybe_core::install::Install;
use gybe_core::release::Release;
use gybe_core::trailer::{PARTS, PartName, SIGNATURES_LEN_MAX, Signature, encode_signature};
use gybe_oci::Blob;

use super::recipe::ReadRecipe;
use super::{InstallError, Job, Phase, Progress};
use crate::device::partition::PartitionError;
use crate::release::{Document, Package};

/// How many blocks are brought over at once.
const BATCH: usize = 64;

/// What a trailer will hold, but for the recipe, which is streamed.
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

    /// The blob with the recipe.
    pub(super) fn recipe_blob(&self, job: &Job<'_>) -> Result<Blob, InstallError> {
        let (len, digest) = self.recipe;
        Ok(job.layout.blob_of_len(&digest, len)?)
    }

    /// Writes all parts; gives the number of bytes that were fetched for that.
    pub(super) fn write<W: WriteBlocks<Error = PartitionError>>(
        &self,
        install: &mut Install<'_, W>,
        job: &Job<'_>,
        progress: &Progress<'_>,
    ) -> Result<u64, InstallError> {
        let small = [
            (PartName::Manifest, self.manifest),
            (PartName::Config, self.config),
            (PartName::Signatures, self.signatures.as_slice()),
        ];
        for (name, bytes) in small {
            write(install, name, 0, bytes)?;
        }
        let (len, digest) = self.recipe;
        let mut blob = self.recipe_blob(job)?;
        let mut hasher = Hasher::new();
        let mut at = 0;
        let mut buffer = vec![0; BATCH * BLOCK_LEN];
        while at < len {
            let left = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..left).unwrap_or_default();
            ReadRecipe::read_at(&mut blob, at, piece)?;
            hasher.update(piece);
            write(install, PartName::Recipe, at / BLOCK_LEN as u64, piece)?;
            at += left as u64;
            progress(Phase::Recipe, at, len);
        }
        if hasher.finish() == digest { Ok(len) } else { Err(InstallError::RecipeDigest) }
    }
}

/// Reads the recipe's table, whose digest the reader of the recipe checks.
pub(super) fn read_table(release: &Release<'_>, blob: &Blob) -> Result<Vec<u8>, InstallError> {
    let mut table = vec![0; release.config().recipe.table_size];
    let mut blob = blob.clone();
    if blob.len() < table.len() as u64 {
        return Err(InstallError::RecipeEnds);
    }
    ReadRecipe::read_at(&mut blob, 0, &mut table)?;
    Ok(table)
}

fn write<W: WriteBlocks<Error = PartitionError>>(
    install: &mut Install<'_, W>,
    name: PartName,
    offset: u64,
    bytes: &[u8],
) -> Result<(), InstallError> {
    let mut blocks: Vec<Block> = vec![[0; BLOCK_LEN]; bytes.len().div_ceil(BLOCK_LEN)];
    let (filled, _) = blocks.as_flattened_mut().split_at_mut(bytes.len());
    filled.copy_from_slice(bytes);
    Ok(install.write_part(name, offset, &blocks)?)
}
