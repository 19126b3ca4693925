//! Signing what is in a registry: only what decides is fetched, and only signatures are sent.
//!
//! They are made in a folder of their own, in which lies what is signed and the older signatures that
//! ours come beside; what is new there is sent.

use std::collections::BTreeSet;

use gybe_core::digest::Digest;
use gybe_oci::{
    Descriptor, INDEX_LEN_MAX, Layout, LayoutReference, LayoutWriter, Manifest, RegistryReference,
    Repository, SIGNATURE_MANIFEST_LEN_MAX, media_type,
};

use super::{Format, SignError, Signed};
use crate::cli::Signing;
use crate::key::PrivateKey;
use crate::push::{PushFailure, add_simple, add_subject};

/// What the folder calls what is signed.
const TAG: &str = "subject";

/// Signs what `reference` leads to, be it a manifest or an index. Gives its digest, and what was made.
pub(super) fn sign(
    repository: &Repository,
    reference: &RegistryReference,
    keys: &[PrivateKey],
    signing: &Signing,
) -> Result<(Digest, Vec<Signed>), SignError> {
    let wanted = reference.wanted();
    let found = repository.manifest(&wanted, reference.digest.as_ref(), INDEX_LEN_MAX);
    let (kind, text) = found.map_err(PushFailure::from)?;
    let folder = tempfile::tempdir().map_err(SignError::Folder)?;
    let writer = LayoutWriter::open(folder.path())?;
    let (digest, len) = writer.write_blob(&text)?;
    let subject = Descriptor::new(&kind, digest, len);
    writer.list(&subject, Some(TAG))?;
    let tag = format!("sha256-{}.sig", digest.hex());
    if let Some((kind, text)) = repository.tagged(&tag).map_err(PushFailure::from)? {
        let (digest, len) = writer.write_blob(&text)?;
        writer.list(&Descriptor::new(&kind, digest, len), Some(&tag))?;
    }
    // Read anew, with what was listed.
    drop(writer);
    let writer = LayoutWriter::open(folder.path())?;
    let signed = super::sign(&writer, subject, &reference.name(), keys, signing)?;
    let made = Layout::open(&LayoutReference::directory(folder.path()))?;
    let mut sent: BTreeSet<Digest> = BTreeSet::new();
    for Signed { format, manifest, .. } in &signed {
        let Ok(carrier) = manifest.parse() else { continue };
        if sent.insert(carrier) {
            send(repository, &made, &digest, *format, &carrier)?;
        }
    }
    Ok((digest, signed))
}

/// Sends a manifest with signatures, and those of its blobs that were made here: the others are there.
fn send(
    repository: &Repository,
    made: &Layout,
    subject: &Digest,
    format: Format,
    digest: &Digest,
) -> Result<(), SignError> {
    let text = made.read_blob(digest, SIGNATURE_MANIFEST_LEN_MAX)?;
    let manifest =
        Manifest::parse(&text).map_err(|cause| SignError::Manifest { digest: *digest, cause })?;
    for part in manifest.layers.iter().chain([&manifest.config]) {
        let Ok(blob) = made.blob_of_len(&part.digest, part.size) else { continue };
        let mut read = |at: u64, buffer: &mut [u8]| blob.read_at(at, buffer);
        let sent = repository.push_blob(&part.digest, part.size, None, &mut read);
        sent.map_err(PushFailure::from)?;
    }
    match format {
        Format::SimpleSigning => add_simple(repository, subject, &text)?,
        Format::Bundle => {
            let mut entry = Descriptor::new(media_type::MANIFEST, *digest, text.len() as u64);
            entry.artifact_type = manifest.artifact_type;
            add_subject(repository, subject, &entry, &text)?;
        }
    }
    Ok(())
}
