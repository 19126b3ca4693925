//! A release that a source offers: what decides about it is read, and nothing of it believed yet.

use std::io;
use std::str::FromStr as _;

use gybe_core::config::CONFIG_LEN_MAX;
use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, MANIFEST_LEN_MAX, RELEASE_TYPE};
use gybe_core::trust::CANDIDATES_MAX;
use tracing::debug;

use crate::document::Document;
use crate::layout::LayoutError;
use crate::manifest::Platform;
use crate::package::Package;
use crate::reference::{Reference, ReferenceError};
use crate::registry::RegistryError;
use crate::resolve::Resolved;
use crate::source::{Source, SourceError, Sources};

/// A source that was opened, and the bytes in it that decide whether the release is believed.
#[derive(Debug)]
pub struct Offer {
    /// Where the release's blobs are read.
    pub source: Source,
    /// What decides.
    pub package: Package,
    /// What was read for the package.
    pub read: Read,
}

/// How much was read from a source to decide about a release. From a layout that is manifests,
/// configuration and signatures, but not what lists or names them; from a registry everything that
/// was asked, also who asks.
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
    /// Opens `source` as [`Sources::offer`] does, with registries as the files of this machine say.
    ///
    /// # Errors
    /// The source cannot be read, or holds no release for such a machine.
    pub fn open(source: &str, architecture: Option<&str>) -> Result<Self, OfferError> {
        Sources::default().offer(source, architecture)
    }
}

impl Sources {
    /// Opens `source` and reads what is needed to decide about its release for `architecture`, in
    /// OCI's words; without one, about the only release in it.
    ///
    /// # Errors
    /// The source cannot be read, or holds no release for such a machine.
    pub fn offer(&self, source: &str, architecture: Option<&str>) -> Result<Offer, OfferError> {
        let reference = Reference::from_str(source)?;
        let opened = self.open(&reference)?;
        let platform = architecture.map(Platform::linux);
        let found = opened.resolve(&reference, platform.as_ref())?;
        Offer::of(opened, found, source)
    }
}

impl Offer {
    /// Reads what is needed to decide about the release that was found in `opened`; messages call it
    /// `source`.
    ///
    /// # Errors
    /// It cannot be read, or is no release.
    pub fn of(opened: Source, found: Resolved, source: &str) -> Result<Self, OfferError> {
        let config = release_config(source, &opened, &found)?;
        let digest = found.descriptor.digest;
        let limit = u64::try_from(CONFIG_LEN_MAX).unwrap_or(u64::MAX);
        let config = opened.read_blob(&config, limit)?;
        let mut read = Read::default();
        [Some(&found.manifest), Some(&config), found.index.as_ref()]
            .into_iter()
            .flatten()
            .for_each(|document| read.add(document.len()));
        let mut documents = Vec::new();
        let subjects = std::iter::once(&digest).chain(found.indexes.last());
        for subject in subjects {
            for candidate in opened.signature_candidates(subject)? {
                let room = CANDIDATES_MAX.saturating_sub(documents.len());
                let small = |digest: &Digest, limit| small_blob(&opened, digest, limit);
                let carried = Document::from_manifest(&candidate.manifest, room, small)?;
                read.add(candidate.manifest.len());
                carried.iter().for_each(|document| read.add(document.blob_len()));
                documents.extend(carried);
            }
        }
        if let Some(traffic) = opened.traffic() {
            read = Read { bytes: traffic.bytes, requests: traffic.requests };
        }
        let Resolved { manifest, index, .. } = found;
        let package = Package { manifest, digest, config, documents, index };
        Ok(Self { source: opened, package, read })
    }
}

impl Source {
    /// Finds the manifest that `reference`, from which this was opened, means on `platform`; without
    /// one, the only manifest in it.
    ///
    /// # Errors
    /// Nothing fits, several do, or it cannot be had.
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Resolved, OfferError> {
        Ok(match (self, reference) {
            (Self::Layout(layout), Reference::Layout(reference)) => {
                layout.resolve(reference.tag.as_deref(), platform)?
            }
            (Self::Registry(repository), Reference::Registry(reference)) => {
                repository.resolve(reference, platform)?
            }
            (source, _) => {
                let (name, found) = (source.name().to_owned(), "source of another kind".to_owned());
                return Err(OfferError::NotARelease { name, found });
            }
        })
    }
}

/// The digest of the configuration, if what was found is a release.
fn release_config(name: &str, source: &Source, found: &Resolved) -> Result<Digest, OfferError> {
    let name = || name.to_owned();
    let manifest = match source {
        Source::Layout(layout) => layout.manifest(found)?,
        Source::Registry(repository) => repository.parts_of(found)?,
    };
    let kind = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
    if kind != RELEASE_TYPE {
        return Err(OfferError::NotARelease { name: name(), found: kind.to_owned() });
    }
    if found.manifest.len() > MANIFEST_LEN_MAX {
        return Err(OfferError::ManifestLength { name: name(), len: found.manifest.len() });
    }
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(OfferError::NotARelease { name: name(), found: manifest.config.media_type });
    }
    Ok(manifest.config.digest)
}

/// A blob of a signature; `None`, if it is one that is not there.
fn small_blob(
    source: &Source,
    digest: &Digest,
    limit: u64,
) -> Result<Option<Vec<u8>>, SourceError> {
    Ok(match source {
        Source::Registry(repository) => repository.small_blob(digest, limit)?,
        Source::Layout(layout) => match layout.read_blob(digest, limit) {
            Ok(blob) => Some(blob),
            Err(cause) => {
                debug!(%cause, "signature passed over");
                None
            }
        },
    })
}

/// Why a source offers nothing.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is not spelt as we know it.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A registry gives nothing.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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

impl From<SourceError> for OfferError {
    fn from(cause: SourceError) -> Self {
        match cause {
            SourceError::Layout(cause) => Self::Layout(cause),
            SourceError::Registry(cause) => Self::Registry(cause),
        }
    }
}
