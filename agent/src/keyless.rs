//! Certificates: who made a signature with a key that lived for ten minutes, or that a private
//! authority vouches for.
//!
//! Everything is in the bundle and in `trusted_root.json`, so nothing is asked over a network: the
//! certificate leads to an authority of the root; a time stamp of the root's authorities (RFC 3161), or
//! the promise of its log, says that the certificate was valid when it signed. Where the root names
//! logs, the proof that the log has the entry is demanded too, and where it names logs of certificates,
//! that the certificate is in one. The crate `sigstore-verify` checks all this; `docs/threats.md` says
//! why that one. It does not look at the predicate type, nor does it know what a release is: the core
//! does, see [`Identities`].

mod provider;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use gybe_core::digest::Digest;
use gybe_core::trust::{Excerpt, Identities, Identity, KeyError};
use sigstore_verify::crypto::parse_certificate_info;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Artifact, Bundle, Sha256Hash, SignatureContent};
use sigstore_verify::{Error, VerificationPolicy, VerificationResult, Verifier};
use tracing::debug;

pub use provider::install as install_provider;

/// How a DSSE envelope names what cosign puts into it.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What an identity's id is a digest of, before its name and issuer.
const ID_PREFIX: &[u8] = b"gybe-identity-v1\0";

/// Someone to whom certificates are made out, as the trust file describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What they are called here.
    pub name: String,
    /// The certificate's subject alternative name: a URI or an e-mail address, whole.
    pub san: String,
    /// Who told the authority so: the certificate's issuer extension, whole.
    pub issuer: String,
}

impl Wanted {
    /// What tells them from others.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&[ID_PREFIX, self.san.as_bytes(), b"\0", self.issuer.as_bytes()].concat())
    }
}

/// The identities that are trusted, and the authorities that may speak of them.
#[derive(Clone)]
pub struct Certificates {
    all: Vec<Identity>,
    wanted: Vec<Wanted>,
    authorities: Arc<Authorities>,
}

/// A trusted root, read.
struct Authorities {
    verifier: Verifier,
    /// Whether it names logs of signatures.
    has_logs: bool,
    /// Whether it names logs of certificates.
    has_certificate_logs: bool,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Trusts `wanted` on the word of the authorities in `trusted_root`.
    ///
    /// # Errors
    /// [`KeylessError`] says what is wrong with the root.
    pub fn new(trusted_root: &str, wanted: Vec<Wanted>) -> Result<Self, KeylessError> {
        provider::install();
        let root = TrustedRoot::from_json(trusted_root).map_err(KeylessError::root)?;
        if root.certificate_authorities.is_empty() {
            return Err(KeylessError::NoAuthority);
        }
        let (has_logs, has_certificate_logs) = (!root.tlogs.is_empty(), !root.ctlogs.is_empty());
        if !has_logs && root.timestamp_authorities.is_empty() {
            return Err(KeylessError::NoTime);
        }
        let verifier = Verifier::new(&root).map_err(KeylessError::root)?;
        let all: Result<_, _> =
            wanted.iter().map(|one| Identity::new(&one.name, one.id())).collect();
        let authorities = Arc::new(Authorities { verifier, has_logs, has_certificate_logs });
        Ok(Self { all: all.map_err(KeylessError::Name)?, wanted, authorities })
    }

    /// The same without those who are called one of `names`.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Self {
        let mut kept = self.clone();
        kept.all.retain(|one| !names.iter().any(|name| name == one.name()));
        kept.wanted.retain(|one| !names.contains(&one.name));
        kept
    }

    fn find(&self, json: &[u8], payload: &[u8], digests: &[Digest]) -> Result<usize, Unproven> {
        let text = str::from_utf8(json).map_err(|_| Unproven::Payload)?;
        let bundle = Bundle::from_json(text).map_err(|cause| Unproven::Bundle(cause.into()))?;
        // Two readers of one document must not see two payloads: what is verified here is what the
        // core reads.
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err(Unproven::Payload);
        };
        if envelope.payload_type != PAYLOAD_TYPE || envelope.payload.as_bytes() != payload {
            return Err(Unproven::Payload);
        }
        let certificate = bundle.signing_certificate().ok_or(Unproven::Payload)?;
        let claims = parse_certificate_info(certificate);
        let claims = claims.map_err(|cause| Unproven::Bundle(cause.into()))?;
        let san = claims.identity.as_ref().map_or("", |san| san.as_str());
        let issuer = claims.issuer.as_deref().unwrap_or("");
        // A claim only chooses what is verified, and against a stranger's nothing needs to be.
        let found = self.wanted.iter().position(|one| one.san == san && one.issuer == issuer);
        let stranger = || Unproven::Stranger { san: san.to_owned(), issuer: issuer.to_owned() };
        let (index, wanted) =
            found.and_then(|at| Some((at, self.wanted.get(at)?))).ok_or_else(stranger)?;
        let mut failed = Unproven::Payload;
        for digest in digests {
            match self.authorities.verify(&bundle, wanted, digest) {
                Ok(result) if result.certificate_verified() && result.identity_policy_checked() => {
                    return Ok(index);
                }
                Ok(_) => return Err(Unproven::Payload),
                Err(cause @ Error::ArtifactMismatch(_)) => failed = Unproven::Bundle(cause),
                Err(cause) => return Err(Unproven::Bundle(cause)),
            }
        }
        Err(failed)
    }
}

impl Authorities {
    fn verify(
        &self,
        bundle: &Bundle,
        wanted: &Wanted,
        digest: &Digest,
    ) -> Result<VerificationResult, Error> {
        let mut policy = VerificationPolicy::new(wanted.san.as_str(), wanted.issuer.as_str());
        if !self.has_logs {
            policy = policy.skip_tlog_unsafe();
        }
        if !self.has_certificate_logs {
            policy = policy.skip_sct();
        }
        let artifact = Artifact::from_digest(Sha256Hash::new(*digest.as_bytes()));
        self.verifier.verify(artifact, bundle, &policy)
    }
}

impl Identities for Certificates {
    fn all(&self) -> &[Identity] {
        &self.all
    }

    fn signer(&self, json: &[u8], payload: &[u8], digests: &[Digest]) -> Result<usize, Excerpt> {
        self.find(json, payload, digests).map_err(|why| {
            debug!(%why, "certificate does not count");
            Excerpt::new(why.to_string().chars())
        })
    }
}

/// Why nobody is known to have signed.
#[derive(Debug, thiserror::Error)]
enum Unproven {
    #[error("the bundle does not hold what was read")]
    Payload,
    #[error("nobody trusted: {san} by {issuer}")]
    Stranger { san: String, issuer: String },
    #[error("{0}")]
    Bundle(Error),
}

/// Why a trusted root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeylessError {
    /// It is not one that we accept.
    #[error("not a trusted root: {cause}")]
    Root {
        /// What is wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody in it can issue a certificate.
    #[error("no certificate authority in the trusted root")]
    NoAuthority,
    /// Nobody in it can say when something was signed.
    #[error("neither a log nor a time-stamp authority in the trusted root")]
    NoTime,
    /// An identity's name.
    #[error("identity: {0}")]
    Name(KeyError),
}

impl KeylessError {
    fn root(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Root { cause: Box::new(cause) }
    }
}
