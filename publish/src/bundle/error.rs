//! Why there is no bundle.

use gybe_core::digest::Digest;
use gybe_image::base::BaseError;
use gybe_oci::{LayoutError, SourceError};

use crate::push::PushFailure;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A layout cannot be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A release or base cannot be read.
    #[error("{name}: {cause}")]
    Release {
        /// The source.
        name: String,
        /// What is wrong with it.
        cause: Box<BaseError>,
    },
    /// What a source has is no release.
    #[error("{name}: {digest} is not a release: {why}")]
    NotARelease {
        /// The source.
        name: String,
        /// What it has.
        digest: Digest,
        /// What is missing for that.
        why: String,
    },
    /// A source has nothing for the architectures that were asked for.
    #[error("{name} has no release for {asked}, only for {there}")]
    NoArchitecture {
        /// The source.
        name: String,
        /// What was asked for.
        asked: String,
        /// What is there.
        there: String,
    },
    /// Two releases cannot be told apart by tag and architecture.
    #[error(
        "two releases for {architecture} would have the tag {tag}\n\
         hint: give the sources different tags, or bundle them one by one"
    )]
    SameTag {
        /// The tag.
        tag: String,
        /// The architecture.
        architecture: String,
    },
    /// Nobody signed a release, so no device would take it.
    #[error(
        "{name}: nobody has signed {digest}, so no device would install it\n\
         hint: sign it with gybe-publish sign, or take the signatures along: skopeo leaves them behind"
    )]
    Unsigned {
        /// The source.
        name: String,
        /// The release.
        digest: Digest,
    },
    /// A base is for other devices.
    #[error("--base {name} is for no device that one of the releases is for")]
    OtherBase {
        /// The base.
        name: String,
    },
    /// A source cannot be opened or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A registry would not take a release that is not whole.
    #[error("a registry takes whole releases only: leave out --base")]
    BasesForRegistry,
    /// The registry did not take everything.
    #[error(transparent)]
    Push(#[from] PushFailure),
    /// The report cannot be written.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}
