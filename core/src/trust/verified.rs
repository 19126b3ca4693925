//! The mark on what a trusted signature covers.

use core::ops::Deref;

use super::verifier::Authority;
use crate::manifest::{Descriptor, Manifest};

/// Something that enough trusted keys signed, or that hangs on it by digest.
///
/// Only [`Verifier::finish`](super::Verifier::finish) makes one:
///
/// ```compile_fail
/// use gybe_core::trust::Verified;
///
/// let forged = Verified(42);
/// ```
///
/// What is inside can be read, and turned into something that depends on it alone. The functions
/// that do so are plain `fn`s, so that nothing else can be smuggled in:
///
/// ```compile_fail
/// use gybe_core::trust::Verified;
///
/// fn smuggle(signed: Verified<u64>, other: u64) -> Verified<u64> {
///     signed.map(|_| other)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(super) fn new(_: Authority, value: T) -> Self {
        Self(value)
    }

    /// What was verified, without the mark.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Something that depends on what was verified and on nothing else.
    #[must_use]
    pub fn map<U>(self, read: fn(T) -> U) -> Verified<U> {
        Verified(read(self.0))
    }

    /// As [`Verified::map`], for readers that can refuse.
    ///
    /// # Errors
    /// What `read` returns.
    pub fn try_map<U, E>(self, read: fn(T) -> Result<U, E>) -> Result<Verified<U>, E> {
        read(self.0).map(Verified)
    }

    /// Both of two verified things.
    #[must_use]
    pub fn zip<U>(self, other: Verified<U>) -> Verified<(T, U)> {
        Verified((self.0, other.0))
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Verified<Manifest<'_>> {
    /// The config of the release, if `bytes` are it.
    ///
    /// # Errors
    /// [`BlobError`] if they are not.
    pub fn config<'b>(&self, bytes: &'b [u8]) -> Result<Verified<&'b [u8]>, BlobError> {
        check("config", self.config, bytes)
    }

    /// The recipe of the release, if `bytes` are it.
    ///
    /// # Errors
    /// [`BlobError`] if they are not.
    pub fn recipe<'b>(&self, bytes: &'b [u8]) -> Result<Verified<&'b [u8]>, BlobError> {
        check("recipe", self.recipe, bytes)
    }
}

fn check<'b>(
    name: &'static str,
    descriptor: Descriptor,
    bytes: &'b [u8],
) -> Result<Verified<&'b [u8]>, BlobError> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if len != descriptor.len {
        return Err(BlobError::Len { name, found: len, expected: descriptor.len });
    }
    if !descriptor.matches(bytes) {
        return Err(BlobError::Digest { name });
    }
    Ok(Verified(bytes))
}

/// Why bytes are not the blob that a verified manifest means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Their length is another.
    #[error("{name} is {found} bytes, the manifest says {expected}")]
    Len {
        /// The blob.
        name: &'static str,
        /// How many bytes there are.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
    /// Their digest is another.
    #[error("{name} has another digest than the manifest says")]
    Digest {
        /// The blob.
        name: &'static str,
    },
}
