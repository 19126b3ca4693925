//! Counts the keys that signed a release, and lets it pass.

use heapless::Vec;

use super::bundle::Material;
use super::reason::{Reason, Tally};
use super::verified::Verified;
use super::{
    Annotations, CANDIDATES_MAX, Device, NamedKey, Policy, Repository, SIGNATURE_LEN_MAX,
    SIGNERS_MAX, Signer, bundle, simple,
};
use crate::base64::{self, Base64Error};
use crate::digest::Digest;
use crate::manifest::{self, IndexError, Manifest, ManifestError};

/// The longest signature of any key that we know: ECDSA on P-256 in DER.
const RAW_SIGNATURE_LEN_MAX: usize = 72;

/// Something that may be a signature over a release.
#[derive(Clone, Copy, Debug)]
pub enum Candidate<'a> {
    /// A layer of a manifest tagged `sha256-….sig`.
    SimpleSigning {
        /// The layer's blob.
        payload: &'a [u8],
        /// Its annotation `dev.cosignproject.cosign/signature`.
        signature: &'a str,
    },
    /// A Sigstore bundle.
    Bundle {
        /// The layer's blob.
        json: &'a [u8],
    },
}

/// A signature that counts.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'p, 's> {
    /// Who made it.
    pub signer: Signer<'p>,
    /// What it says beside the digest.
    pub annotations: Annotations<'s>,
}

/// The digests that a signature may be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    manifest: Digest,
    index: Option<Digest>,
}

impl Wanted {
    pub(super) fn contains(&self, digest: Digest) -> bool {
        digest == self.manifest || self.index == Some(digest)
    }
}

/// Proof that the caller is [`Verifier::finish`]: only this module can make one.
pub(super) struct Authority(());

/// Collects signatures over one release.
#[derive(Clone, Debug)]
pub struct Verifier<'p> {
    policy: &'p Policy<'p>,
    wanted: Wanted,
    /// The ids of those who signed.
    signed: Vec<Digest, SIGNERS_MAX>,
    offered: usize,
    tally: Tally,
}

impl<'p> Verifier<'p> {
    /// Expects signatures over the manifest with this digest.
    #[must_use]
    pub fn new(policy: &'p Policy<'p>, manifest: Digest) -> Self {
        let wanted = Wanted { manifest, index: None };
        Self { policy, wanted, signed: Vec::new(), offered: 0, tally: Tally::default() }
    }

    /// Expects signatures over this index also, which must list the manifest.
    ///
    /// # Errors
    /// [`ChainError`] if it does not.
    pub fn with_index(mut self, index: &[u8]) -> Result<Self, ChainError> {
        if !manifest::lists(index, self.wanted.manifest)? {
            return Err(ChainError::NotListed { manifest: self.wanted.manifest });
        }
        self.wanted.index = Some(Digest::of(index));
        Ok(self)
    }

    /// Looks at one signature. A signer counts once, however often they signed.
    ///
    /// # Errors
    /// [`Reason`] why it does not count. It is kept for [`Verifier::finish`]; others may follow.
    pub fn offer<'s>(
        &mut self,
        candidate: Candidate<'s>,
        scratch: &'s mut [u8],
    ) -> Result<Accepted<'p, 's>, Reason> {
        let outcome = self.look_at(candidate, scratch);
        if let Err(reason) = &outcome {
            self.tally.add(reason);
        }
        outcome
    }

    fn look_at<'s>(
        &mut self,
        candidate: Candidate<'s>,
        scratch: &'s mut [u8],
    ) -> Result<Accepted<'p, 's>, Reason> {
        if self.offered == CANDIDATES_MAX {
            return Err(Reason::TooMany);
        }
        self.offered = self.offered.saturating_add(1);
        match candidate {
            Candidate::SimpleSigning { payload, signature } => {
                limit(payload.len())?;
                limit(signature.len())?;
                let key = self.key(payload, signature, None)?;
                let annotations = simple::read(payload, &self.wanted, self.policy.repository)?;
                Ok(self.count(Signer::Key(key), annotations))
            }
            Candidate::Bundle { json } => {
                limit(json.len())?;
                let bundle = bundle::open(json)?;
                let message = bundle.message(scratch)?;
                let signer = match bundle.material {
                    Material::Key(hint) => {
                        Signer::Key(self.key(message.signed, bundle.signature, hint)?)
                    }
                    Material::Certificate => self.identity(json, message.payload)?,
                };
                if self.policy.repository != Repository::Any {
                    return Err(Reason::NoRepository);
                }
                let annotations = message.read(&self.wanted)?;
                Ok(self.count(signer, annotations))
            }
        }
    }

    /// Which identity of the policy signed this payload. What it says is still unread.
    fn identity(&self, json: &[u8], payload: &[u8]) -> Result<Signer<'p>, Reason> {
        let identities = self.policy.identities.ok_or(Reason::Certificate)?;
        let Wanted { manifest, index } = self.wanted;
        let (one, both) = ([manifest], [manifest, index.unwrap_or(manifest)]);
        let digests = if index.is_some() { &both[..] } else { &one[..] };
        let found = identities.signer(json, payload, digests).map_err(Reason::Identity)?;
        identities.all().get(found).map(Signer::Identity).ok_or(Reason::Certificate)
    }

    /// Which key of the policy made this signature. Only after this is a payload read.
    fn key(
        &self,
        message: &[u8],
        signature: &str,
        hint: Option<Digest>,
    ) -> Result<&'p NamedKey, Reason> {
        let mut buffer = [0; RAW_SIGNATURE_LEN_MAX];
        let signature = match base64::decode(signature, &mut buffer) {
            Ok(signature) => signature,
            // Other kinds of keys make longer signatures.
            Err(Base64Error::TooLong { .. }) => return Err(Reason::NoTrustedKey),
            Err(cause) => return Err(Reason::Base64(cause)),
        };
        let keys = self.policy.keys.as_slice();
        if let Some(key) = keys.iter().find(|key| key.key().verifies(message, signature)) {
            return Ok(key);
        }
        let named = keys.iter().any(|key| Some(key.key().id()) == hint);
        Err(if named { Reason::BadSignature } else { Reason::NoTrustedKey })
    }

    fn count<'s>(&mut self, signer: Signer<'p>, annotations: Annotations<'s>) -> Accepted<'p, 's> {
        let id = signer.id();
        if !self.signed.contains(&id) {
            // There is room for everyone in a policy.
            let pushed = self.signed.push(id);
            debug_assert!(pushed.is_ok(), "more signers than the policy has");
        }
        Accepted { signer, annotations }
    }

    /// Those who signed so far, each once, in the order of the policy.
    pub fn signers(&self) -> impl Iterator<Item = Signer<'p>> {
        self.policy.signers().filter(|signer| self.signed.contains(&signer.id()))
    }

    /// Lets the release pass, if enough keys signed it and it is meant for this device.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn finish<'v, 'm: 'v>(
        &'v self,
        manifest: &'m [u8],
    ) -> Result<Verified<Manifest<'m>>, Refused<'v>> {
        let (found, threshold) = (self.signed.len(), self.policy.threshold);
        if found < threshold {
            return Err(Refused::Signatures { found, threshold, tally: &self.tally });
        }
        let digest = Digest::of(manifest);
        if digest != self.wanted.manifest {
            return Err(Refused::Digest { found: digest, expected: self.wanted.manifest });
        }
        let manifest = Manifest::parse(manifest)?;
        let Device { compatible, architecture, floor } = self.policy.device;
        if manifest.compatible != compatible {
            let (found, expected) = (manifest.compatible, compatible);
            return Err(Refused::Compatible { found, expected });
        }
        if manifest.architecture != architecture {
            let (found, expected) = (manifest.architecture, architecture);
            return Err(Refused::Architecture { found, expected });
        }
        if manifest.rollback_index < floor {
            return Err(Refused::RollbackIndex { found: manifest.rollback_index, floor });
        }
        Ok(Verified::new(Authority(()), manifest))
    }
}

const fn limit(len: usize) -> Result<(), Reason> {
    if len > SIGNATURE_LEN_MAX { Err(Reason::TooLong { len }) } else { Ok(()) }
}

/// Why a release does not pass.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Refused<'v> {
    /// Too few of the trusted keys signed it.
    #[error("{found} of {threshold} required signatures: {tally}")]
    Signatures {
        /// How many different trusted keys signed it.
        found: usize,
        /// How many must.
        threshold: usize,
        /// Why other signatures did not count.
        tally: &'v Tally,
    },
    /// The bytes are not those that were signed.
    #[error("manifest has the digest {found}, signed is {expected}")]
    Digest {
        /// The digest of the bytes.
        found: Digest,
        /// The digest that was signed, or that the signed index lists.
        expected: Digest,
    },
    /// What was signed is not a release that we accept.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is for another kind of device.
    #[error("release is for \"{found}\", this device is \"{expected}\"")]
    Compatible {
        /// What the release is for.
        found: &'v str,
        /// What the device is.
        expected: &'v str,
    },
    /// It is for another architecture.
    #[error("release is for the architecture {found}, this device is {expected}")]
    Architecture {
        /// What the release is for.
        found: &'v str,
        /// What the device is.
        expected: &'v str,
    },
    /// It is older than what may still be installed.
    #[error("rollback index of the release is {found}, the floor is {floor}")]
    RollbackIndex {
        /// The rollback index of the release.
        found: u64,
        /// The lowest that is accepted.
        floor: u64,
    },
}

/// Why an index cannot stand for a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is not an index that we accept.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It does not list the manifest.
    #[error("index does not list {manifest}")]
    NotListed {
        /// The manifest.
        manifest: Digest,
    },
}
