//! A release that a source offers: what decides about it is read, and nothing of it believed yet.

use std::io;
use std::str::FromStr as _;

use gybe_core::config::CONFIG_LEN_MAX;
use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, MANIFEST_LEN_MAX, RELEASE_TYPE};
use gybe_core::trust::CANDIDATES_MAX;

use crate::document::Document;
use crate::layout::{Layout, LayoutError};
use crate::manifest::{INDEX_LEN_MAX, Platform};
use crate::package::Package;
use crate::reference::{Reference, ReferenceError};
use crate::resolve::Resolved;

/// A source that was opened, and the bytes in it that decide whether the release is believed.
#[derive(Debug)]
pub struct Offer {
    /// Where the release's blobs are read.
    pub layout: Layout,
    /// What decides.
    pub package: Package,
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
    /// Opens `source` and reads what is needed to decide about its release for `architecture`, in
    /// OCI's words; without one, about the only release in it.
    ///
    /// # Errors
    /// The source cannot be read, or holds no release for such a machine.
    pub fn open(source: &str, architecture: Option<&str>) -> Result<Self, OfferError> {
        let reference = Reference::from_str(source)?;
        let layout = Layout::open(&reference)?;
        let platform = architecture.map(Platform::linux);
        let found = layout.resolve(reference.tag.as_deref(), platform.as_ref())?;
        Self::of(layout, found, source)
    }

    /// Reads what is needed to decide about the release that was found in `layout`; messages call
    /// it `source`.
    ///
    /// # Errors
    /// It cannot be read, or is no release.
    pub fn of(layout: Layout, found: Resolved, source: &str) -> Result<Self, OfferError> {
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
        let limit = u64::try_from(CONFIG_LEN_MAX).unwrap_or(u64::MAX);
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
        Ok(Self { layout, package, read })
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
