//! Why a signature does not count, and a tally of it.

use core::fmt;
use core::mem::discriminant;

use heapless::{String, Vec};

use super::{CANDIDATES_MAX, SIGNATURE_LEN_MAX};
use crate::base64::Base64Error;
use crate::digest::{Digest, DigestError};
use crate::json::JsonError;

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No key that is trusted made it, or it was altered since.
    #[error("not made by a trusted key")]
    NoTrustedKey,
    /// It says that a trusted key made it, but that is not true of these bytes.
    #[error("bad signature: it names a trusted key, but does not match what it is over")]
    BadSignature,
    /// A trusted key made it, but as a statement about the release, not as a signature.
    #[error("attestation in place of a signature: predicate type {0}")]
    Attestation(Excerpt),
    /// A trusted key made it, over something else.
    #[error("signature over another digest: {digest}")]
    OtherDigest {
        /// What it is over.
        digest: Digest,
    },
    /// It was made with a certificate, and here keys are trusted.
    #[error("made with a certificate, but only keys are trusted here")]
    Certificate,
    /// It was made with a certificate, and not by anyone who is trusted.
    #[error("certificate: {0}")]
    Identity(Excerpt),
    /// It is for another repository than the policy wants.
    #[error("signed for another repository: {0}")]
    OtherRepository(Excerpt),
    /// It does not say for which repository it is, and the policy wants to know.
    #[error("does not say for which repository it is")]
    NoRepository,
    /// The bundle holds a signature over a file.
    #[error("bundle over a file, not over an image")]
    MessageSignature,
    /// The bundle is of another kind.
    #[error("bundle is not of version 0.3")]
    BundleType,
    /// What is signed is of another kind.
    #[error("payload is not an image signature")]
    PayloadType,
    /// An envelope must have one signature.
    #[error("envelope has no signature, or more than one")]
    SignatureCount,
    /// The statement is about nothing with a SHA-256 digest.
    #[error("statement without a subject")]
    NoSubject,
    /// It is not JSON that we accept, or a field is missing or of the wrong type.
    #[error("malformed: {0}")]
    Json(#[from] JsonError),
    /// It has a member that the format does not have.
    #[error("malformed: byte {at}: unknown member")]
    Unknown {
        /// Where its value begins.
        at: usize,
    },
    /// It is not base64 that we accept.
    #[error("malformed: {0}")]
    Base64(Base64Error),
    /// What it is over is not a digest.
    #[error("malformed: {0}")]
    Digest(DigestError),
    /// It is longer than [`SIGNATURE_LEN_MAX`].
    #[error("signature is {len} bytes, limit {SIGNATURE_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// It does not fit into the scratch memory.
    #[error("signature needs more than the {limit} bytes of scratch memory")]
    Scratch {
        /// How much there is.
        limit: usize,
    },
    /// It came after the last that is looked at.
    #[error("more than {CANDIDATES_MAX} signatures")]
    TooMany,
}

/// Room for one of each reason.
const REASONS_MAX: usize = 20;

/// How many signatures did not count, by reason; of each kind of reason the first one.
#[derive(Clone, Debug, Default)]
pub struct Tally(Vec<(Reason, usize), REASONS_MAX>);

impl Tally {
    /// The reasons and how often each kind was met.
    #[must_use]
    pub fn as_slice(&self) -> &[(Reason, usize)] {
        self.0.as_slice()
    }

    pub(super) fn add(&mut self, reason: &Reason) {
        let kind = discriminant(reason);
        if let Some((_, count)) = self.0.iter_mut().find(|(met, _)| discriminant(met) == kind) {
            *count = count.saturating_add(1);
            return;
        }
        let added = self.0.push((reason.clone(), 1));
        debug_assert!(added.is_ok(), "REASONS_MAX is the number of reasons");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no other signature was found");
        }
        for (index, (reason, count)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "; " })?;
            write!(f, "{count} refused: {reason}")?;
        }
        Ok(())
    }
}

/// How much of a text is kept, in bytes.
const EXCERPT_LEN_MAX: usize = 80;

/// The beginning of a stranger's text, in visible ASCII and spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String<EXCERPT_LEN_MAX>);

impl Excerpt {
    /// The beginning of `text`.
    #[must_use]
    pub fn new(text: impl IntoIterator<Item = char>) -> Self {
        let mut kept = String::new();
        for char in text {
            let char = if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
            if kept.push(char).is_err() {
                break;
            }
        }
        Self(kept)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
