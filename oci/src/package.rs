//! The bytes of a release that decide whether it is believed, and what a policy says of them.

use gybe_core::digest::Digest;
use gybe_core::release::{Release, ReleaseError};
use gybe_core::trust::{Accepted, ChainError, Policy, Refused, SCRATCH_LEN, Signer, Verifier};

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
        let see = |accepted: Option<Accepted<'_, '_>>| {
            if let Some(accepted) = accepted {
                tracing::debug!(signer = accepted.signer.name(), "signature counts");
            }
        };
        Ok(self.judge(policy, see)?.release)
    }

    /// What every signature that counts says about the release, in the order in which they were found:
    /// one that stands in both wire formats says it twice.
    ///
    /// # Errors
    /// [`Refusal`], when the release does not pass, or when what one of them says cannot be read.
    pub fn statements(&self, policy: &Policy<'_>) -> Result<Vec<Statement>, Refusal> {
        let see = |accepted: Option<Accepted<'_, '_>>| {
            accepted.map(|it| Statement::read(it.signer.name(), it.annotations))
        };
        let said = self.judge(policy, see)?.seen.into_iter().flatten();
        Ok(said.collect::<Result<_, _>>()?)
    }

    /// Who signed the release, each once: what they are called, and what tells them from others.
    ///
    /// # Errors
    /// [`Refusal`], when the release does not pass.
    pub fn signers(&self, policy: &Policy<'_>) -> Result<Vec<(String, Digest)>, Refusal> {
        let signers = self.judge(policy, |_| ())?.signers;
        Ok(signers.iter().map(|signer| (signer.name().to_owned(), signer.id())).collect())
    }

    /// Lets go of what does not help the release to pass, so that strangers' documents take little room
    /// in a slot. What is left passes just as well. Some of the strangers stay, as far as
    /// 128 KiB go: when the release runs, its own keys decide whether it is kept, and
    /// those of them that are new are strangers here.
    ///
    /// # Errors
    /// [`Refusal`], when it does not pass at all.
    pub fn settle(&mut self, policy: &Policy<'_>) -> Result<(), Refusal> {
        let see = |accepted: Option<Accepted<'_, '_>>| accepted.is_some();
        let index = self.index.take();
        let mut judged = self.judge(policy, see).map(|judged| judged.seen);
        if judged.is_err() && index.is_some() {
            self.index = index;
            judged = self.judge(policy, see).map(|judged| judged.seen);
        }
        let counts = judged?;
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

    /// Opens the release, if `policy` lets it pass, and gives what `see` makes of each document: of what
    /// it says where it counts, else of nothing.
    fn judge<'p, T>(
        &self,
        policy: &'p Policy<'p>,
        mut see: impl FnMut(Option<Accepted<'p, '_>>) -> T,
    ) -> Result<Judged<'_, 'p, T>, Refusal> {
        let mut verifier = Verifier::new(policy, self.digest);
        if let Some(index) = &self.index {
            verifier = verifier.with_index(index)?;
        }
        let mut scratch = vec![0; SCRATCH_LEN];
        let mut seen = Vec::new();
        for document in &self.documents {
            // Why one does not count is kept by the verifier, and said at the end if it matters.
            seen.push(see(verifier.offer(document.candidate(), &mut scratch).ok()));
        }
        let manifest = verifier.finish(&self.manifest).map_err(Refusal::of)?;
        let release = Release::open(manifest, &self.config)?;
        Ok(Judged { release, signers: verifier.signers().collect(), seen })
    }
}

/// A release that passed.
struct Judged<'m, 'p, T> {
    release: Release<'m>,
    signers: Vec<Signer<'p>>,
    seen: Vec<T>,
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
