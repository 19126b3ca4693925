//! Why a configuration is refused.

use heapless::String;

use super::FORMAT;
use crate::digest::DigestError;
use crate::json::JsonError;
use crate::version::Version;

/// A short text kept for an error message; longer ones are cut off.
pub type Name = String<32, u8>;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON, or a member is missing or of another type.
    #[error("configuration: {0}")]
    Json(#[from] JsonError),
    /// It is of a format version that we do not know.
    #[error(
        "configuration has format version {found}, this gybe knows version {FORMAT}; \
         gybe {agent} or newer is needed"
    )]
    Format {
        /// The version found.
        found: u64,
        /// The oldest gybe that can install the release, as it says itself.
        agent: Name,
    },
    /// It needs a feature that we do not have.
    #[error("release needs the feature {name:?}, which gybe {agent} or newer has")]
    Feature {
        /// The feature.
        name: Name,
        /// The oldest gybe that can install the release, as it says itself.
        agent: Name,
    },
    /// It needs a newer version of ours.
    #[error("release needs gybe {needed} or newer, this is {ours}")]
    Agent {
        /// The oldest version that can install it.
        needed: Version,
        /// Our version.
        ours: Version,
    },
    /// A value is not one we accept.
    #[error("configuration: {field} is {found}, expected {expected}")]
    Value {
        /// Which member.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it must be, or may be at most.
        expected: u64,
    },
    /// A text is not one we accept.
    #[error("configuration: {field} is {found:?}, this gybe knows {expected:?}")]
    Text {
        /// Which member.
        field: &'static str,
        /// What it is.
        found: Name,
        /// What it must be.
        expected: &'static str,
    },
    /// A digest cannot be read.
    #[error("configuration: {field}: {cause}")]
    Digest {
        /// Which member.
        field: &'static str,
        /// Why not.
        cause: DigestError,
    },
    /// There are too many of something.
    #[error("configuration: more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Two targets or packs have one name, or there is no target.
    #[error("configuration: {what}")]
    Targets {
        /// What is wrong.
        what: &'static str,
    },
}

/// `text`, cut off where a [`Name`] is full.
pub(super) fn name(text: &str) -> Name {
    let mut name = Name::new();
    for character in text.chars() {
        if name.push(character).is_err() {
            break;
        }
    }
    name
}
