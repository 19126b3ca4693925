//! A release that may be installed: its verified manifest, and the configuration it names.

use crate::config::{CONFIG_LEN_MAX, Config, ConfigError};
use crate::manifest::Manifest;
use crate::trust::{BlobError, Verified};
use crate::version::Version;

/// A verified release. Only [`Release::open`] makes one, out of a verified manifest.
///
/// ```compile_fail
/// # use gybe_core::{config::Config, manifest::Manifest, release::Release};
/// fn forge<'a>(manifest: Manifest<'a>, config: Config<'a>) -> Release<'a> {
///     Release { manifest, config }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Release<'a> {
    manifest: Manifest<'a>,
    config: Config<'a>,
}

/// Why a verified manifest is still not a release that we can install.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The configuration's bytes are not the ones that the manifest names.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The configuration is longer than we read.
    #[error("configuration is {len} bytes, limit {CONFIG_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: u64,
    },
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Manifest and configuration do not tell the same story.
    #[error("manifest and configuration disagree on {what}")]
    Disagree {
        /// About what.
        what: &'static str,
    },
}

impl<'a> Release<'a> {
    /// Opens the release of `manifest`, whose configuration is `config`.
    ///
    /// # Errors
    /// [`ReleaseError`]: the bytes are not the right ones, or they ask for what we do not have.
    // Called and not spread out, so that nobody keeps on the stack what only this needs.
    #[inline(never)]
    pub fn open(manifest: Verified<Manifest<'a>>, config: &'a [u8]) -> Result<Self, ReleaseError> {
        let len = u64::try_from(config.len()).unwrap_or(u64::MAX);
        if config.len() > CONFIG_LEN_MAX {
            return Err(ReleaseError::TooLong { len });
        }
        let config = manifest.config(config)?.into_inner();
        let config = Config::parse(config, Version::ours())?;
        let manifest = manifest.into_inner();
        let what = if config.root().is_none_or(|root| root.root_hash != manifest.root_hash) {
            "the root hash"
        } else if config.packs.len() != manifest.packs.len() {
            "the number of packs"
        } else if config.architecture != manifest.architecture {
            "the architecture"
        } else {
            return Ok(Self { manifest, config });
        };
        Err(ReleaseError::Disagree { what })
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest<'a> {
        &self.manifest
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config<'a> {
        &self.config
    }
}
