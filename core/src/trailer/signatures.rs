//! The signatures part of a trailer: the documents under which a release was accepted, so that
//! they can be checked again without their source.
//!
//! ```text
//! kind u8 │ 0 u8 × 3 │ length u32 │ bytes        … until the part ends
//! ```
//!
//! Kind 1 is the payload of a simple signing, followed by kind 2, its signature in base64. Kind 3
//! is a Sigstore bundle. Kind 4 is the index that was signed in place of the manifest that it lists.
//! All numbers are little-endian.

/// The most bytes the part may have.
pub const SIGNATURES_LEN_MAX: usize = 256 * 1024;

const PAYLOAD: u8 = 1;
const SIGNATURE: u8 = 2;
const BUNDLE: u8 = 3;
const INDEX: u8 = 4;

/// A document that may carry a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature<'a> {
    /// cosign's simple signing.
    Simple {
        /// The signed bytes.
        payload: &'a [u8],
        /// The signature in base64.
        signature: &'a [u8],
    },
    /// A Sigstore bundle.
    Bundle(&'a [u8]),
    /// No signature itself, but the index that one of them is over.
    Index(&'a [u8]),
}

/// Gives the bytes of `signature`'s entry to `put`, piece by piece.
pub fn encode(signature: &Signature<'_>, put: &mut impl FnMut(&[u8])) {
    let mut entry = |kind: u8, bytes: &[u8]| {
        put(&[kind, 0, 0, 0]);
        put(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        put(bytes);
    };
    match signature {
        Signature::Simple { payload, signature } => {
            entry(PAYLOAD, payload);
            entry(SIGNATURE, signature);
        }
        Signature::Bundle(bundle) => entry(BUNDLE, bundle),
        Signature::Index(index) => entry(INDEX, index),
    }
}

/// The signatures in a part. Ends at the first entry that is not whole: a signature that cannot
/// be read is one that is not there.
#[derive(Clone, Debug)]
pub struct Signatures<'a>(&'a [u8]);

impl<'a> Signatures<'a> {
    /// The signatures in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn entry(&mut self) -> Option<(u8, &'a [u8])> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        let [kind, 0, 0, 0, len @ ..] = *head else { return None };
        let len = usize::try_from(u32::from_le_bytes(len)).ok()?;
        let (bytes, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((kind, bytes))
    }
}

impl<'a> Iterator for Signatures<'a> {
    type Item = Signature<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.entry()? {
            (PAYLOAD, payload) => {
                let (SIGNATURE, signature) = self.entry()? else { return None };
                Some(Signature::Simple { payload, signature })
            }
            (BUNDLE, bundle) => Some(Signature::Bundle(bundle)),
            (INDEX, index) => Some(Signature::Index(index)),
            _ => None,
        }
    }
}
