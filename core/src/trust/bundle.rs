//! cosign's second wire format: a Sigstore bundle that holds a DSSE envelope around an in-toto
//! statement.
//!
//! ```text
//! bundle     {"mediaType":"…bundle.v0.3+json",
//!             "verificationMaterial":{"publicKey":{"hint":base64(SHA-256(key))}},
//!             "dsseEnvelope":{"payload":base64,"payloadType":"application/vnd.in-toto+json",
//!                             "signatures":[{"sig":base64}]}}
//! signed     "DSSEv1 28 application/vnd.in-toto+json " length " " payload
//! payload    {"_type":"https://in-toto.io/Statement/v1",
//!             "subject":[{"digest":{"sha256":"…"},"annotations":{"key":"value"}}],
//!             "predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}
//! ```
//! Sources: sigstore `protobuf-specs` (bundle v0.3), secure-systems-lab/dsse `protocol.md` 1.0,
//! in-toto attestation framework v1. The predicate type is what tells a signature from an
//! attestation, such as a list of contents, by the same key.

use core::fmt::Write as _;

use heapless::String;

use super::Annotations;
use super::reason::{Excerpt, Reason};
use super::verifier::Wanted;
use crate::base64::{self, Base64Error};
use crate::digest::Digest;
use crate::json::{JsonError, Text, Value};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The same, as it was spelt before.
const BUNDLE_TYPE_OLD: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Room for what the pre-authentication encoding puts before the payload: two words and two
/// numbers.
const HEADER_LEN_MAX: usize = 64;

/// The parts of a bundle that matter here.
pub(super) struct Bundle<'a> {
    payload: &'a str,
    /// The signature, in base64.
    pub(super) signature: &'a str,
    /// What the signer says it used.
    pub(super) material: Material,
}

/// What a signature was made with.
pub(super) enum Material {
    /// A key, whose id may be given.
    Key(Option<Digest>),
    /// A certificate. What else is in the bundle is for whoever knows certificates.
    Certificate,
}

/// Finds the parts of a bundle. Nothing in them is authentic yet.
pub(super) fn open(json: &[u8]) -> Result<Bundle<'_>, Reason> {
    let root = Value::parse(json)?;
    let (mut kind, mut material, mut envelope) = (None, None, None);
    for member in root.object()? {
        match member? {
            ("mediaType", value) => kind = Some(value.text()?),
            ("verificationMaterial", value) => material = Some(value),
            ("dsseEnvelope", value) => envelope = Some(value),
            ("messageSignature", _) => return Err(Reason::MessageSignature),
            _ => {}
        }
    }
    let kind = kind.ok_or(root.missing("mediaType"))?;
    if kind != BUNDLE_TYPE && kind != BUNDLE_TYPE_OLD {
        return Err(Reason::BundleType);
    }
    let material = read_material(material.ok_or(root.missing("verificationMaterial"))?)?;
    let (payload, signature) = read_envelope(envelope.ok_or(root.missing("dsseEnvelope"))?)?;
    Ok(Bundle { payload, signature, material })
}

fn read_material(value: Value<'_>) -> Result<Material, Reason> {
    let mut material = Material::Key(None);
    let mut is_certificate = false;
    for member in value.object()? {
        match member? {
            ("publicKey", value) => {
                for member in value.object()? {
                    if let ("hint", value) = member? {
                        material = Material::Key(read_hint(value.text()?));
                    }
                }
            }
            ("certificate" | "x509CertificateChain", _) => is_certificate = true,
            _ => {}
        }
    }
    Ok(if is_certificate { Material::Certificate } else { material })
}

/// A hint may be any text; ours and cosign's is the key's id.
fn read_hint(hint: Text<'_>) -> Option<Digest> {
    let mut id = [0; Digest::LEN];
    let len = base64::decode(hint.plain()?, &mut id).ok()?.len();
    (len == Digest::LEN).then_some(Digest::new(id))
}

fn read_envelope(envelope: Value<'_>) -> Result<(&str, &str), Reason> {
    let (mut payload, mut kind, mut signatures) = (None, None, None);
    for member in envelope.object()? {
        match member? {
            ("payload", value) => payload = Some(value.str()?),
            ("payloadType", value) => kind = Some(value.text()?),
            ("signatures", value) => signatures = Some(value),
            _ => {}
        }
    }
    if kind.ok_or(envelope.missing("payloadType"))? != PAYLOAD_TYPE {
        return Err(Reason::PayloadType);
    }
    let mut signatures = signatures.ok_or(envelope.missing("signatures"))?.array()?;
    // The bundle format allows exactly one.
    let (Some(first), None) = (signatures.next(), signatures.next()) else {
        return Err(Reason::SignatureCount);
    };
    let first = first?;
    let mut signature = None;
    for member in first.object()? {
        if let ("sig", value) = member? {
            signature = Some(value.str()?);
        }
    }
    let payload = payload.ok_or(envelope.missing("payload"))?;
    Ok((payload, signature.ok_or(first.missing("sig"))?))
}

/// What was signed, and the payload in it.
pub(super) struct Message<'s> {
    /// The pre-authentication encoding.
    pub(super) signed: &'s [u8],
    /// The statement.
    pub(super) payload: &'s [u8],
}

impl Bundle<'_> {
    /// Lays out what was signed in `scratch`.
    pub(super) fn message<'s>(&self, scratch: &'s mut [u8]) -> Result<Message<'s>, Reason> {
        let limit = scratch.len();
        let (_, room) =
            scratch.split_at_mut_checked(HEADER_LEN_MAX).ok_or(Reason::Scratch { limit })?;
        let payload_len = base64::decode(self.payload, room).map_err(|cause| match cause {
            Base64Error::TooLong { .. } => Reason::Scratch { limit },
            cause => Reason::Base64(cause),
        })?;
        let payload_len = payload_len.len();
        let mut header = String::<HEADER_LEN_MAX>::new();
        let (kind_len, kind) = (PAYLOAD_TYPE.len(), PAYLOAD_TYPE);
        write!(header, "DSSEv1 {kind_len} {kind} {payload_len} ")
            .map_err(|_| Reason::Scratch { limit })?;
        let start = HEADER_LEN_MAX.saturating_sub(header.len());
        let end = HEADER_LEN_MAX.saturating_add(payload_len);
        for (to, from) in scratch.iter_mut().skip(start).zip(header.bytes()) {
            *to = from;
        }
        let scratch: &'s [u8] = scratch;
        Ok(Message {
            signed: scratch.get(start..end).unwrap_or_default(),
            payload: scratch.get(HEADER_LEN_MAX..end).unwrap_or_default(),
        })
    }
}

impl<'s> Message<'s> {
    /// Reads a statement of which the signature has been verified.
    pub(super) fn read(&self, wanted: &Wanted) -> Result<Annotations<'s>, Reason> {
        let root = Value::parse(self.payload)?;
        let (mut kind, mut subjects, mut predicate_type) = (None, None, None);
        for member in root.object()? {
            match member? {
                ("_type", value) => kind = Some(value.text()?),
                ("subject", value) => subjects = Some(value),
                ("predicateType", value) => predicate_type = Some(value.text()?),
                _ => {}
            }
        }
        let predicate_type = predicate_type.ok_or(root.missing("predicateType"))?;
        if predicate_type != PREDICATE_TYPE {
            return Err(Reason::Attestation(Excerpt::new(predicate_type.chars())));
        }
        if kind.ok_or(root.missing("_type"))? != STATEMENT_TYPE {
            return Err(Reason::PayloadType);
        }
        let mut other = None;
        for subject in subjects.ok_or(root.missing("subject"))?.array()? {
            let (digest, annotations) = read_subject(subject?)?;
            match digest {
                Some(digest) if wanted.contains(digest) => {
                    return Ok(Annotations::new(annotations));
                }
                digest => other = other.or(digest),
            }
        }
        Err(other.map_or(Reason::NoSubject, |digest| Reason::OtherDigest { digest }))
    }
}

fn read_subject(subject: Value<'_>) -> Result<(Option<Digest>, Option<Value<'_>>), JsonError> {
    let (mut digest, mut annotations) = (None, None);
    for member in subject.object()? {
        match member? {
            ("digest", value) => {
                for member in value.object()? {
                    if let ("sha256", value) = member? {
                        digest = Digest::from_hex(value.str()?).ok();
                    }
                }
            }
            ("annotations", value) => annotations = Some(value),
            _ => {}
        }
    }
    Ok((digest, annotations))
}
