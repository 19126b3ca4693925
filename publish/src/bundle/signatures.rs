//! The signatures of a release or index, however the source keeps them.

use gybe_core::digest::Digest;
use gybe_oci::{Descriptor, Manifest, REF_NAME, Source, SourceError, media_type};
use serde::Deserialize;

/// The longest blob that is carried with a signature: lists of contents may be longer, and devices
/// look at 64 KiB.
const BLOB_LEN_MAX: u64 = 1 << 20;
/// The layer of cosign's older format.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// How cosign 2 marks signatures in a layout. Here it marks those for which the tag is taken.
const KIND: (&str, &str) = ("kind", "dev.cosignproject.cosign/sigs");

/// A manifest that says something about a release.
#[derive(Clone, Debug)]
pub struct About {
    /// How an index lists it.
    pub entry: Descriptor,
    /// What it is made of, by digest and length.
    pub blobs: Vec<(Digest, u64)>,
    /// What it is about.
    pub subject: Digest,
    /// How it says so.
    pub says: Says,
}

/// How a manifest says what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// By its `subject`.
    Subject,
    /// In what is signed: it is found by its tag.
    Payload,
}

/// Everything that `source` has about `subject` and that is whole.
pub(super) fn about(source: &Source, subject: &Digest) -> Result<Vec<About>, SourceError> {
    let mut found: Vec<About> = Vec::new();
    let mut is_tagged = false;
    for candidate in source.about(subject)? {
        let Ok(manifest) = Manifest::parse(&candidate.manifest) else { continue };
        let len = candidate.manifest.len() as u64;
        let mut entry = Descriptor::new(media_type::MANIFEST, candidate.digest, len);
        let says = if manifest.subject.as_ref().is_some_and(|it| it.digest == *subject) {
            entry.artifact_type =
                manifest.artifact_type.clone().or_else(|| Some(manifest.config.media_type.clone()));
            Says::Subject
        } else if signs(source, &manifest, subject) {
            let tag = format!("sha256-{}.sig", subject.hex());
            let (name, value) =
                if is_tagged { (KIND.0, KIND.1.to_owned()) } else { (REF_NAME, tag) };
            is_tagged = true;
            entry.annotations.insert(name.to_owned(), value);
            Says::Payload
        } else {
            continue;
        };
        let parts = manifest.layers.iter().chain([&manifest.config]);
        let blobs: Vec<_> = parts.map(|part| (part.digest, part.size)).collect();
        let whole = |(digest, len): &(Digest, u64)| {
            *len <= BLOB_LEN_MAX && source.read_blob(digest, BLOB_LEN_MAX).is_ok()
        };
        if blobs.iter().all(whole) {
            found.push(About { entry, blobs, subject: *subject, says });
        }
    }
    Ok(found)
}

/// Whether one of the payloads names `subject`. A layout may hold signatures of many releases.
fn signs(source: &Source, manifest: &Manifest, subject: &Digest) -> bool {
    let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING);
    let mut named = layers.filter_map(|layer| {
        let payload = source.read_blob(&layer.digest, BLOB_LEN_MAX).ok()?;
        let payload: Payload = serde_json::from_slice(&payload).ok()?;
        Some(payload.critical.image.docker_manifest_digest)
    });
    named.any(|digest| digest == subject.to_string())
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}
