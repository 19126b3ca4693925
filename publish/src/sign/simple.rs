//! cosign's first wire format: a manifest tagged `sha256-….sig` with a layer for each signature.
//!
//! Source: cosign `specs/SIGNATURE_SPEC.md`, and what cosign 2.5 and 3.1 write.

use std::collections::BTreeMap;

use gybe_core::base64::Base64;
use gybe_oci::media_type;
use serde::Serialize;
use serde_json::{Value, json};

use super::Claim;
use crate::key::PrivateKey;

/// The media type of a payload.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of the config, which says nothing.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// The annotation of a layer that holds the signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What is signed, in cosign's order of members.
#[derive(Serialize)]
struct Payload<'a> {
    critical: Critical<'a>,
    optional: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Critical<'a> {
    identity: Identity<'a>,
    image: Image,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Identity<'a> {
    docker_reference: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// The bytes to be signed.
pub(super) fn payload(claim: &Claim) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Payload {
        critical: Critical {
            identity: Identity { docker_reference: &claim.docker_reference },
            image: Image { docker_manifest_digest: claim.subject.digest.to_string() },
            kind: "cosign container image signature",
        },
        optional: Some(&claim.annotations).filter(|annotations| !annotations.is_empty()),
    })
}

/// The layer for a signature by `key` over `payload`, of which the blob has this descriptor.
pub(super) fn layer(digest: &str, payload: &[u8], key: &PrivateKey) -> Value {
    json!({
        "mediaType": PAYLOAD_TYPE,
        "size": payload.len(),
        "digest": digest,
        "annotations": {SIGNATURE: Base64(&key.sign(payload)).to_string()},
    })
}

/// The config, an image's that has the payloads as its layers.
pub(crate) fn config(layers: &[Value]) -> Value {
    let history = vec![json!({"created": "0001-01-01T00:00:00Z"}); layers.len()];
    let digests: Vec<_> = layers.iter().filter_map(|layer| layer.get("digest")).collect();
    json!({
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "history": history,
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": digests},
        "config": {},
    })
}

/// The manifest.
pub(crate) fn manifest(config_digest: &str, config_len: u64, layers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": {"mediaType": CONFIG_TYPE, "size": config_len, "digest": config_digest},
        "layers": layers,
    })
}
