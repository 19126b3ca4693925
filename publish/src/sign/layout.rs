//! Signatures in a layout: read what is there, add ours, list them where tools look.

use gybe_core::digest::Digest;
use gybe_core::trust::CANDIDATES_MAX;
use gybe_oci::{Descriptor, Layout, LayoutWriter, SIGNATURE_MANIFEST_LEN_MAX, media_type};
use serde_json::Value;

use super::{Claim, Format, SignError, Signed, bundle, simple};
use crate::key::PrivateKey;

/// What is to be signed: what the tag names, be it a manifest or an index, or the only image.
///
/// # Errors
/// There is no such image, or more than one.
pub(super) fn subject(layout: &Layout, tag: Option<&str>) -> Result<Descriptor, SignError> {
    let entries = &layout.index().manifests;
    let subject = if let Some(tag) = tag {
        let mut tagged = entries.iter().filter(|entry| entry.ref_name() == Some(tag));
        match (tagged.next(), tagged.next()) {
            (Some(entry), None) => entry.clone(),
            // Says which tags there are.
            (None, _) => layout.resolve(Some(tag), None)?.descriptor,
            (Some(_), Some(_)) => return Err(SignError::TagTwice { tag: tag.to_owned() }),
        }
    } else {
        let resolved = layout.resolve(None, None)?;
        let outermost = resolved.indexes.first().copied().unwrap_or(resolved.descriptor.digest);
        let listed = entries.iter().find(|entry| entry.digest == outermost).cloned();
        listed.unwrap_or(resolved.descriptor)
    };
    layout.blob_of_len(&subject.digest, subject.size)?;
    Ok(subject)
}

/// Adds signatures to the manifest tagged `sha256-….sig`, which is made where there is none.
pub(super) fn add_simple(
    writer: &LayoutWriter,
    claim: &Claim,
    keys: &[PrivateKey],
) -> Result<Vec<Signed>, SignError> {
    let tag = format!("sha256-{}.sig", claim.subject.digest.hex());
    let mut layers = layers_of(writer.layout(), &tag)?;
    let payload = simple::payload(claim)?;
    let (digest, _) = writer.write_blob(&payload)?;
    for key in keys {
        let layer = simple::layer(&digest.to_string(), &payload, key);
        // The same key says the same twice: signatures are deterministic.
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    if layers.len() > CANDIDATES_MAX {
        return Err(SignError::TooMany { count: layers.len() });
    }
    let (config, len) = writer.write_blob(&serde_json::to_vec(&simple::config(&layers))?)?;
    let manifest = simple::manifest(&config.to_string(), len, &layers);
    let entry = write_manifest(writer, &manifest)?;
    writer.list(&entry, Some(&tag))?;
    Ok(keys.iter().map(|key| signed(key, Format::SimpleSigning, entry.digest)).collect())
}

/// The layers of a manifest that is there already, as they stand.
fn layers_of(layout: &Layout, tag: &str) -> Result<Vec<Value>, SignError> {
    let entries = &layout.index().manifests;
    let Some(entry) = entries.iter().find(|entry| entry.ref_name() == Some(tag)) else {
        return Ok(Vec::new());
    };
    let manifest = layout.read_blob(&entry.digest, SIGNATURE_MANIFEST_LEN_MAX)?;
    let mut manifest: Value = serde_json::from_slice(&manifest)
        .map_err(|cause| SignError::Manifest { digest: entry.digest, cause })?;
    match manifest.get_mut("layers").map(Value::take) {
        Some(Value::Array(layers)) => Ok(layers),
        _ => Err(SignError::NoLayers { digest: entry.digest }),
    }
}

/// Adds a bundle as a manifest of its own.
pub(super) fn add_bundle(
    writer: &LayoutWriter,
    claim: &Claim,
    key: &PrivateKey,
) -> Result<Signed, SignError> {
    let (empty, _) = writer.write_blob(bundle::EMPTY)?;
    let (digest, len) = writer.write_blob(&bundle::bundle(claim, key)?)?;
    let manifest = bundle::manifest(claim, &empty.to_string(), &digest.to_string(), len);
    let mut entry = write_manifest(writer, &manifest)?;
    entry.artifact_type = Some(bundle::BUNDLE_TYPE.to_owned());
    writer.list(&entry, None)?;
    Ok(signed(key, Format::Bundle, entry.digest))
}

fn write_manifest(writer: &LayoutWriter, manifest: &Value) -> Result<Descriptor, SignError> {
    let (digest, len) = writer.write_blob(&serde_json::to_vec(manifest)?)?;
    Ok(Descriptor::new(media_type::MANIFEST, digest, len))
}

fn signed(key: &PrivateKey, format: Format, manifest: Digest) -> Signed {
    Signed { key: key.public().id().to_string(), format, manifest: manifest.to_string() }
}
