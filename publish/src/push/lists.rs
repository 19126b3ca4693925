//! Lists that a registry keeps under a tag, because nothing else leads to what is in them: what is about
//! a subject, where it has no API for that, and cosign's signatures in the older format.
//!
//! Source: OCI distribution specification 1.1, "Pushing Manifests with Subject" and "Referrers Tag
//! Schema". Registries have no way to write only if nothing changed: so each list is read again after
//! it was written, until it has what was added.

use gybe_core::digest::Digest;
use gybe_core::trust::CANDIDATES_MAX;
use gybe_oci::{
    DESCRIPTORS_MAX, Descriptor, INDEX_LEN_MAX, Lists, Manifest, Repository, media_type,
};
use serde_json::{Value, json};

use super::{PushFailure, read_at};
use crate::sign::simple;

/// How often a list is written.
const TIMES: u32 = 5;

/// Writes a manifest that names `subject`, and where the registry keeps no list of those, adds it to the
/// one that a tag stands for.
pub(crate) fn add_subject(
    repository: &Repository,
    subject: &Digest,
    entry: &Descriptor,
    text: &[u8],
) -> Result<(), PushFailure> {
    let digest = entry.digest.to_string();
    if repository.push_manifest(&digest, media_type::MANIFEST, text)? == Lists::Subjects {
        return Ok(());
    }
    let tag = format!("sha256-{}", subject.hex());
    // The list says of each what its manifest says.
    let mut entry = entry.clone();
    entry.annotations = Manifest::parse(text).map(|it| it.annotations).unwrap_or_default();
    let entry = serde_json::to_value(&entry)?;
    for _ in 0..TIMES {
        let mut index = match repository.tagged(&tag)? {
            None => json!({
                "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [],
            }),
            Some((kind, text)) if kind == media_type::INDEX => serde_json::from_slice(&text)?,
            Some((found, _)) => return Err(PushFailure::NoList { tag, found }),
        };
        let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(PushFailure::NoList { tag, found: "an index without entries".to_owned() });
        };
        let is_there = |it: &Value| it.get("digest").and_then(Value::as_str) == Some(&digest);
        if entries.iter().any(is_there) {
            return Ok(());
        }
        entries.push(entry.clone());
        let count = entries.len();
        let text = serde_json::to_vec(&index)?;
        check(&tag, "the number of entries", count, DESCRIPTORS_MAX)?;
        let limit = usize::try_from(INDEX_LEN_MAX).unwrap_or(usize::MAX);
        check(&tag, "the list in bytes", text.len(), limit)?;
        repository.push_manifest(&tag, media_type::INDEX, &text)?;
    }
    Err(PushFailure::Raced { tag, times: TIMES })
}

/// Adds the layers of a simple-signing manifest to those that the registry has, under the tag by which
/// they are found.
pub(crate) fn add_simple(
    repository: &Repository,
    subject: &Digest,
    text: &[u8],
) -> Result<(), PushFailure> {
    let tag = format!("sha256-{}.sig", subject.hex());
    let ours = layers(&tag, text)?;
    for _ in 0..TIMES {
        let text = match repository.tagged(&tag)? {
            None => text.to_vec(),
            Some((_, found)) => {
                let mut all = layers(&tag, &found)?;
                let missing: Vec<_> = ours.iter().filter(|it| !all.contains(it)).cloned().collect();
                if missing.is_empty() {
                    return Ok(());
                }
                all.extend(missing);
                check(&tag, "the number of signatures", all.len(), CANDIDATES_MAX)?;
                let config = serde_json::to_vec(&simple::config(&all))?;
                let (digest, len) = (Digest::of(&config), config.len() as u64);
                let mut read = |at: u64, buffer: &mut [u8]| read_at(&config, at, buffer);
                repository.push_blob(&digest, len, None, &mut read)?;
                serde_json::to_vec(&simple::manifest(&digest.to_string(), len, &all))?
            }
        };
        repository.push_manifest(&tag, media_type::MANIFEST, &text)?;
    }
    Err(PushFailure::Raced { tag, times: TIMES })
}

/// The layers of a manifest, as they stand.
fn layers(tag: &str, text: &[u8]) -> Result<Vec<Value>, PushFailure> {
    let mut manifest: Value = serde_json::from_slice(text)?;
    match manifest.get_mut("layers").map(Value::take) {
        Some(Value::Array(layers)) => Ok(layers),
        _ => Err(PushFailure::NoList {
            tag: tag.to_owned(),
            found: "a manifest without layers".to_owned(),
        }),
    }
}

fn check(tag: &str, what: &'static str, len: usize, limit: usize) -> Result<(), PushFailure> {
    if len <= limit {
        return Ok(());
    }
    Err(PushFailure::Full { tag: tag.to_owned(), what, len, limit })
}
