//! What may be signatures, taken out of the manifests that carry them.
//!
//! Sources: cosign's `SIGNATURE_SPEC.md`; Sigstore bundle specification 0.3, read 2026-11.

use gybe_core::digest::Digest;
use gybe_core::trailer::{Signature, Signatures};
use gybe_core::trust::{CANDIDATES_MAX, Candidate, SIGNATURE_LEN_MAX};

use crate::manifest::{Descriptor, Manifest};

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIMPLE_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const BUNDLES: [&str; 2] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];

/// One document that may be a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// cosign's simple signing.
    Simple {
        /// The signed bytes.
        payload: Vec<u8>,
        /// The signature in base64.
        signature: String,
    },
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
}

impl Document {
    /// How many bytes its blob has.
    #[must_use]
    pub const fn blob_len(&self) -> usize {
        match self {
            Self::Simple { payload: blob, .. } | Self::Bundle(blob) => blob.len(),
        }
    }

    /// How many bytes it takes in a trailer.
    pub(crate) const fn stored_len(&self) -> usize {
        /// What stands before each of its at most two parts.
        const HEADS_LEN: usize = 16;
        let len = match self {
            Self::Simple { payload, signature } => payload.len().saturating_add(signature.len()),
            Self::Bundle(json) => json.len(),
        };
        len.saturating_add(HEADS_LEN)
    }

    /// The document as the verifier takes it.
    #[must_use]
    pub fn candidate(&self) -> Candidate<'_> {
        match self {
            Self::Simple { payload, signature } => Candidate::SimpleSigning { payload, signature },
            Self::Bundle(json) => Candidate::Bundle { json },
        }
    }

    /// The document as a trailer keeps it.
    #[must_use]
    pub fn signature(&self) -> Signature<'_> {
        match self {
            Self::Simple { payload, signature } => {
                Signature::Simple { payload, signature: signature.as_bytes() }
            }
            Self::Bundle(json) => Signature::Bundle(json),
        }
    }

    /// The documents in the signatures part of a trailer, and the index that they may be over.
    #[must_use]
    pub fn from_trailer(part: &[u8]) -> (Vec<Self>, Option<Vec<u8>>) {
        let mut index = None;
        let documents = Signatures::new(part).filter_map(|signature| match signature {
            Signature::Simple { payload, signature } => {
                let signature = std::str::from_utf8(signature).ok()?.to_owned();
                Some(Self::Simple { payload: payload.to_owned(), signature })
            }
            Signature::Bundle(json) => Some(Self::Bundle(json.to_owned())),
            Signature::Index(bytes) => {
                index = Some(bytes.to_owned());
                None
            }
        });
        let documents = documents.take(CANDIDATES_MAX).collect();
        (documents, index)
    }

    /// The documents that a signature's `manifest` names, at most `room`, out of blobs that `read`
    /// gives, of at most so many bytes. What cannot be read is passed over: a signature that cannot
    /// be read is one that is not there.
    ///
    /// # Errors
    /// What `read` says when there is no point in reading on.
    pub(crate) fn from_manifest<E>(
        manifest: &[u8],
        room: usize,
        read: impl Fn(&Digest, u64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Vec<Self>, E> {
        let mut documents = Vec::new();
        let Ok(manifest) = Manifest::parse(manifest) else { return Ok(documents) };
        for layer in &manifest.layers {
            if documents.len() >= room {
                break;
            }
            documents.extend(Self::from_layer(layer, &read)?);
        }
        Ok(documents)
    }

    fn from_layer<E>(
        layer: &Descriptor,
        read: impl Fn(&Digest, u64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Self>, E> {
        let simple = layer.media_type == SIMPLE_SIGNING;
        if !simple && !BUNDLES.contains(&layer.media_type.as_str()) {
            return Ok(None);
        }
        let limit = u64::try_from(SIGNATURE_LEN_MAX).unwrap_or(u64::MAX);
        let Some(bytes) = read(&layer.digest, limit)? else { return Ok(None) };
        if !simple {
            return Ok(Some(Self::Bundle(bytes)));
        }
        let signature = layer.annotations.get(SIMPLE_SIGNATURE).cloned();
        Ok(signature.map(|signature| Self::Simple { payload: bytes, signature }))
    }
}
