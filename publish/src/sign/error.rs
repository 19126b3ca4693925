//! Why nothing, or not everything, was signed.

use std::path::PathBuf;

use gybe_core::digest::Digest;
use gybe_core::trust::CANDIDATES_MAX;
use gybe_oci::LayoutError;

use crate::epoch::EpochError;
use crate::key::PrivateKeyError;
use crate::push::PushFailure;

/// Why nothing, or not everything, was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// An archive cannot be added to.
    #[error("{source_name}: signatures can be added to oci:DIR only")]
    ReadOnly {
        /// What was to be signed.
        source_name: String,
    },
    /// A key was given twice.
    #[error("key {path}: comes twice", path = path.display())]
    KeyTwice {
        /// The second file.
        path: PathBuf,
    },
    /// An annotation was given twice.
    #[error("annotation {key} comes twice")]
    AnnotationTwice {
        /// Its key.
        key: String,
    },
    /// A tag names more than one image.
    #[error("tag {tag} comes twice in index.json")]
    TagTwice {
        /// The tag.
        tag: String,
    },
    /// There would be more signatures than a device looks at.
    #[error("{count} signatures on one image, limit {CANDIDATES_MAX}")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
    /// The manifest with the signatures so far is not JSON.
    #[error("{digest}: {cause}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The manifest with the signatures so far has no layers.
    #[error("{digest}: manifest without layers")]
    NoLayers {
        /// The manifest.
        digest: Digest,
    },
    /// The layout cannot be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The registry gives or takes nothing.
    #[error(transparent)]
    Push(#[from] Box<PushFailure>),
    /// No folder can be made for what is fetched.
    #[error("cannot make a temporary folder: {0}")]
    Folder(std::io::Error),
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The time to be written is none.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// Something cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl From<PushFailure> for SignError {
    fn from(cause: PushFailure) -> Self {
        Self::Push(Box::new(cause))
    }
}
