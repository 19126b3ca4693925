//! Finding what may be signatures of a manifest in a layout.
//!
//! Tools list signatures in different ways, and some not at all, so four ways are tried in
//! order: entries of the index that are named or marked as signatures, the index behind a
//! fallback tag, entries whose manifest names the subject, and at last the small blobs. What is
//! found is only a candidate: it counts when the signature in it verifies.
//!
//! Sources: OCI distribution specification 1.1, "Referrers Tag Schema"; cosign's
//! `SIGNATURE_SPEC.md` and what cosign 2.5, cosign 3.1 and oras 1.2 write, seen 2026.

use std::collections::BTreeSet;

use gybe_core::digest::Digest;
use gybe_core::manifest::RELEASE_TYPE;

use crate::layout::{Layout, LayoutError};
use crate::manifest::{Descriptor, INDEX_LEN_MAX, Index, Manifest};

/// Most candidates that are looked at.
pub const SIGNATURE_CANDIDATES_MAX: usize = 32;
/// Longest manifest of a signature, in bytes.
pub const SIGNATURE_MANIFEST_LEN_MAX: u64 = 64 << 10;
/// Most blobs whose length is looked at.
const SCANNED_BLOBS_MAX: usize = 4096;
/// Most small blobs that are read in search of a manifest.
const READ_BLOBS_MAX: usize = 256;

/// The annotation with which cosign 2 marks signatures in a layout, and its value.
const KIND: (&str, &str) = ("kind", "dev.cosignproject.cosign/sigs");
/// The layer of cosign's older format: it names no subject.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A manifest that may be that of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes, whose digest was checked.
    pub manifest: Vec<u8>,
}

impl Layout {
    /// Manifests that may be those of signatures over `subject`, most likely ones first, at most
    /// [`SIGNATURE_CANDIDATES_MAX`]. What is damaged, missing or too long is passed over: a
    /// signature that cannot be read is one that is not there.
    ///
    /// # Errors
    /// The names of the blobs cannot be read.
    pub fn signature_candidates(&self, subject: &Digest) -> Result<Vec<Candidate>, LayoutError> {
        let (seen, others) = (BTreeSet::new(), BTreeSet::new());
        let mut found = Found { layout: self, subject, seen, others, all: Vec::new() };
        let entries = &self.index().manifests;
        let legacy = format!("sha256-{}.sig", subject.hex());
        let fallback = format!("sha256-{}", subject.hex());
        let marked = |entry: &&Descriptor| {
            entry.ref_name() == Some(&legacy)
                || entry.annotations.get(KIND.0).is_some_and(|kind| kind == KIND.1)
        };
        for entry in entries.iter().filter(marked) {
            found.add(&entry.digest, |_| true);
        }
        for entry in entries.iter().filter(|entry| entry.ref_name() == Some(&fallback)) {
            found.fallback(entry);
        }
        let of_others = |entry: &&Descriptor| {
            is_signature(entry) && !marked(entry) && entry.ref_name() != Some(&fallback)
                || entry.artifact_type.as_deref() == Some(RELEASE_TYPE)
        };
        found.others.extend(entries.iter().filter(of_others).map(|entry| entry.digest));
        for entry in entries.iter().filter(|entry| entry.is_manifest()) {
            found.add(&entry.digest, |manifest| manifest.is_about(subject));
        }
        let mut read = 0;
        for digest in self.digests(SCANNED_BLOBS_MAX)? {
            if read >= READ_BLOBS_MAX || found.is_full() {
                break;
            }
            let small =
                self.blob(&digest).is_ok_and(|blob| blob.len() <= SIGNATURE_MANIFEST_LEN_MAX);
            if small && found.add(&digest, |manifest| manifest.may_sign(subject)) {
                read += 1;
            }
        }
        Ok(found.all)
    }
}

struct Found<'a> {
    layout: &'a Layout,
    subject: &'a Digest,
    seen: BTreeSet<Digest>,
    /// What is known to be no signature of the subject: a layout may hold many releases.
    others: BTreeSet<Digest>,
    all: Vec<Candidate>,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.all.len() >= SIGNATURE_CANDIDATES_MAX
    }

    /// Adds the manifest with this digest if it is one that `fits`; says whether it was read.
    fn add(&mut self, digest: &Digest, fits: impl Fn(&Manifest) -> bool) -> bool {
        let known = self.seen.contains(digest) || self.others.contains(digest);
        if self.is_full() || known || digest == self.subject {
            return false;
        }
        let Ok(text) = self.layout.read_blob(digest, SIGNATURE_MANIFEST_LEN_MAX) else {
            return false;
        };
        match Manifest::parse(&text) {
            Ok(manifest) if fits(&manifest) => {
                self.seen.insert(*digest);
                self.all.push(Candidate { digest: *digest, manifest: text });
            }
            Ok(manifest) if manifest.may_sign(self.subject) => {}
            Ok(manifest) => {
                // What it is made of is no manifest.
                let parts = manifest.layers.iter().chain([&manifest.config]);
                self.others.extend(parts.map(|part| part.digest).chain([*digest]));
            }
            Err(_) => {
                self.others.insert(*digest);
            }
        }
        true
    }

    /// Adds what the fallback tag leads to: an index of everything about the subject.
    /// Its entries' types are not believed, since tools write wrong ones.
    fn fallback(&mut self, entry: &Descriptor) {
        if !entry.is_index() {
            self.add(&entry.digest, |_| true);
            return;
        }
        let Ok(text) = self.layout.read_blob(&entry.digest, INDEX_LEN_MAX) else { return };
        let Ok(index) = Index::parse(&text) else { return };
        for entry in &index.manifests {
            self.add(&entry.digest, |manifest| manifest.may_sign(self.subject));
        }
    }
}

impl Manifest {
    fn is_about(&self, subject: &Digest) -> bool {
        self.subject.as_ref().is_some_and(|it| it.digest == *subject)
    }

    /// Whether it says that it is about `subject`, or is of a format that never says so.
    pub(crate) fn may_sign(&self, subject: &Digest) -> bool {
        self.is_about(subject)
            || self.subject.is_none()
                && self.layers.iter().any(|layer| layer.media_type == SIMPLE_SIGNING)
    }
}

/// Whether an entry is named or marked as being about another.
pub(crate) fn is_signature(entry: &Descriptor) -> bool {
    let of_digest = |name: &str| {
        name.strip_prefix("sha256-")
            .and_then(|name| name.get(..Digest::LEN * 2))
            .is_some_and(|hex| Digest::from_hex(hex).is_ok())
    };
    entry.ref_name().is_some_and(of_digest)
        || entry.annotations.get(KIND.0).is_some_and(|kind| kind == KIND.1)
}

#[cfg(test)]
mod tests;
