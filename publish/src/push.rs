//! Bringing what was put together to a registry, and only what is missing there.
//!
//! Blobs come before the manifests that name them, signatures before the tag. So a device that
//! watches the tag finds what it led to before or the whole new release with its signatures, at
//! whatever moment this ends; and running it again sends what is missing.

mod access;
mod lists;

use std::collections::BTreeSet;
use std::io;

use gybe_core::digest::Digest;
use gybe_oci::{PushError, RegistryError, Repository, Sent, SourceError};

pub use access::access;
pub(crate) use lists::{add_simple, add_subject};

use crate::bundle::{Contents, Origin, Part, Says};

/// What a push came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Bytes of the blobs that were sent.
    pub sent_bytes: u64,
    /// Bytes of those that were there, or that the registry took from another repository of its own.
    pub there_bytes: u64,
}

/// Brings `contents` to `repository`; what has a tag gets it there. `from` is another repository of the
/// same registry that has the same.
///
/// # Errors
/// [`PushFailure`]; no tag leads to anything that is not whole.
pub fn push(
    contents: &Contents<'_>,
    repository: &Repository,
    from: Option<&str>,
) -> Result<Pushed, PushFailure> {
    let mut pushed = Pushed::default();
    for part in contents.parts.iter().filter(|part| part.document.is_none()) {
        let sent = blob(part, repository, from)?;
        let bytes =
            if sent == Sent::Whole { &mut pushed.sent_bytes } else { &mut pushed.there_bytes };
        *bytes = bytes.saturating_add(part.len);
    }
    let about: BTreeSet<Digest> = contents.about.iter().map(|it| it.entry.digest).collect();
    for part in &contents.parts {
        let Some(kind) = part.document.filter(|_| !about.contains(&part.digest)) else { continue };
        if !repository.has_manifest(&part.digest)? {
            repository.push_manifest(&part.digest.to_string(), kind, &part.text()?)?;
        }
    }
    for about in &contents.about {
        let Some(part) = contents.parts.iter().find(|part| part.digest == about.entry.digest)
        else {
            continue;
        };
        let text = part.text()?;
        match about.says {
            Says::Subject => add_subject(repository, &about.subject, &about.entry, &text)?,
            Says::Payload => add_simple(repository, &about.subject, &text)?,
        }
    }
    for top in &contents.tops {
        let Some(tag) = top.ref_name() else { continue };
        let Some(part) = contents.parts.iter().find(|part| part.digest == top.digest) else {
            continue;
        };
        repository.push_manifest(tag, &top.media_type, &part.text()?)?;
    }
    Ok(pushed)
}

fn blob(part: &Part<'_>, repository: &Repository, from: Option<&str>) -> Result<Sent, PushFailure> {
    let Part { digest, len, .. } = part;
    Ok(match &part.from {
        Origin::Made(bytes) => {
            let mut read = |at: u64, buffer: &mut [u8]| read_at(bytes, at, buffer);
            repository.push_blob(digest, *len, from, &mut read)?
        }
        Origin::Source(source) => {
            let blob = source.blob_of_len(digest, *len)?;
            let mut read = |at: u64, buffer: &mut [u8]| blob.read_at(at, buffer);
            repository.push_blob(digest, *len, from, &mut read)?
        }
    })
}

/// Fills `buffer` with the bytes that begin at `at`.
fn read_at(bytes: &[u8], at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let rest = bytes.get(at..).and_then(|rest| rest.get(..buffer.len()));
    buffer.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// Why not everything was brought to a registry.
#[derive(Debug, thiserror::Error)]
pub enum PushFailure {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob.
    #[error(transparent)]
    Push(#[from] PushError),
    /// What was to be sent cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A tag that stands for a list leads to something else.
    #[error("the tag {tag} leads to {found}, not to a list of what is about the release")]
    NoList {
        /// The tag.
        tag: String,
        /// What it leads to.
        found: String,
    },
    /// A list is full.
    #[error("the tag {tag}: {what} would be {len}, limit {limit}")]
    Full {
        /// The tag.
        tag: String,
        /// What is too long.
        what: &'static str,
        /// How long it would be.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Somebody else writes the same list all the time.
    #[error("the tag {tag} was written by somebody else {times} times meanwhile; try again")]
    Raced {
        /// The tag.
        tag: String,
        /// How often it was tried.
        times: u32,
    },
    /// Something cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}
