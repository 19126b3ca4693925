//! cosign's second wire format: a Sigstore bundle, in a manifest that names its subject.
//!
//! Sources: sigstore `protobuf-specs` (bundle v0.3), secure-systems-lab/dsse `protocol.md`,
//! in-toto attestation framework v1, and what cosign 3.1 writes.

use std::collections::BTreeMap;

use gybe_core::base64::Base64;
use gybe_oci::media_type;
use serde::Serialize;
use serde_json::{Value, json};

use super::Claim;
use crate::key::PrivateKey;

/// The media type of a bundle.
pub(super) const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The media type of the config, which is [`EMPTY`].
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// A config that says nothing.
pub(super) const EMPTY: &[u8] = b"{}";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What is signed, in cosign's order of members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject<'a>; 1],
    predicate_type: &'static str,
    predicate: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Subject<'a> {
    digest: Sha256,
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Sha256 {
    sha256: String,
}

/// A bundle with a signature by `key`.
pub(super) fn bundle(claim: &Claim, key: &PrivateKey) -> Result<Vec<u8>, serde_json::Error> {
    let statement = serde_json::to_vec(&Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [Subject {
            digest: Sha256 { sha256: claim.subject.digest.hex().to_string() },
            annotations: &claim.annotations,
        }],
        predicate_type: PREDICATE_TYPE,
        predicate: BTreeMap::new(),
    })?;
    let kind_len = PAYLOAD_TYPE.len();
    let mut message = format!("DSSEv1 {kind_len} {PAYLOAD_TYPE} {} ", statement.len()).into_bytes();
    message.extend_from_slice(&statement);
    serde_json::to_vec(&json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": Base64(key.public().id().as_bytes()).to_string()},
        },
        "dsseEnvelope": {
            "payload": Base64(&statement).to_string(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": Base64(&key.sign(&message)).to_string()}],
        },
    }))
}

/// The manifest around a bundle.
pub(super) fn manifest(claim: &Claim, empty: &str, bundle: &str, bundle_len: u64) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": BUNDLE_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "size": EMPTY.len(), "digest": empty},
        "layers": [{"mediaType": BUNDLE_TYPE, "size": bundle_len, "digest": bundle}],
        "subject": {
            "mediaType": claim.subject.media_type,
            "size": claim.subject.size,
            "digest": claim.subject.digest.to_string(),
        },
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": PREDICATE_TYPE,
            "org.opencontainers.image.created": claim.created,
        },
    })
}
