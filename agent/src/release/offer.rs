//! A release that a source offers.

use std::io;
use std::str::FromStr as _;

use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, MANIFEST_LEN_MAX, RELEASE_TYPE};
use gybe_core::release::Release;
use gybe_core::trust::{CANDIDATES_MAX, Policy};
use gybe_oci::{INDEX_LEN_MAX, Layout, LayoutError, Platform, Reference, ReferenceError};

use super::{Document, Package, Refusal};
use crate::error::Error;

/// A source that was opened, and the bytes in it that decide whether the release is believed.
#[derive(Debug)]
pub struct Offer {
    /// Where the release's blobs are read.
    pub layout: Layout,
    /// What decides.
    pub package: Package,
    /// The source, as it was spelt.
    pub source: String,
    /// What was read for the package.
    pub read: Read,
}

/// How much was read from a source to decide about a release: manifests, configuration and
/// signatures, but not what lists or names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// How many bytes.
    pub bytes: u64,
    /// In how many documents.
    pub requests: u64,
}

impl Read {
    const fn add(&mut self, len: usize) {
        self.bytes = self.bytes.saturating_add(len as u64);
        self.requests = self.requests.saturating_add(1);
    }
}

impl Offer {
    /// Opens `source` and reads what is needed to decide; nothing of it is believed yet.
    ///
    /// # Errors
    /// The source cannot be read, or holds no release for this machine.
    pub fn open(source: &str) -> Result<Self, OfferError> {
        let reference = Reference::from_str(source)?;
        let layout = Layout::open(&reference)?;
        let platform = Platform::linux(architecture());
        let found = layout.resolve(reference.tag.as_deref(), Some(&platform))?;
        let manifest = layout.manifest(&found)?;
        let digest = found.descriptor.digest;
        let kind = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
        if kind != RELEASE_TYPE {
            let found = kind.to_owned();
            return Err(OfferError::NotARelease { name: source.to_owned(), found });
        }
        if found.manifest.len() > MANIFEST_LEN_MAX {
            let len = found.manifest.len();
            return Err(OfferError::ManifestLength { name: source.to_owned(), len });
        }
        let limit = u64::try_from(gybe_core::config::CONFIG_LEN_MAX).unwrap_or(u64::MAX);
        if manifest.config.media_type != CONFIG_TYPE {
            let found = manifest.config.media_type;
            return Err(OfferError::NotARelease { name: source.to_owned(), found });
        }
        let config = layout.read_blob(&manifest.config.digest, limit)?;
        let index = match found.indexes.last() {
            Some(index) => Some(layout.read_blob(index, INDEX_LEN_MAX)?),
            None => None,
        };
        let mut read = Read::default();
        [Some(&found.manifest), Some(&config), index.as_ref()]
            .into_iter()
            .flatten()
            .for_each(|document| read.add(document.len()));
        let mut documents = Vec::new();
        let subjects = std::iter::once(&digest).chain(found.indexes.last());
        for subject in subjects {
            for candidate in layout.signature_candidates(subject)? {
                let room = CANDIDATES_MAX.saturating_sub(documents.len());
                let found = Document::from_manifest(&layout, &candidate.manifest, room);
                read.add(candidate.manifest.len());
                found.iter().for_each(|document| read.add(document.blob_len()));
                documents.extend(found);
            }
        }
        let package = Package { manifest: found.manifest, digest, config, documents, index };
        Ok(Self { layout, package, source: source.to_owned(), read })
    }
}

impl Offer {
    /// Opens the release, if `policy` lets it pass.
    ///
    /// # Errors
    /// [`Error::Refused`] names the source and says why not.
    pub fn open_release(&self, policy: &Policy<'_>) -> Result<Release<'_>, Error> {
        self.package.open(policy).map_err(|cause| self.refused(cause))
    }

    /// Keeps of the package what the slot is to hold.
    ///
    /// # Errors
    /// [`Error::Refused`], when the release does not pass.
    pub fn settle(&mut self, policy: &Policy<'_>) -> Result<(), Error> {
        self.package.settle(policy).map_err(|cause| self.refused(cause))
    }

    fn refused(&self, cause: Refusal) -> Error {
        Error::Refused { source_name: self.source.clone(), cause }
    }
}

/// This machine's processor, in Go's words, which are OCI's.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Why a source offers nothing.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is not spelt as we know it.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob cannot be read.
    #[error("cannot read {digest}: {cause}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What the system says.
        cause: io::Error,
    },
    /// A blob is not what it is called.
    #[error("{digest} is corrupt: the digest of its bytes is {found}")]
    OtherBytes {
        /// What it is called.
        digest: Digest,
        /// What it is.
        found: Digest,
    },
    /// It leads to something else.
    #[error("{name} is not a release but a {found}")]
    NotARelease {
        /// The source.
        name: String,
        /// What it is.
        found: String,
    },
    /// Its manifest is too long.
    #[error("{name}: manifest is {len} bytes, limit {MANIFEST_LEN_MAX}")]
    ManifestLength {
        /// The source.
        name: String,
        /// Its length.
        len: usize,
    },
}
