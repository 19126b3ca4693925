//! Who may sign: a pinned key, or an identity that certificates are made out to.
//!
//! The core knows keys. Whoever knows certificates tells it, through [`Identities`], who made a
//! signature, and nothing else: the core itself reads what was signed, requires that it is a signature
//! and no attestation, that it is over the right digest, and counts who signed.
//!
//! This makes [`Verified`](super::Verified) no easier to forge. An [`Identities`] takes part only as
//! a part of a [`Policy`](super::Policy), beside the keys, and so is chosen by whoever says who is
//! trusted. Who makes a policy could always have put a key of their own into it; nobody else can bring
//! an answer in, because the verifier asks the policy's and takes none as an argument. An answer names
//! one of the policy's own identities by its position, so that none can be counted that the policy does
//! not have, nor one of them twice.

use core::fmt;

use heapless::String;

use super::reason::Excerpt;
use super::{KEY_NAME_LEN_MAX, KeyError, NamedKey};
use crate::digest::Digest;

/// Someone to whom certificates are made out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String<KEY_NAME_LEN_MAX>,
    id: Digest,
}

impl Identity {
    /// The identity that is called `name` here. `id` tells it from others, as a key's id does.
    ///
    /// # Errors
    /// [`KeyError::NameTooLong`].
    pub fn new(name: &str, id: Digest) -> Result<Self, KeyError> {
        let len = name.len();
        let name = String::try_from(name).map_err(|_| KeyError::NameTooLong { len })?;
        Ok(Self { name, id })
    }

    /// What it is called here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from others.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }
}

/// Who knows which identity made a signature with a certificate.
///
/// # Contract
/// [`Identities::signer`] answers with a position in [`Identities::all`] only if a certificate made
/// out to that identity, issued by a trusted authority and valid when it signed, signed exactly
/// `payload` in the bundle `json`, as a DSSE payload of the type `application/vnd.in-toto+json`. What
/// the payload says is for the core to read.
pub trait Identities: fmt::Debug {
    /// Everyone who may be the answer, always the same.
    fn all(&self) -> &[Identity];

    /// Who signed `payload`, which is in the bundle `json`, over one of `digests`.
    ///
    /// # Errors
    /// Why nobody did.
    fn signer(&self, json: &[u8], payload: &[u8], digests: &[Digest]) -> Result<usize, Excerpt>;
}

/// Who made a signature that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer<'p> {
    /// The holder of a key.
    Key(&'p NamedKey),
    /// Someone whom certificates name.
    Identity(&'p Identity),
}

impl<'p> Signer<'p> {
    /// What the device calls them.
    #[must_use]
    pub fn name(self) -> &'p str {
        match self {
            Self::Key(key) => key.name(),
            Self::Identity(identity) => identity.name(),
        }
    }

    /// What tells them from others: of a key SHA-256 of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub const fn id(self) -> Digest {
        match self {
            Self::Key(key) => key.key().id(),
            Self::Identity(identity) => identity.id(),
        }
    }
}
