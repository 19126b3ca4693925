//! Releases, as they come from a source or lie in a slot, and whether they may be believed.

mod held;
mod offer;
mod signed_by;

pub use gybe_oci::{Document, OfferError, Package, Read, Refusal};
pub use held::{Held, HeldError};
pub(crate) use offer::refused;
pub use offer::{Offer, architecture};
pub use signed_by::SignedBy;
