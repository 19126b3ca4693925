//! Reading a whole bundle, so that a corrupt stick is known before a slot is touched.

use std::io::Read as _;

use gybe_core::block::BLOCK_LEN;
use gybe_core::digest::Hasher;
use gybe_core::manifest::Manifest;
use gybe_oci::Source;

use crate::install::{Phase, Progress};
use crate::release::OfferError;

/// How many blocks of a blob are read at once.
const READ_BLOCKS: usize = 64;

/// Reads the recipe and every pack that `source` has of the release, and compares their digests. Packs
/// that are not there are passed over: whether the device needs them is asked before the slot is
/// cleared. Says how many bytes were read.
///
/// # Errors
/// [`OfferError`]: something is missing that is always needed, cannot be read, or is not what was signed.
pub fn check(
    source: &Source,
    manifest: &Manifest<'_>,
    progress: &Progress<'_>,
) -> Result<u64, OfferError> {
    let packs = manifest.packs.iter().filter(|pack| !source.lacks(&pack.digest));
    let blobs: Vec<_> = std::iter::once(&manifest.recipe).chain(packs).collect();
    let total = blobs.iter().fold(0_u64, |total, blob| total.saturating_add(blob.len));
    let mut buffer = vec![0; READ_BLOCKS.saturating_mul(BLOCK_LEN)];
    let mut done = 0_u64;
    progress(Phase::Verify, 0, total);
    for expected in blobs {
        let digest = expected.digest;
        let mut reader = source.blob_of_len(&digest, expected.len)?.reader();
        let mut hasher = Hasher::new();
        loop {
            let read = reader.read(&mut buffer);
            let count = read.map_err(|cause| OfferError::Blob { digest, cause })?;
            if count == 0 {
                break;
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
            done = done.saturating_add(count as u64);
            progress(Phase::Verify, done, total);
        }
        let found = hasher.finish();
        if found != digest {
            return Err(OfferError::OtherBytes { digest, found });
        }
    }
    Ok(done)
}
