//! Opening what a reference names, and reading blobs there.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use gybe_core::digest::Digest;

use crate::blob::Blob;
use crate::layout::{Layout, LayoutError};
use crate::reference::{Reference, RegistryReference};
use crate::registry::{Access, Client, Parts, RegistryError, Repository, Traffic};
use crate::signatures::Candidate;

/// How long a gap between two parts of a blob may be, in bytes, for both to be asked for as one. At
/// 100 KiB in a second and 300 ms there and back, asking again costs as much as 30 KiB; on better
/// links less time and as many round trips. Measured on the sample images, 2026-11-26: 11 requests in
/// place of 27, for 0.3 % more bytes.
const GAP_LEN_MAX: u64 = 48 << 10;

/// Opens sources. Registries are set up when the first of them is named.
#[derive(Debug, Default)]
pub struct Sources {
    access: Access,
    client: OnceLock<Arc<Client>>,
}

impl Sources {
    /// Reaches registries as `access` says.
    #[must_use]
    pub const fn new(access: Access) -> Self {
        Self { access, client: OnceLock::new() }
    }

    /// Reaches registries as the files below `root` say.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self::new(Access::below(root))
    }

    /// Opens the layout or the repository of `reference`.
    ///
    /// # Errors
    /// There is no layout, or the configuration of registries cannot be used. A registry is not
    /// asked anything yet.
    pub fn open(&self, reference: &Reference) -> Result<Source, SourceError> {
        Ok(match reference {
            Reference::Layout(layout) => Source::Layout(Layout::open(layout)?),
            Reference::Registry(registry) => Source::Registry(self.repository(registry)?),
        })
    }

    /// The repository of `reference`.
    ///
    /// # Errors
    /// The configuration of registries cannot be used, or blocks it.
    pub fn repository(&self, reference: &RegistryReference) -> Result<Repository, RegistryError> {
        if let Some(client) = self.client.get() {
            return Repository::new(client, reference);
        }
        let client = Arc::new(Client::new(self.access.clone())?);
        Repository::new(self.client.get_or_init(|| client), reference)
    }
}

/// Where the blobs of a release are.
#[derive(Debug)]
pub enum Source {
    /// In a layout.
    Layout(Layout),
    /// In a registry.
    Registry(Repository),
}

impl Source {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Layout(layout) => layout.name(),
            Self::Registry(repository) => repository.name(),
        }
    }

    /// Opens a blob of `len` bytes. Whether a registry has it is seen when it is read.
    ///
    /// # Errors
    /// A layout has no such blob, or it has another length there.
    pub fn blob_of_len(&self, digest: &Digest, len: u64) -> Result<Blob, SourceError> {
        Ok(match self {
            Self::Layout(layout) => layout.blob_of_len(digest, len)?,
            Self::Registry(repository) => Blob::in_registry(repository.clone(), len, *digest),
        })
    }

    /// Manifests that may be those of signatures over `subject`, as [`Layout::signature_candidates`].
    ///
    /// # Errors
    /// The names of the blobs cannot be read, or the registry cannot be asked.
    pub fn signature_candidates(&self, subject: &Digest) -> Result<Vec<Candidate>, SourceError> {
        Ok(match self {
            Self::Layout(layout) => layout.signature_candidates(subject)?,
            Self::Registry(repository) => repository.signature_candidates(subject)?,
        })
    }

    /// The same, of whatever type a registry says that they are: what is carried along.
    ///
    /// # Errors
    /// As [`Source::signature_candidates`].
    pub fn about(&self, subject: &Digest) -> Result<Vec<Candidate>, SourceError> {
        Ok(match self {
            Self::Layout(layout) => layout.signature_candidates(subject)?,
            Self::Registry(repository) => repository.about(subject)?,
        })
    }

    /// A manifest or an index of at most `limit` bytes, whose digest is right.
    ///
    /// # Errors
    /// It cannot be had, is longer, or is another.
    pub fn document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        Ok(match self {
            Self::Layout(layout) => layout.read_blob(digest, limit)?,
            Self::Registry(repository) => {
                repository.manifest(&digest.to_string(), Some(digest), limit)?.1
            }
        })
    }

    /// Whether it is certain that there is no such blob. A registry is not asked.
    #[must_use]
    pub fn lacks(&self, digest: &Digest) -> bool {
        match self {
            Self::Layout(layout) => layout.lacks(digest),
            Self::Registry(_) => false,
        }
    }

    /// All bytes of a blob of at most `limit` bytes, whose digest is right.
    ///
    /// # Errors
    /// It cannot be had, is longer, or is another.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        Ok(match self {
            Self::Layout(layout) => layout.read_blob(digest, limit)?,
            Self::Registry(repository) => repository.read_blob(digest, limit)?,
        })
    }

    /// How parts of a blob are best asked for.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Layout(_) => Reach::Any,
            Self::Registry(repository) if repository.parts() == Parts::WholeOnly => Reach::Whole,
            Self::Registry(_) => Reach::Bridged { gap_max: GAP_LEN_MAX },
        }
    }

    /// What was sent and received, where that is known.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        match self {
            Self::Layout(_) => None,
            Self::Registry(repository) => Some(repository.traffic()),
        }
    }

    /// How many requests, and how many bytes of their answers, come on top of each part of a blob.
    #[must_use]
    pub fn detour(&self) -> (u64, u64) {
        match self {
            Self::Layout(_) => (0, 0),
            Self::Registry(repository) => repository.detour(),
        }
    }

    /// How many bytes may still be received; `None`, if any number.
    #[must_use]
    pub fn budget_left(&self) -> Option<u64> {
        match self {
            Self::Layout(_) => None,
            Self::Registry(repository) => repository.budget_left(),
        }
    }
}

/// How parts of a blob are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Each alone: reading it is all that it costs.
    Any,
    /// Those with short gaps between them as one.
    Bridged {
        /// How long a gap may be.
        gap_max: u64,
    },
    /// Only everything from the beginning.
    Whole,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
