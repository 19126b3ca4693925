//! Claims about signing in a layout; the core's verifier is the judge here, cosign in `tests/`.

use std::fs;
use std::path::PathBuf;

use gybe_core::base64::Base64;
use gybe_core::digest::Digest;
use gybe_core::manifest::{CONFIG_TYPE, PACK_TYPE, RECIPE_TYPE, RELEASE_TYPE};
use gybe_core::trust::{Candidate, Device, KeySet, Policy, Verifier};
use gybe_oci::{Manifest, Platform, REF_NAME, media_type};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// `PrivateKeyInfo` of RFC 5958 before the 32 bytes of a key.
const P256: &[u8] = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\
    \x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A private key of no secret.
fn pem(prefix: &[u8]) -> String {
    let der = [prefix, &[7; 32]].concat();
    let mut base64 = Base64(&der).to_string();
    if base64.len() > 64 {
        base64.insert(64, '\n');
    }
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

/// A layout with a release tagged `v1`, and two private keys.
struct Sample {
    root: TempDir,
}

impl Sample {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("p256.pem"), pem(P256)).unwrap();
        fs::write(root.path().join("ed25519.pem"), pem(ED25519)).unwrap();
        let writer = LayoutWriter::open(&root.path().join("gateway")).unwrap();
        let blob = |kind, content: &[u8]| {
            let (digest, len) = writer.write_blob(content).unwrap();
            Descriptor::new(kind, digest, len)
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": RELEASE_TYPE,
            "config": blob(CONFIG_TYPE, b"{}"),
            "layers": [blob(RECIPE_TYPE, b"recipe"), blob(PACK_TYPE, b"pack")],
            "annotations": {
                "dev.gybe.compatible": "acme-gateway",
                "dev.gybe.version": "1.0",
                "dev.gybe.rollback-index": "7",
                "dev.gybe.sequence": "1",
                "dev.gybe.root-hash": Digest::of(b"root").hex().to_string(),
                "dev.gybe.source-digest": Digest::of(b"image").to_string(),
                "dev.gybe.architecture": "amd64",
            },
        });
        let entry = blob(media_type::MANIFEST, manifest.to_string().as_bytes());
        writer.list(&entry, Some("v1")).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn reference(&self, tag: Option<&str>) -> LayoutReference {
        let tag = tag.map(str::to_owned);
        LayoutReference { tag, ..LayoutReference::directory(&self.path("gateway")) }
    }

    fn layout(&self) -> Layout {
        Layout::open(&self.reference(None)).unwrap()
    }

    fn arguments(&self, keys: &[&str], annotations: &[&str]) -> Sign {
        let signing = Signing {
            keys: keys.iter().map(|name| self.path(name)).collect(),
            annotations: annotations.iter().map(|text| text.parse().unwrap()).collect(),
            docker_reference: None,
        };
        Sign { source: Reference::Layout(self.reference(Some("v1"))), signing, json: true }
    }

    /// The keys that the device finds to have signed, and what `key` says in the last signature.
    fn signers(&self, keys: &KeySet, key: &str) -> (Vec<String>, Option<String>) {
        let layout = self.layout();
        let found = layout.resolve(Some("v1"), Some(&Platform::linux("amd64"))).unwrap();
        let device = Device { compatible: "acme-gateway", architecture: "amd64", floor: 0 };
        let policy = Policy::new(keys, 1, device).unwrap();
        let mut verifier = Verifier::new(&policy, found.descriptor.digest);
        let mut said = None;
        for candidate in layout.signature_candidates(&found.descriptor.digest).unwrap() {
            for layer in Manifest::parse(&candidate.manifest).unwrap().layers {
                let bytes = layout.read_blob(&layer.digest, 65536).unwrap();
                let candidate = match layer.annotations.get("dev.cosignproject.cosign/signature") {
                    Some(signature) => Candidate::SimpleSigning { payload: &bytes, signature },
                    None => Candidate::Bundle { json: &bytes },
                };
                let mut scratch = [0; 4096];
                let accepted = verifier.offer(candidate, &mut scratch).unwrap();
                let value = accepted.annotations.find(key).unwrap();
                said = value.map(|value| value.text().unwrap().to_string());
            }
        }
        let signers = verifier.signers().map(|key| key.name().to_owned()).collect();
        verifier.finish(&found.manifest).unwrap();
        (signers, said)
    }
}

fn key_set(keys: &[(&str, &[u8])]) -> KeySet {
    let mut set = KeySet::new();
    for (name, prefix) in keys {
        let unlocked = || unreachable!("the key is not encrypted");
        let key = PrivateKey::from_pem(&pem(prefix), &unlocked).unwrap();
        set.push(name, *key.public()).unwrap();
    }
    set
}

#[test]
fn what_is_signed_here_is_accepted_on_the_device() {
    let sample = Sample::new();
    let keys = key_set(&[("ours", P256), ("second", ED25519)]);
    run(&sample.arguments(&["p256.pem"], &["channel=stable & slow"])).unwrap();
    let (signers, said) = sample.signers(&keys, "channel");
    assert_eq!(signers, ["ours"]);
    assert_eq!(said.as_deref(), Some("stable & slow"));

    // A second key signs later, as another person would.
    run(&sample.arguments(&["ed25519.pem"], &[])).unwrap();
    assert_eq!(sample.signers(&keys, "channel").0, ["ours", "second"]);
}

#[test]
fn both_formats_are_listed_where_tools_look() {
    let sample = Sample::new();
    run(&sample.arguments(&["p256.pem", "ed25519.pem"], &[])).unwrap();
    let layout = sample.layout();
    let entries = &layout.index().manifests;
    let release = entries.iter().find(|entry| entry.ref_name() == Some("v1")).unwrap();
    let tag = format!("sha256-{}.sig", release.digest.hex());
    let simple: Vec<_> = entries.iter().filter(|entry| entry.ref_name() == Some(&tag)).collect();
    let bundles: Vec<_> = entries.iter().filter(|entry| entry.ref_name().is_none()).collect();
    assert_eq!((entries.len(), simple.len(), bundles.len()), (4, 1, 2));

    let manifest = Manifest::parse(&layout.read_blob(&simple[0].digest, 65536).unwrap()).unwrap();
    assert_eq!(manifest.layers.len(), 2);
    let payload = layout.read_blob(&manifest.layers[0].digest, 65536).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"gateway\"}},\"image\":\
             {{\"docker-manifest-digest\":\"{}\"}},\"type\":\"cosign container image signature\"}},\
             \"optional\":null}}",
            release.digest
        )
    );
    for entry in bundles {
        assert_eq!(entry.artifact_type.as_deref(), Some(bundle::BUNDLE_TYPE));
        let text = layout.read_blob(&entry.digest, 65536).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.subject.unwrap().digest, release.digest);
        assert_eq!(
            manifest.annotations.get("org.opencontainers.image.created").unwrap(),
            "1970-01-01T00:00:00Z"
        );
    }
    assert!(entries.iter().all(|entry| entry.annotations.keys().all(|key| key == REF_NAME)));
}

#[test]
fn signing_again_changes_nothing() {
    let sample = Sample::new();
    let all = ["p256.pem", "ed25519.pem"];
    run(&sample.arguments(&all, &["a=b"])).unwrap();
    let before = sample.layout().index().clone();
    run(&sample.arguments(&all, &["a=b"])).unwrap();
    let after = sample.layout().index().clone();
    let digests = |index: &gybe_oci::Index| {
        let mut all: Vec<_> = index.manifests.iter().map(|entry| entry.digest).collect();
        all.sort();
        all
    };
    assert_eq!(digests(&before), digests(&after));
}

#[test]
fn an_index_is_signed_as_such() {
    let sample = Sample::new();
    let layout = sample.layout();
    let mut release = layout.index().manifests[0].clone();
    release.annotations.clear();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::INDEX,
        "manifests": [release],
    });
    let writer = LayoutWriter::open(&sample.path("gateway")).unwrap();
    let (digest, len) = writer.write_blob(index.to_string().as_bytes()).unwrap();
    writer.list(&Descriptor::new(media_type::INDEX, digest, len), Some("all")).unwrap();
    drop(writer);
    assert_eq!(layout::subject(&sample.layout(), Some("all")).unwrap().digest, digest);
    assert_eq!(layout::subject(&sample.layout(), Some("v1")).unwrap().digest, release.digest);
    assert_eq!(
        layout::subject(&sample.layout(), Some("v2")).unwrap_err().to_string(),
        format!("{}: no image has the tag v2; there are v1, all", sample.reference(None))
    );
}

#[test]
fn what_cannot_be_signed_is_refused_and_nothing_is_made() {
    let sample = Sample::new();
    let mut twice = sample.arguments(&["p256.pem", "p256.pem"], &[]);
    let path = sample.path("p256.pem");
    let message = format!("key {}: comes twice", path.display());
    assert_eq!(run(&twice).unwrap_err().to_string(), message);
    twice.signing.keys.pop();
    twice.signing.annotations = ["a=1", "a=2"].map(|text| text.parse().unwrap()).into();
    assert_eq!(run(&twice).unwrap_err().to_string(), "annotation a comes twice");
    twice.signing.annotations.clear();
    let mut nothing =
        LayoutReference { path: sample.path("nothing"), ..sample.reference(Some("v1")) };
    twice.source = Reference::Layout(nothing.clone());
    assert!(run(&twice).is_err());
    assert!(!sample.path("nothing").exists());
    nothing.transport = Transport::Archive;
    twice.source = Reference::Layout(nothing);
    let message = run(&twice).unwrap_err().to_string();
    assert!(message.ends_with("nothing:v1: signatures can be added to oci:DIR only"), "{message}");
    assert_eq!(sample.layout().index().manifests.len(), 1);
}

#[test]
fn no_more_signatures_are_added_than_a_device_looks_at() {
    let sample = Sample::new();
    for number in 0..32 {
        let annotation = format!("n={number}");
        let writer = LayoutWriter::open(&sample.path("gateway")).unwrap();
        let subject = layout::subject(writer.layout(), Some("v1")).unwrap();
        let arguments = sample.arguments(&["p256.pem"], &[&annotation]);
        let keys = read_keys(&arguments.signing).unwrap();
        let claim = Claim {
            subject,
            docker_reference: "x".into(),
            annotations: [("n".to_owned(), annotation)].into(),
            created: String::new(),
        };
        layout::add_simple(&writer, &claim, &keys).unwrap();
    }
    let refused = run(&sample.arguments(&["p256.pem"], &[])).unwrap_err();
    assert_eq!(refused.to_string(), "33 signatures on one image, limit 32");
}

#[test]
fn annotations_are_key_and_value() {
    let annotation = |text: &str| text.parse::<Annotation>();
    let good = annotation("a=b=c").unwrap();
    assert_eq!((good.key.as_str(), good.value.as_str()), ("a", "b=c"));
    assert_eq!(annotation("a="), Ok(Annotation { key: "a".into(), value: String::new() }));
    for text in ["=b", "a\"=b", "a\\=b", "a\n=b", "a&b=c"] {
        assert_eq!(annotation(text), Err(AnnotationError::Key), "{text:?}");
    }
    assert_eq!(annotation("a"), Err(AnnotationError::NoValue));
    assert_eq!(annotation(&"=".repeat(1025)), Err(AnnotationError::TooLong { len: 1025 }));
}

#[test]
fn a_statement_by_which_devices_decide_says_when_it_was_made() {
    for (annotations, expected) in [
        (&["channel=stable"][..], None),
        (&["dev.gybe.rollout=10", "dev.gybe.issued=7"], Some(Some(7))),
        (&["dev.gybe.rollout=10"], Some(None)),
    ] {
        let sample = Sample::new();
        run(&sample.arguments(&["p256.pem"], annotations)).unwrap();
        let keys = key_set(&[("ours", P256)]);
        let (_, issued) = sample.signers(&keys, "dev.gybe.issued");
        assert_eq!(issued.is_some(), expected.is_some(), "{annotations:?}");
        let seconds: Option<u64> = issued.map(|text| text.trim_matches('"').parse().unwrap());
        match expected {
            Some(Some(given)) => assert_eq!(seconds, Some(given)),
            // What the clock says, or SOURCE_DATE_EPOCH.
            Some(None) => assert!(seconds.is_some()),
            None => {}
        }
    }
}
