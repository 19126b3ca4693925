//! A release that a source offers to this machine.

use gybe_core::release::Release;
use gybe_core::trust::Policy;
use gybe_oci::{Source, Sources};

use super::{OfferError, Package, Read, Refusal};
use crate::error::Error;

/// A source that was opened, and the bytes in it that decide whether the release is believed.
#[derive(Debug)]
pub struct Offer {
    /// Where the release's blobs are read.
    pub source: Source,
    /// What decides.
    pub package: Package,
    /// The reference, as it was spelt.
    pub reference: String,
    /// What was read for the package.
    pub read: Read,
}

impl Offer {
    /// Opens `reference` and reads what is needed to decide; nothing of it is believed yet.
    ///
    /// # Errors
    /// The source cannot be read, or holds no release for this machine.
    pub fn open(sources: &Sources, reference: &str) -> Result<Self, OfferError> {
        Ok(Self::of(sources.offer(reference, Some(architecture()))?, reference))
    }

    /// What was found, as it is to be called.
    #[must_use]
    pub fn of(offer: gybe_oci::Offer, reference: &str) -> Self {
        let gybe_oci::Offer { source, package, read } = offer;
        Self { source, package, reference: reference.to_owned(), read }
    }

    /// Opens the release, if `policy` lets it pass.
    ///
    /// # Errors
    /// [`Error::Refused`] names the source and says why not.
    pub fn open_release(&self, policy: &Policy<'_>) -> Result<Release<'_>, Error> {
        self.package.open(policy).map_err(|cause| self.refused(cause))
    }

    /// Keeps of the package what the slot is to hold.
    ///
    /// # Errors
    /// [`Error::Refused`], when the release does not pass.
    pub fn settle(&mut self, policy: &Policy<'_>) -> Result<(), Error> {
        self.package.settle(policy).map_err(|cause| self.refused(cause))
    }

    fn refused(&self, cause: Refusal) -> Error {
        refused(&self.package, &self.reference, cause)
    }
}

/// Why the release in `package`, which came from `reference`, may not come in.
pub(crate) fn refused(package: &Package, reference: &str, cause: Refusal) -> Error {
    let source_name = reference.to_owned();
    if package.documents.is_empty() {
        return Error::Unsigned { source_name, cause };
    }
    Error::Refused { source_name, cause }
}

/// This machine's processor, in Go's words, which are OCI's.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}
