//! Who may decide what a device runs: keys, signatures, and the rules in the signed bytes.
//!
//! Trust flows one way. [`PublicKey`]s and [`Identities`] come from the verified image; signatures
//! made by them are [offered](Verifier::offer) one at a time; [`Verifier::finish`] checks that enough
//! different signers signed, that the manifest is the one they signed, and that it is meant for this
//! device. Only that makes a [`Verified`], and everything else hangs on it by digest. Under which
//! [`Terms`] it may be installed here, and now, is said by the annotations of the signatures.
//!
//! No clock, no network and no log take part.

mod bundle;
mod key;
mod reason;
mod repository;
mod signer;
mod simple;
pub mod terms;
mod verified;
mod verifier;

#[cfg(test)]
mod tests;

pub use self::key::{Algorithm, KEY_NAME_LEN_MAX, KEYS_MAX, KeyError, KeySet, NamedKey, PublicKey};
pub use self::reason::{Excerpt, Reason, Tally};
pub use self::repository::{Repository, repository_of};
pub use self::signer::{Identities, Identity, Signer};
pub use self::terms::Terms;
pub use self::verified::{BlobError, Verified};
pub use self::verifier::{Accepted, Candidate, ChainError, Refused, Verifier};

use crate::json::{JsonError, Value};

/// How many signatures are looked at for one release.
pub const CANDIDATES_MAX: usize = 32;

/// How long a signature may be in bytes: a bundle, or a simple-signing payload.
pub const SIGNATURE_LEN_MAX: usize = 64 * 1024;

/// How much scratch memory is enough for any signature that we accept, in bytes. Less is enough
/// for smaller ones: cosign's take about 1 KiB.
pub const SCRATCH_LEN: usize = SIGNATURE_LEN_MAX;

/// How many signers a device may trust, keys and identities together.
pub const SIGNERS_MAX: usize = KEYS_MAX;

/// What a device asks of a release.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'p> {
    keys: &'p KeySet,
    identities: Option<&'p dyn Identities>,
    threshold: usize,
    repository: Repository<'p>,
    device: Device<'p>,
}

/// What a release must say to be meant for this device, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'p> {
    /// The kind of device: must equal the release's.
    pub compatible: &'p str,
    /// The architecture as OCI spells it: must equal the release's.
    pub architecture: &'p str,
    /// The lowest rollback index that is accepted.
    pub floor: u64,
}

impl<'p> Policy<'p> {
    /// Asks for signatures by `threshold` different keys out of `keys`, on a release that is meant
    /// for `device`.
    ///
    /// # Errors
    /// [`PolicyError`] if no release, or every one, could be accepted.
    pub fn new(
        keys: &'p KeySet,
        threshold: usize,
        device: Device<'p>,
    ) -> Result<Self, PolicyError> {
        Self::with_identities(keys, None, threshold, device)
    }

    /// As [`Policy::new`]; each of `identities` counts as a key does.
    ///
    /// # Errors
    /// [`PolicyError`] as there, or if there are more signers than [`SIGNERS_MAX`].
    pub fn with_identities(
        keys: &'p KeySet,
        identities: Option<&'p dyn Identities>,
        threshold: usize,
        device: Device<'p>,
    ) -> Result<Self, PolicyError> {
        let repository = Repository::Any;
        let policy = Self { keys, identities, threshold, repository, device };
        let count = policy.signers().count();
        if threshold == 0 {
            return Err(PolicyError::ThresholdZero);
        }
        if threshold > count {
            return Err(PolicyError::ThresholdAboveKeys { threshold, count });
        }
        if count > SIGNERS_MAX {
            return Err(PolicyError::TooMany { count });
        }
        Ok(policy)
    }

    /// Asks also under which name the release was signed. Signatures that do not say it, as bundles
    /// do not, then count for nothing.
    #[must_use]
    pub const fn signed_as(mut self, repository: Repository<'p>) -> Self {
        self.repository = repository;
        self
    }

    fn signers(&self) -> impl Iterator<Item = Signer<'p>> + use<'p> {
        let identities = self.identities.map_or(&[][..], Identities::all);
        let keys = self.keys.as_slice().iter().map(Signer::Key);
        keys.chain(identities.iter().map(Signer::Identity))
    }
}

/// Why a policy makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It would accept what nobody signed.
    #[error("threshold is 0, must be at least 1")]
    ThresholdZero,
    /// It could accept nothing.
    #[error("threshold is {threshold}, but there are {count} keys")]
    ThresholdAboveKeys {
        /// The threshold.
        threshold: usize,
        /// How many keys and identities there are.
        count: usize,
    },
    /// There are too many keys and identities.
    #[error("{count} keys and identities, limit {SIGNERS_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// The annotations inside a signed payload (`cosign sign -a key=value`): what release management
/// says about a release, as against what its manifest says.
#[derive(Clone, Copy, Debug)]
pub struct Annotations<'s>(Option<Value<'s>>);

impl<'s> Annotations<'s> {
    const fn new(value: Option<Value<'s>>) -> Self {
        Self(value)
    }

    /// Annotations that were read elsewhere. Nothing says that anybody signed them.
    #[must_use]
    pub const fn of(value: Value<'s>) -> Self {
        Self(Some(value))
    }

    /// All of them, in the order of the payload. Most signers write strings; some write numbers.
    ///
    /// # Errors
    /// [`JsonError`] if the annotations are not an object; its members are errors where a key comes
    /// twice.
    pub fn members(
        self,
    ) -> Result<impl Iterator<Item = Result<(&'s str, Value<'s>), JsonError>>, JsonError> {
        let members = self.0.map(Value::object).transpose()?;
        Ok(members.into_iter().flatten())
    }

    /// The value of one annotation.
    ///
    /// # Errors
    /// [`JsonError`] if the annotations are not an object with unique keys.
    pub fn find(self, key: &str) -> Result<Option<Value<'s>>, JsonError> {
        let mut found = None;
        // All are read, so that a key that comes twice is noticed.
        for member in self.members()? {
            let (name, value) = member?;
            if name == key {
                found = Some(value);
            }
        }
        Ok(found)
    }
}
