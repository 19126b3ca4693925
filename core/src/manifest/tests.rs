//! Claims about release manifests.

use std::string::{String, ToString as _};
use std::vec::Vec;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

const ROOT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn blob(media_type: &str, content: &str) -> Json {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(content.as_bytes()).to_string(),
        "size": content.len(),
    })
}

fn release() -> Json {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": RELEASE_TYPE,
        "config": blob(CONFIG_TYPE, "config"),
        "layers": [blob(RECIPE_TYPE, "recipe"), blob(PACK_TYPE, "old"), blob(PACK_TYPE, "new pack")],
        "annotations": {
            COMPATIBLE: "acme-gateway",
            VERSION: "2026.11+3",
            ROLLBACK_INDEX: "7",
            SEQUENCE: "1795167900",
            ROOT_HASH: ROOT,
            SOURCE_DIGEST: Digest::of(b"image").to_string(),
            ARCHITECTURE: "arm64",
            "org.opencontainers.image.created": "é\n",
        },
        "subject": blob(MANIFEST_TYPE, "image"),
    })
}

fn refusal(document: &Json) -> String {
    Manifest::parse(document.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_release_is_read_completely() {
    let bytes = release().to_string();
    let manifest = Manifest::parse(bytes.as_bytes()).unwrap();
    assert_eq!(manifest.digest, Digest::of(bytes.as_bytes()));
    assert!(manifest.config.matches(b"config"));
    assert!(!manifest.config.matches(b"Config"));
    assert!(manifest.recipe.matches(b"recipe"));
    assert_eq!(manifest.packs.len(), 2);
    assert!(manifest.packs[1].matches(b"new pack"));
    assert_eq!(manifest.compatible, "acme-gateway");
    assert_eq!(manifest.version, "2026.11+3");
    assert_eq!((manifest.rollback_index, manifest.sequence), (7, 1_795_167_900));
    assert_eq!(manifest.root_hash.hex().to_string(), ROOT);
    assert_eq!(manifest.source_digest, Digest::of(b"image"));
    assert_eq!(manifest.architecture, "arm64");
}

#[test]
fn what_is_missing_is_named() {
    for name in ["schemaVersion", "artifactType", "config", "layers", "annotations"] {
        let mut document = release();
        document.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(&document), std::format!("manifest: byte 0: \"{name}\" is missing"));
    }
    for name in
        [COMPATIBLE, VERSION, ROLLBACK_INDEX, SEQUENCE, ROOT_HASH, SOURCE_DIGEST, ARCHITECTURE]
    {
        let mut document = release();
        document["annotations"].as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(&document), std::format!("manifest: {name} is missing"));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let long = "x".repeat(129);
    let other = "application/vnd.oci.image.index.v1+json";
    let cases: [(&str, Json, &str); 16] = [
        ("/schemaVersion", json!(1), "schemaVersion is 1, not 2"),
        ("/mediaType", json!(other), "mediaType is not application/vnd.oci.image.manifest.v1+json"),
        ("/artifactType", json!("x"), "artifactType is not application/vnd.gybe.release.v1"),
        (
            "/config/mediaType",
            json!("x"),
            "config.mediaType is not application/vnd.gybe.config.v1+json",
        ),
        ("/layers", json!([]), "layers[0] is missing"),
        (
            "/layers/0/mediaType",
            json!(PACK_TYPE),
            "layers[0].mediaType is not application/vnd.gybe.recipe.v1",
        ),
        (
            "/layers/1/mediaType",
            json!(RECIPE_TYPE),
            "layers[].mediaType is not application/vnd.gybe.pack.v1",
        ),
        ("/layers/1/digest", json!("sha512:00"), "digest: digest does not begin with sha256:"),
        (
            "/annotations/dev.gybe.compatible",
            json!(long),
            "dev.gybe.compatible is 129 bytes, limit 128",
        ),
        (
            "/annotations/dev.gybe.compatible",
            json!(""),
            "dev.gybe.compatible is empty or has a character other than visible ASCII",
        ),
        (
            "/annotations/dev.gybe.version",
            json!("1\u{7f}"),
            "dev.gybe.version is empty or has a character other than visible ASCII",
        ),
        (
            "/annotations/dev.gybe.rollback-index",
            json!("18446744073709551616"),
            "dev.gybe.rollback-index is not an integer from 0 to 18446744073709551615",
        ),
        (
            "/annotations/dev.gybe.rollback-index",
            json!("+7"),
            "dev.gybe.rollback-index is not an integer from 0 to 18446744073709551615",
        ),
        (
            "/annotations/dev.gybe.sequence",
            json!("07"),
            "dev.gybe.sequence is not an integer from 0 to 18446744073709551615",
        ),
        (
            "/annotations/dev.gybe.root-hash",
            json!("00"),
            "dev.gybe.root-hash: digest has 2 digits, not 64",
        ),
        (
            "/annotations/dev.gybe.source-digest",
            json!(ROOT),
            "dev.gybe.source-digest: digest does not begin with sha256:",
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut document = release();
        *document.pointer_mut(pointer).unwrap() = value;
        assert_eq!(refusal(&document), std::format!("manifest: {expected}"), "{pointer}");
    }
    let mut document = release();
    document["annotations"][ROLLBACK_INDEX] = json!(7);
    assert!(refusal(&document).ends_with("expected a string, found a number"));
}

#[test]
fn a_document_that_is_also_an_index_is_refused() {
    let mut document = release();
    document["manifests"] = json!([]);
    assert_eq!(refusal(&document), "manifest: has the field manifests, which belongs to an index");
}

#[test]
fn sixty_four_packs_are_accepted_and_one_more_refused() {
    let mut document = release();
    let layers = document["layers"].as_array_mut().unwrap();
    layers.resize(65, blob(PACK_TYPE, "pack"));
    assert_eq!(Manifest::parse(document.to_string().as_bytes()).unwrap().packs.len(), PACKS_MAX);
    document["layers"].as_array_mut().unwrap().push(blob(PACK_TYPE, "pack"));
    assert_eq!(refusal(&document), "manifest: more than 64 packs");
}

#[test]
fn a_manifest_above_the_limit_is_refused_unread() {
    let mut bytes = release().to_string().into_bytes();
    bytes.resize(MANIFEST_LEN_MAX, b' ');
    assert_eq!(Manifest::parse(&bytes).unwrap().packs.len(), 2);
    bytes.push(b' ');
    assert_eq!(
        Manifest::parse(&bytes).unwrap_err().to_string(),
        "manifest is 262145 bytes, limit 262144"
    );
}

#[test]
fn an_index_lists_what_it_lists_and_nothing_else() {
    let (listed, other) = (Digest::of(b"manifest"), Digest::of(b"other"));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [blob(MANIFEST_TYPE, "x"), blob(MANIFEST_TYPE, "manifest")],
        "annotations": {"digest": other.to_string()},
    });
    let bytes = index.to_string();
    assert_eq!(lists(bytes.as_bytes(), listed), Ok(true));
    assert_eq!(lists(bytes.as_bytes(), other), Ok(false));
    for (key, value) in [
        ("layers", json!([])),
        ("config", json!({})),
        ("schemaVersion", json!(3)),
        ("mediaType", json!(MANIFEST_TYPE)),
    ] {
        let mut index = index.clone();
        index[key] = value;
        assert_eq!(lists(index.to_string().as_bytes(), listed), Err(IndexError::Type), "{key}");
    }
}

proptest! {
    /// Any cut and any flipped bit gives an error or a manifest, never a panic; and whatever is
    /// accepted has the digest of exactly these bytes.
    #[test]
    fn a_damaged_manifest_does_no_harm(cut: prop::sample::Index, at: prop::sample::Index, bit in 0..8) {
        let bytes = release().to_string().into_bytes();
        let mut damaged: Vec<u8> = bytes[..cut.index(bytes.len()) + 1].into();
        if damaged.len() < bytes.len() {
            prop_assert!(Manifest::parse(&damaged).is_err());
        }
        damaged = bytes;
        let at = at.index(damaged.len());
        damaged[at] ^= 1_u8 << bit;
        if let Ok(manifest) = Manifest::parse(&damaged) {
            prop_assert_eq!(manifest.digest, Digest::of(&damaged));
        }
    }
}
