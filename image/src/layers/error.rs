//! Why layers cannot be read.

use std::io;

use gybe_core::digest::Digest;
use gybe_oci::LayoutError;

use crate::merge::MergeError;
use crate::tar::TarError;

/// Why the layers of an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// Manifest and config disagree.
    #[error("manifest has {layers} layers, config has {diff_ids} diff_ids")]
    Count {
        /// Layers of the manifest.
        layers: usize,
        /// Digests in the config.
        diff_ids: usize,
    },
    /// A layer cannot be found.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// Something is wrong with a layer.
    #[error("layer {index} ({digest}): {}{problem}", Prefix(path.as_deref()))]
    Layer {
        /// Which, from 0, lowest first.
        index: usize,
        /// Its digest, as the manifest has it.
        digest: Digest,
        /// The path in it, where one is to blame.
        path: Option<String>,
        /// What is wrong.
        problem: Box<LayerProblem>,
    },
    /// Something is wrong with a tar file that is no layer.
    #[error("{}{problem}", Prefix(path.as_deref()))]
    Archive {
        /// The path in it, where one is to blame.
        path: Option<String>,
        /// What is wrong.
        problem: Box<LayerProblem>,
    },
}

struct Prefix<'a>(Option<&'a str>);

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|path| write!(f, "{path}: "))
    }
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerProblem {
    /// It is encrypted.
    #[error("encrypted layers ({media_type}) are not supported")]
    Encrypted {
        /// Its media type.
        media_type: String,
    },
    /// It is to be fetched from elsewhere.
    #[error("foreign layers ({media_type}) are not supported")]
    Foreign {
        /// Its media type.
        media_type: String,
    },
    /// It is not a layer.
    #[error("media type {media_type} is not that of a layer")]
    MediaType {
        /// What it says it is.
        media_type: String,
    },
    /// It is too long, as stored or uncompressed.
    #[error("layer is {len} bytes or more, limit {limit}")]
    Len {
        /// How long it says it is, or is so far.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be read or decompressed.
    #[error("{cause}")]
    Read {
        /// What the system or the decompressor says.
        cause: io::Error,
    },
    /// It cannot be spooled.
    #[error("cannot spool: {cause}")]
    Spool {
        /// What the system says.
        cause: io::Error,
    },
    /// Its bytes are not those of the manifest.
    #[error("corrupt: the digest of its bytes is {found}")]
    Digest {
        /// The digest of its bytes.
        found: Digest,
    },
    /// Its uncompressed bytes are not those of the config.
    #[error("the digest of the uncompressed layer is {found}, config says {expected}")]
    DiffId {
        /// The digest of its bytes.
        found: Digest,
        /// What the config says.
        expected: Digest,
    },
    /// It is not a tar file that can be read.
    #[error("{0}")]
    Tar(#[from] TarError),
    /// A marker of something deleted is not one.
    #[error("{name} marks nothing")]
    Whiteout {
        /// Its name.
        name: String,
    },
    /// The attributes of an ostree object make no sense.
    #[error("attributes of an ostree object are not what ostree writes")]
    OstreeXattrs,
    /// There are too many entries in all layers.
    #[error("more than {limit} entries in all layers")]
    Entries {
        /// The limit.
        limit: usize,
    },
    /// Names and attributes of all layers are too long together.
    #[error("names and attributes of all layers are {len} bytes and more, limit {limit}")]
    Headers {
        /// How long they are so far.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It cannot be laid over those below.
    #[error("{0}")]
    Merge(MergeError),
}
