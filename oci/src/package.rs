//! The bytes of a release that decide whether it is believed, and what a policy says of them.

use gybe_core::digest::Digest;
use gybe_core::release::{Release, ReleaseError};
use gybe_core::trust::{ChainError, Policy, Refused, SCRATCH_LEN, Verifier};

use crate::document::Document;
use crate::statement::{Statement, StatementError};

/// How long signatures may be in all in a slot, where some of them count for nothing yet.
const SETTLED_LEN_MAX: usize = 128 * 1024;

/// The bytes of a release that decide whether it is believed. Until then they are a stranger's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The digest under which the manifest was found.
    pub digest: Digest,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// What may be signatures.
    pub documents: Vec<Document>,
    /// The index that led to the manifest: it may be what was signed.
    pub index: Option<Vec<u8>>,
}

impl Package {
    /// Opens the release, if `policy` lets it pass.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn open(&self, policy: &Policy<'_>) -> Result<Release<'_>, Refusal> {
        let mut verifier = self.verifier(policy, self.index.as_deref())?;
        let mut scratch = vec![0; SCRATCH_LEN];
        for document in &self.documents {
            // Why one does not count is kept by the verifier, and said at the end if it matters.
            if let Ok(accepted) = verifier.offer(document.candidate(), &mut scratch) {
                tracing::debug!(signer = accepted.signer.name(), "signature counts");
            }
        }
        let manifest = verifier.finish(&self.manifest);
        let manifest = manifest.map_err(Refusal::of)?;
        Ok(Release::open(manifest, &self.config)?)
    }

    /// What every signature that counts says about the release, in the order in which they were found:
    /// one that stands in both wire formats says it twice.
    ///
    /// # Errors
    /// [`Refusal`], when the release does not pass, or when what one of them says cannot be read.
    pub fn statements(&self, policy: &Policy<'_>) -> Result<Vec<Statement>, Refusal> {
        self.open(policy)?;
        let mut verifier = self.verifier(policy, self.index.as_deref())?;
        let mut scratch = vec![0; SCRATCH_LEN];
        let mut statements = Vec::new();
        for document in &self.documents {
            if let Ok(accepted) = verifier.offer(document.candidate(), &mut scratch) {
                statements.push(Statement::read(accepted.signer.name(), accepted.annotations)?);
            }
        }
        Ok(statements)
    }

    /// Who signed the release, each once: what they are called, and what tells them from others.
    ///
    /// # Errors
    /// [`Refusal`], when the release does not pass.
    pub fn signers(&self, policy: &Policy<'_>) -> Result<Vec<(String, Digest)>, Refusal> {
        self.open(policy)?;
        let mut verifier = self.verifier(policy, self.index.as_deref())?;
        let mut scratch = vec![0; SCRATCH_LEN];
        for document in &self.documents {
            // Those that do not count are not asked for.
            let _ = verifier.offer(document.candidate(), &mut scratch);
        }
        Ok(verifier.signers().map(|signer| (signer.name().to_owned(), signer.id())).collect())
    }

    /// Lets go of what does not help the release to pass, so that strangers' documents take little room
    /// in a slot. What is left passes just as well. Some of the strangers stay, as far as
    /// 128 KiB go: when the release runs, its own keys decide whether it is kept, and
    /// those of them that are new are strangers here.
    ///
    /// # Errors
    /// [`Refusal`], when it does not pass at all.
    pub fn settle(&mut self, policy: &Policy<'_>) -> Result<(), Refusal> {
        if self.index.is_some() {
            let index = self.index.take();
            if self.open(policy).is_err() {
                self.index = index;
            }
        }
        self.open(policy)?;
        let mut scratch = vec![0; SCRATCH_LEN];
        let counts: Vec<bool> = {
            let mut verifier = self.verifier(policy, self.index.as_deref())?;
            let offered = self.documents.iter();
            offered.map(|it| verifier.offer(it.candidate(), &mut scratch).is_ok()).collect()
        };
        let index_len = self.index.as_ref().map_or(0, Vec::len);
        let all = self.documents.iter().zip(&counts).filter(|(_, counts)| **counts);
        let len = all.fold(index_len, |len, (it, _)| len.saturating_add(it.stored_len()));
        let mut room = SETTLED_LEN_MAX.saturating_sub(len);
        let mut counts = counts.into_iter();
        self.documents.retain(|document| {
            if counts.next().unwrap_or(true) {
                return true;
            }
            let left = room.checked_sub(document.stored_len());
            room = left.unwrap_or(room);
            left.is_some()
        });
        Ok(())
    }

    fn verifier<'p>(
        &self,
        policy: &'p Policy<'p>,
        index: Option<&[u8]>,
    ) -> Result<Verifier<'p>, Refusal> {
        let verifier = Verifier::new(policy, self.digest);
        Ok(match index {
            Some(index) => verifier.with_index(index)?,
            None => verifier,
        })
    }
}

/// Why a release is not believed, or not meant for this device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too few of the trusted keys signed it.
    #[error("{why}")]
    Unsigned {
        /// What the verifier says.
        why: String,
    },
    /// The signatures or the rules say no.
    #[error("{why}")]
    Policy {
        /// What the verifier says. It is text, because the verifier's own words borrow from the
        /// signatures that it looked at.
        why: String,
    },
    /// A signature counts, but it is not known under which conditions.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The index does not lead to the manifest.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The release asks for something that we do not have, or contradicts itself.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl Refusal {
    /// Whoever signs may sign again; what else is refused stays so.
    fn of(cause: Refused<'_>) -> Self {
        let why = cause.to_string();
        match cause {
            Refused::Signatures { .. } => Self::Unsigned { why },
            _ => Self::Policy { why },
        }
    }
}
