//! Who signed a release, as a report shows it.

use std::fmt;

use gybe_core::trust::Policy;
use serde::Serialize;

use super::Package;
use crate::state::DigestText;

/// Someone whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// What the device calls them.
    pub name: String,
    /// What tells them from others: of a key SHA-256 of its `SubjectPublicKeyInfo`.
    pub id: DigestText,
}

impl SignedBy {
    /// Everyone whose signature over `package` counts; nobody, where it is refused.
    #[must_use]
    pub fn all(package: &Package, policy: &Policy<'_>) -> Vec<Self> {
        let signers = package.signers(policy).unwrap_or_default();
        signers.into_iter().map(|(name, id)| Self { name, id: DigestText(id) }).collect()
    }
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}
