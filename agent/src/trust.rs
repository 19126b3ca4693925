//! Who is trusted: `/usr/lib/gybe/trust.toml`, and the keys and the trusted root beside it.
//!
//! They lie in the verified image and nowhere else; see [`crate::config`]. What the device's own
//! configuration may do is to trust less: [`Trust::restricted`].

mod document;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use gybe_core::trust::{
    Device, Identities, KeyError, KeySet, Policy, PolicyError, Repository, repository_of,
};

use crate::config::{DocumentError, Restrict};
#[cfg(feature = "keyless")]
use crate::keyless::{Certificates, KeylessError};
use crate::root::Root;

/// The file that says who counts.
pub const FILE: &str = "/usr/lib/gybe/trust.toml";

/// Who counts, and how many of them must sign.
#[derive(Clone, Debug)]
pub struct Trust {
    keys: KeySet,
    #[cfg(feature = "keyless")]
    certificates: Option<Certificates>,
    threshold: usize,
    rule: Rule,
    repository: Option<String>,
    channels: Vec<String>,
}

/// What is asked of the name under which a release was signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rule {
    /// Nothing.
    #[default]
    Ignore,
    /// That the repository is the right one.
    Repository,
    /// That it is the right one, with its tag.
    Exact,
}

impl Trust {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// [`TrustError`] names the file or the key.
    pub fn load(root: &Root) -> Result<Self, TrustError> {
        let trust = document::read(root)?;
        // Whether the numbers make sense does not depend on the device.
        trust.policy(Device { compatible: "", architecture: "", floor: 0 })?;
        Ok(trust)
    }

    /// The same, as far as `restrict` leaves it: nobody is added, and no fewer must sign.
    #[must_use]
    pub fn restricted(&self, restrict: &Restrict) -> Self {
        let mut kept = self.clone();
        let distrusted = |name: &str| restrict.distrust.iter().any(|one| one == name);
        kept.keys = KeySet::new();
        for key in self.keys.as_slice().iter().filter(|key| !distrusted(key.name())) {
            // A part of a set is a set: nothing in it comes twice.
            let _ = kept.keys.push(key.name(), *key.key());
        }
        #[cfg(feature = "keyless")]
        {
            kept.certificates = self.certificates.as_ref().map(|it| it.without(&restrict.distrust));
        }
        let threshold = usize::from(restrict.threshold.unwrap_or(0));
        kept.threshold = self.threshold.max(threshold);
        kept
    }

    /// How many must sign.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The names of everyone who counts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let identities = self.identities().map_or(&[][..], Identities::all);
        let keys = self.keys.as_slice().iter().map(|key| key.name());
        keys.chain(identities.iter().map(|identity| identity.name()))
    }

    /// Whether the device may follow `channel`.
    #[must_use]
    pub fn allows_channel(&self, channel: &str) -> bool {
        self.channels.is_empty() || self.channels.iter().any(|one| one == channel)
    }

    #[cfg(feature = "keyless")]
    fn identities(&self) -> Option<&dyn Identities> {
        self.certificates.as_ref().map(|certificates| certificates as &dyn Identities)
    }

    #[cfg(not(feature = "keyless"))]
    #[expect(clippy::unused_self, reason = "it has a use with the feature")]
    fn identities(&self) -> Option<&dyn Identities> {
        None
    }

    /// What is asked of a release that is on `device` already. Under which name it was signed was
    /// asked when it came; here it is asked again where the name does not depend on its source.
    ///
    /// # Errors
    /// When the threshold cannot be reached, which [`Trust::load`] has ruled out.
    pub fn policy<'p>(&'p self, device: Device<'p>) -> Result<Policy<'p>, TrustError> {
        let policy = self.signed_by(device)?;
        Ok(match self.repository.as_deref() {
            Some(repository) => policy.signed_as(self.signed_as(repository)),
            None => policy,
        })
    }

    /// What is asked of a release that comes from `source` and is meant for `device`.
    ///
    /// # Errors
    /// [`TrustError`], when nothing could meet it.
    pub fn policy_for<'p>(
        &'p self,
        source: &'p str,
        device: Device<'p>,
    ) -> Result<Policy<'p>, TrustError> {
        Ok(self.signed_by(device)?.signed_as(self.name_for(source)?))
    }

    /// Under which name a release from `source` must have been signed.
    fn name_for<'p>(&'p self, source: &'p str) -> Result<Repository<'p>, TrustError> {
        if self.rule == Rule::Ignore {
            return Ok(Repository::Any);
        }
        let name = self.repository.as_deref().or_else(|| source.strip_prefix("docker://"));
        let name =
            name.ok_or_else(|| TrustError::NoRepository { source_name: source.to_owned() })?;
        Ok(self.signed_as(name))
    }

    fn signed_by<'p>(&'p self, device: Device<'p>) -> Result<Policy<'p>, TrustError> {
        Policy::with_identities(&self.keys, self.identities(), self.threshold, device)
            .map_err(TrustError::Policy)
    }

    fn signed_as<'p>(&self, name: &'p str) -> Repository<'p> {
        match self.rule {
            Rule::Ignore => Repository::Any,
            Rule::Repository => Repository::In(repository_of(name)),
            Rule::Exact => Repository::Exactly(name.split_once('@').map_or(name, |(name, _)| name)),
        }
    }
}

/// Why it is not known who is trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file is wrong by itself.
    #[error("trust: {0}")]
    Document(#[from] DocumentError),
    /// A file is missing.
    #[error("trust: {} does not exist", path.display())]
    NoFile {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A key cannot be used.
    #[error("trust: {}: {cause}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeyError,
    },
    /// Someone would count twice.
    #[error("trust: {name} is called like another, or is the same")]
    Twice {
        /// What they are called.
        name: String,
    },
    /// The trusted root cannot be used.
    #[cfg(feature = "keyless")]
    #[error("trust: {}: {cause}", path.display())]
    Root {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeylessError,
    },
    /// Identities are trusted, and this program knows nothing of certificates.
    #[cfg(not(feature = "keyless"))]
    #[error("trust: identities need a gybe that was built with the feature keyless")]
    Keyless,
    /// The threshold cannot be reached.
    #[error("trust: {0}")]
    Policy(PolicyError),
    /// It is not known under which name a release must have been signed.
    #[error(
        "trust: {source_name} names no repository, and {FILE} asks for one: set repository there"
    )]
    NoRepository {
        /// The source.
        source_name: String,
    },
}
